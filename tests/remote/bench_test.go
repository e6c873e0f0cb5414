package remote

import (
	"testing"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
)

// What a file is read with from its beginning to its end, by a client that
// knows nothing of the nodes yet, while nodes that hold f of n shards fail. The
// goal is half of what healthy nodes give, in the same run. Both ends and the
// nodes' disks are this machine's.
func BenchmarkSequential(b *testing.B) {
	const size = 256 << 20
	c := newCommittee(b, 11, 11, 11, 10, 10, 10, 10, 9, 9, 9)
	c.net = node.NewNetwork(&node.NetworkOptions{Nets: node.AnyNet})
	b.Cleanup(c.net.Close)
	data := nodetest.Bytes(61, size)
	id := c.put(oneFile(b, c.dir, data), 64<<20)
	fails := func(f nodetest.Fault, delay time.Duration) func() {
		return func() {
			for _, m := range c.nodes[:3] {
				m.Set(f, delay)
			}
		}
	}
	var healthy float64 // bytes/s
	for _, state := range []struct {
		name string
		harm func()
	}{
		{"healthy", func() {}},
		{"hung", fails(nodetest.Hung, 0)},
		{"slow", fails(nodetest.Slow, 100*time.Millisecond)},
		{"lying", fails(nodetest.Lying, 0)},
		{"mixed", func() {
			c.nodes[0].Set(nodetest.Hung, 0)
			c.nodes[1].Set(nodetest.Slow, 100*time.Millisecond)
			c.nodes[2].Set(nodetest.Truncating, 0)
		}},
		{"dead", func() {
			for _, m := range c.nodes[:3] {
				m.stop()
			}
		}},
	} {
		b.Run(state.name, func(b *testing.B) {
			state.harm()
			b.SetBytes(size)
			c.reset()
			n := 0
			for b.Loop() {
				n++
				eng := engine.New(blob.New(c.members(), nil), nil, nil)
				ds, err := eng.Open(b.Context(), id)
				must(b, err)
				readAll(b, theFile(b, ds), data)
				must(b, eng.Close())
			}
			rate := float64(n) * size / b.Elapsed().Seconds()
			if state.name == "healthy" {
				healthy = rate
			}
			b.ReportMetric(rate/healthy, "x-healthy")
			b.ReportMetric(float64(c.sent())/float64(n*size), "fetched/read")
		})
	}
}
