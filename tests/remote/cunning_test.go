package remote

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/nodetest"
)

// when makes a node lie in answer to the requests for which it holds.
func (m *member) when(holds func(*http.Request) bool) {
	m.before = func(r *http.Request) {
		if holds(r) {
			m.Set(nodetest.Lying, 0)
		} else {
			m.Set(nodetest.None, 0)
		}
	}
}

// Such a node sends true slivers to whoever checks slivers, and false parts of
// them to whoever reads.
func TestANodeThatLiesOnlyInPartIsFoundOutAndGoneAround(t *testing.T) {
	t.Parallel()
	f := plant(t, 4, 3, 3, 2, 1)
	client := f.client()
	f.nodes[0].when(func(r *http.Request) bool { return r.Header.Get("Range") != "" })
	f.readAll(t, client)
	f.checkBlame(t, client, []int{0}, true)
}

// As above, but it knows what a check looks like, and tells the truth for as
// long as one lasts: what a check has proven must be what is read.
func TestANodeThatIsHonestWhenItIsCheckedDoesNoHarm(t *testing.T) {
	t.Parallel()
	f := plant(t, 4, 3, 3, 2, 1)
	client := f.client()
	checked := false
	f.nodes[0].when(func(r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/slivers/") {
			return false
		}
		part := r.Header.Get("Range") != ""
		lie := part && !checked
		checked = !part
		return lie
	})
	f.readAll(t, client)
	f.checkBlame(t, client, []int{0}, false)
}

// As above, but the node tells the truth every other time.
func TestANodeThatLiesNowAndThenDoesNoHarm(t *testing.T) {
	t.Parallel()
	f := plant(t, 4, 3, 3, 2, 1)
	client := f.client()
	n := 0
	f.nodes[0].when(func(*http.Request) bool { n++; return n%2 == 0 })
	for range 3 {
		f.readAll(t, client)
	}
	f.checkBlame(t, client, []int{0}, false)
}

func TestFalseMetadataLeavesEvidence(t *testing.T) {
	t.Parallel()
	f := plant(t, 4, 3, 3, 2, 1)
	client := f.client()
	f.nodes[0].when(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/metadata") })
	f.readAll(t, client)
	f.checkBlame(t, client, []int{0}, true)
}

// When another node lies, those who did before are not asked whether they
// still do.
func TestALiarIsNotAskedWhenAnotherIsSought(t *testing.T) {
	t.Parallel()
	f := plant(t, 1, 3, 3, 3, 3) // f = 4
	client := f.client()
	f.bad(nodetest.Lying, 1)
	for range 5 {
		f.readAll(t, client)
	}
	if s := stats(client, f.nodes[1].name); s.Quarantined == 0 {
		t.Fatalf("after %d lies the liar is not in quarantine", s.Lies)
	}
	before := f.nodes[1].requests.Load()
	f.bad(nodetest.Lying, 0)
	f.readAll(t, client)
	if stats(client, f.nodes[0].name).Lies == 0 {
		t.Error("the other was not found out")
	}
	if more := f.nodes[1].requests.Load() - before; more > 0 {
		t.Errorf("the first was asked %d times more", more)
	}
	f.checkBlame(t, client, []int{0, 1}, true)
}

// Reads are not made to wait by each request that a hung node gets, nor does
// it get one with each read.
func TestAHungNodeIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := newCommittee(t, 3, 3, 3, 2, 2)
	data := nodetest.Bytes(47, 4<<20)
	id := c.put(oneFile(t, c.dir, data), 1<<20)
	f := theFile(t, mustOpen(t, blob.New(c.members(), nil), id)) // a request may take 10 s
	c.bad(nodetest.Hung, 0)
	c.reset()
	for _, chunk := range rand.New(rand.NewPCG(53, 0)).Perm(len(data) / 16384) {
		check(t, f, make([]byte, 16<<10), chunk*16384, data)
	}
	n := c.nodes[0].requests.Load()
	t.Logf("it was asked %d times", n)
	if n > 8 {
		t.Errorf("it was asked %d times in %d reads", n, len(data)/16384)
	}
}

// As many nodes as may fail are hung, and are those that come first.
func TestMetadataDoesNotWaitForEachHungNode(t *testing.T) {
	t.Parallel()
	f := plant(t, 1, 1, 1, 1, 9)
	f.bad(nodetest.Hung, 0, 1, 2, 3)
	o := f.options()
	o.Attempt = readTimeout // so that it is the network that gives up, after 2*attempt
	ctx, cancel := context.WithTimeout(t.Context(), 6*attempt)
	defer cancel()
	if _, err := blob.New(f.members(), o).Metadata(ctx, f.id); err != nil {
		t.Error(err)
	}
}
