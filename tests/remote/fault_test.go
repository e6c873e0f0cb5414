package remote

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/tests/world"
)

// faults are the ways to misbehave that a read must survive.
var faults = []nodetest.Fault{
	nodetest.Dead, nodetest.Hung, nodetest.Slow, nodetest.Truncating, nodetest.Lying, nodetest.WrongBlob, nodetest.WrongShard,
	nodetest.Forgetful, nodetest.Failing, nodetest.Busy, nodetest.Dripping, nodetest.Redirecting, nodetest.HeaderBomb,
	nodetest.HintFlood, nodetest.Endless, nodetest.Padding, nodetest.WrongRange, nodetest.WholeRange,
	nodetest.NotHTTP, nodetest.FalseLength,
}

// lies are those that prove false bytes on whoever does it.
var lies = map[nodetest.Fault]bool{nodetest.Lying: true, nodetest.WrongShard: true}

// A forest is a tree that lies on a committee.
type forest struct {
	*committee
	tree world.Tree
	id   walrus.BlobID
}

// plant publishes a tree on nodes with so many shards each.
func plant(t *testing.T, sizes ...int) *forest {
	t.Helper()
	f := &forest{committee: newCommittee(t, sizes...), tree: world.NewTree(5)}
	source := filepath.Join(f.dir, "source")
	must(t, os.Mkdir(source, 0o755))
	must(t, f.tree.Write(source))
	f.id = f.put(source, 64<<10)
	return f
}

// sizable are the items of a forest that are read: all directories and
// symlinks, and files of all sizes but not each of the many small ones.
func (f *forest) sizable() (items []*world.Item) {
	small := 0
	for _, it := range f.tree {
		if len(it.Data) > 0 && len(it.Data) < 1000 {
			if small++; small%25 != 0 {
				continue
			}
		}
		items = append(items, it)
	}
	return items
}

// readAll reads the forest and compares it. It fails if a byte is wrong, if
// something cannot be read, or if a read takes longer than it may.
func (f *forest) readAll(t *testing.T, client *blob.Client) {
	t.Helper()
	began := time.Now()
	ds, err := open(t, t.Context(), client, f.id)
	inTime(t, began, "opening")
	if err != nil {
		t.Errorf("opening: %v", err)
		return
	}
	for _, it := range f.sizable() {
		began := time.Now()
		err := f.tree.Compare(t.Context(), ds, it, 0, len(it.Data))
		inTime(t, began, it.Path)
		if err != nil {
			t.Errorf("%q: %v", it.Path, err)
			return
		}
	}
}

// inTime fails if something took longer than a read may. A listing or a
// straddling file is several reads.
func inTime(t *testing.T, began time.Time, what string) {
	t.Helper()
	took := time.Since(began)
	if took > attempt {
		t.Logf("%s took %v", what, took)
	}
	if took > 2*readTimeout {
		t.Errorf("%s took %v", what, took)
	}
}

func (f *forest) heal() {
	for _, m := range f.nodes {
		m.Set(nodetest.None, 0)
	}
}

func stats(client *blob.Client, name string) blob.NodeStats {
	for _, s := range client.Nodes() {
		if s.Name == name {
			return s
		}
	}
	panic("no node " + name)
}

// suffer reads the forest while some nodes misbehave.
func (f *forest) suffer(t *testing.T, fault nodetest.Fault, bad ...int) {
	t.Run(fmt.Sprintf("%s %v", fault, bad), func(t *testing.T) {
		defer f.heal()
		must(t, os.RemoveAll(f.evidence()))
		f.bad(fault, bad...)
		client := f.client()
		f.readAll(t, client)
		f.checkBlame(t, client, bad, lies[fault])
	})
}

// Of n shards f may fail, whatever the failure; here they are those of one
// node, or of several.
func TestEveryByteIsRightWhateverFNodesDo(t *testing.T) {
	for _, bad := range [][]int{{0}, {1, 4}} {
		t.Run(fmt.Sprint(bad), func(t *testing.T) {
			t.Parallel()
			f := plant(t, 4, 3, 3, 2, 1) // f = 4
			for _, fault := range faults {
				f.suffer(t, fault, bad...)
			}
		})
	}
}

func TestEveryByteIsRightInAnyMixture(t *testing.T) {
	t.Parallel()
	const seed = 11
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := plant(t, 1, 1, 1, 1, 3, 3, 3) // f = 4: four different faults at once
	for range 8 {
		var which []nodetest.Fault
		for range 4 {
			which = append(which, faults[rng.IntN(len(faults))])
		}
		t.Run(fmt.Sprint(which), func(t *testing.T) {
			defer f.heal()
			must(t, os.RemoveAll(f.evidence()))
			for i, fault := range which {
				f.bad(fault, i)
			}
			client := f.client()
			f.readAll(t, client)
			f.checkBlame(t, client, []int{0, 1, 2, 3}, false)
		})
	}
}

// A committee of ten, whose small blobs have symbols of other sizes.
func TestAThirdOfASmallCommitteeMayFail(t *testing.T) {
	t.Parallel()
	f := plant(t, 3, 3, 2, 1, 1)
	for _, fault := range []nodetest.Fault{nodetest.Dead, nodetest.Hung, nodetest.Lying, nodetest.WrongShard} {
		for _, bad := range [][]int{{0}, {1}, {2, 4}} {
			f.suffer(t, fault, bad...)
		}
	}
}

// With one node more than may fail a read ends, in time, with an error that
// says what is missing. What is read is right all the same.
func TestOneNodeTooManyIsAnErrorThatSaysWhatIsMissing(t *testing.T) {
	// Three nodes of one shard each are fewer than the five that a decoder of
	// 13 shards needs.
	for _, fault := range []nodetest.Fault{nodetest.Dead, nodetest.Hung, nodetest.Lying, nodetest.Truncating, nodetest.Dripping, nodetest.Forgetful} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			f := plant(t, 5, 5, 1, 1, 1)
			ds := mustOpen(t, f.client(), f.id)
			f.bad(fault, 0, 1)
			failed := 0
			for _, it := range f.sizable() {
				if len(it.Data) < 50_000 || failed > 0 {
					continue
				}
				began := time.Now()
				err := f.tree.Compare(t.Context(), ds, it, 0, len(it.Data))
				inTime(t, began, it.Path)
				switch {
				case errors.Is(err, world.ErrWrong):
					t.Errorf("%q: %v", it.Path, err)
				case errors.Is(err, blob.ErrUnavailable):
					failed++
					if s := err.Error(); !strings.Contains(s, "more must be found") && !strings.Contains(s, f.nodes[0].name) && !strings.Contains(s, f.nodes[1].name) {
						t.Errorf("%q: the error does not say what is missing: %v", it.Path, err)
					}
				case err != nil:
					t.Errorf("%q: got error %v, want one that wraps blob.ErrUnavailable", it.Path, err)
				}
			}
			if failed == 0 {
				t.Error("all could be read")
			}
		})
	}
}
