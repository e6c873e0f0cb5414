package remote

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

const delay = 300 * time.Millisecond

// One node takes far longer than the others, for all that it is asked. Of the
// reads hardly one in a hundred waits for it. Where both slivers that have the
// bytes lie on it, only decoding is left.
func TestASlowNodeDoesNotSlowReadsDown(t *testing.T) {
	for _, node := range []struct{ shards, percent int }{{1, 1}, {3, 5}} {
		t.Run(fmt.Sprintf("%d of 13 shards", node.shards), func(t *testing.T) {
			c := newCommittee(t, node.shards, 4, 4, 4, 1)
			slow := c.nodes[0]
			data := nodetest.Bytes(29, 8<<20)
			id := c.put(oneFile(t, c.dir, data), 1<<20)
			client := blob.New(c.members(), nil)
			f := theFile(t, mustOpen(t, client, id))
			slow.Set(nodetest.Slow, delay)
			c.reset()
			const seed, reads = 31, 512
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			waited := 0
			for _, chunk := range rng.Perm(len(data) / 16384)[:reads] {
				began := time.Now()
				check(t, f, make([]byte, 16<<10), chunk*16384, data)
				if time.Since(began) > delay*2/3 {
					waited++
				}
			}
			s := stats(client, slow.name)
			sent := float64(c.sent()) / float64(reads*16384)
			t.Logf("%d of %d reads waited; %.3f bytes fetched for each; the slow node: %d requests, %d overtaken", waited, reads, sent, s.Requests, s.Overtaken)
			if waited > reads*node.percent/100 {
				t.Errorf("%d of %d reads took as long as the slow node", waited, reads)
			}
			// At worst it is gone around as a dead node is.
			if sent > 2.10 {
				t.Errorf("%.3f bytes were fetched for each byte read", sent)
			}
			slow.Set(nodetest.None, 0)
			c.getsAnotherChance(t, client, id, data, slow)
		})
	}
}

// getsAnotherChance fails unless a node that has recovered is soon asked again
// for its part.
func (c *committee) getsAnotherChance(t *testing.T, client *blob.Client, id walrus.BlobID, data []byte, m *member) {
	t.Helper()
	rng := rand.New(rand.NewPCG(43, 0))
	before := stats(client, m.name).Bytes
	for deadline := time.Now().Add(30 * time.Second); ; {
		f := theFile(t, mustOpen(t, client, id))
		for range 100 {
			check(t, f, make([]byte, 4096), rng.IntN(len(data)/4096)*4096, data)
		}
		if stats(client, m.name).Bytes-before > 1<<20 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it is hardly asked any more")
		}
	}
}

// Every node is slow now and then: another way is tried beside it, for few of
// the bytes.
func TestHedgesAreFew(t *testing.T) {
	c := newCommittee(t, 3, 3, 3, 2, 2)
	data := nodetest.Bytes(37, 32<<20)
	id := c.put(oneFile(t, c.dir, data), 1<<20)
	client := blob.New(c.members(), nil)
	f := theFile(t, mustOpen(t, client, id))
	rng := rand.New(rand.NewPCG(41, 0))
	for _, m := range c.nodes {
		m.before = func(r *http.Request) {
			if rand.IntN(30) == 0 {
				time.Sleep(delay)
			}
		}
	}
	c.reset()
	waited := 0
	chunks := rng.Perm(len(data) / 65536)
	for _, chunk := range chunks {
		began := time.Now()
		check(t, f, make([]byte, 64<<10), chunk*65536, data)
		if time.Since(began) > delay*2/3 {
			waited++
		}
	}
	sent := float64(c.sent()) / float64(len(data))
	var overtaken int64
	for _, s := range client.Nodes() {
		overtaken += s.Overtaken
	}
	t.Logf("%d of %d reads waited; %.3f bytes fetched for each; %d requests were overtaken", waited, len(chunks), sent, overtaken)
	if overtaken == 0 {
		t.Error("nothing was hedged")
	}
	if waited > len(chunks)/50 {
		t.Errorf("%d of %d reads waited for a slow answer, of which one in thirty is", waited, len(chunks))
	}
	if sent > 1.10 { // hedges may be one in twenty, and what was in flight
		t.Errorf("%.3f bytes were fetched for each byte read", sent)
	}
}
