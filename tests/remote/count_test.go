package remote

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// A file that is counted with: as long as a blob can be small and its symbols
// still be about as large as chunks are.
const countedSize = 32 << 20

// counted publishes one file of random bytes on 100 shards on ten nodes, of
// which the first three have 33, just as many as may fail.
func counted(t *testing.T) (c *committee, id walrus.BlobID, data []byte) {
	t.Helper()
	c = newCommittee(t, 11, 11, 11, 10, 10, 10, 10, 9, 9, 9)
	data = nodetest.Bytes(1, countedSize)
	return c, c.put(oneFile(t, c.dir, data), 64<<20), data
}

func oneFile(t testing.TB, below string, data []byte) string {
	t.Helper()
	source := filepath.Join(below, "source")
	must(t, os.Mkdir(source, 0o755))
	must(t, os.WriteFile(filepath.Join(source, "data"), data, 0o644))
	return source
}

func theFile(t testing.TB, ds *engine.Dataset) *engine.File {
	t.Helper()
	e, err := ds.Resolve(t.Context(), "data")
	must(t, err)
	f, err := ds.File(t.Context(), e)
	must(t, err)
	return f
}

// readAll reads a file from its beginning to its end, a megabyte at a time,
// and fails at the first false byte.
func readAll(t testing.TB, f *engine.File, want []byte) {
	t.Helper()
	p := make([]byte, 1<<20)
	for off := 0; off < len(want); off += len(p) {
		p = p[:min(len(p), len(want)-off)]
		check(t, f, p, off, want)
	}
}

// check reads len(p) bytes at off and compares.
func check(t testing.TB, f *engine.File, p []byte, off int, want []byte) {
	t.Helper()
	if _, err := f.ReadAt(t.Context(), p, int64(off)); err != nil {
		t.Fatalf("%d bytes at %d: %v", len(p), off, err)
	}
	if !bytes.Equal(p, want[off:off+len(p)]) {
		t.Fatalf("%d bytes at %d are WRONG", len(p), off)
	}
}

// readRandom reads 4 KiB at a time from n places.
func readRandom(t *testing.T, f *engine.File, want []byte, n int) {
	t.Helper()
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range n {
		check(t, f, make([]byte, 4<<10), rng.IntN(len(want)/4096)*4096, want)
	}
}

// What it costs to read is counted where it is sent, from the opening of the
// dataset on.
func TestReadingFetchesLittleMoreThanItReturns(t *testing.T) {
	c, id, data := counted(t)
	const places = 300
	for _, state := range []struct {
		name               string
		harm               func()
		sequential, random float64
	}{
		{"healthy", func() {}, 1.05, 17},
		{"f hung", func() { c.bad(nodetest.Hung, 0, 1, 2) }, 2.10, 34},
		{"f dead", func() {
			for _, m := range c.nodes[:3] {
				m.stop()
			}
		}, 2.10, 34},
	} {
		state.harm()
		measure := func(what string, limit float64, n int, read func(f *engine.File)) {
			ds := mustOpen(t, c.client(), id)
			f := theFile(t, ds)
			c.reset()
			read(f)
			got := float64(c.sent()) / float64(n)
			t.Logf("%-8s %-10s %6.3f bytes fetched for each byte read, at most %.2f", state.name, what, got, limit)
			if got > limit {
				t.Errorf("%s, %s: %.3f bytes were fetched for each byte read, at most %.2f may be", state.name, what, got, limit)
			}
			if got < 1 {
				t.Errorf("%s, %s: %.3f bytes were fetched for each byte read: the counting is wrong", state.name, what, got)
			}
		}
		measure("sequential", state.sequential, len(data), func(f *engine.File) { readAll(t, f, data) })
		measure("random", state.random, places*4096, func(f *engine.File) { readRandom(t, f, data, places) })
	}
}

// A node that has no ranges sends a sliver whole for every part of it: it is
// asked once for each.
func TestASliverOfANodeWithoutRangesServesAllItsChunks(t *testing.T) {
	c := newCommittee(t, 3, 3, 2, 1, 1)
	data := nodetest.Bytes(2, 8<<20)
	id := c.put(oneFile(t, c.dir, data), 1<<20)
	c.bad(nodetest.WholeRange, 0, 1, 2, 3, 4)
	for _, way := range []struct {
		name string
		read func(f *engine.File)
	}{
		{"sequential", func(f *engine.File) { readAll(t, f, data) }},
		{"random", func(f *engine.File) { readRandom(t, f, data, 1000) }},
	} {
		f := theFile(t, mustOpen(t, c.client(), id))
		c.reset()
		way.read(f)
		got := float64(c.sent()) / float64(len(data))
		t.Logf("%s: %.3f bytes fetched for each byte of the file", way.name, got)
		// The first answer of each node is what tells that it has no ranges.
		if got > 1.5 {
			t.Errorf("%s: %.3f times the file was fetched, want at most 1.5", way.name, got)
		}
	}
}
