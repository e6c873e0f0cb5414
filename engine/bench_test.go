package engine_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
)

// Reads from a directory store in the page cache, which is not cached again:
// what each byte costs before the kernel gets it.

func BenchmarkReadSmallFiles(b *testing.B) {
	const files = 2000
	w := newWorld(b, 100, 8<<20, func(tree string) {
		for i := range files {
			write(tree, fmt.Sprintf("d%d/f%04d", i%20, i), random(uint64(i), 4000))
		}
	})
	ds := w.open(nil)
	var numbers []uint64
	for n := uint64(2); n <= ds.Root().Entries+1; n++ {
		if e := must(ds.Entry(b.Context(), n))(b); e.Type == catalog.File {
			numbers = append(numbers, n)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	b.SetBytes(4000)
	b.ReportAllocs()
	for b.Loop() {
		e := must(ds.Entry(b.Context(), numbers[rng.IntN(len(numbers))]))(b)
		f := must(ds.File(b.Context(), e))(b)
		must(f.Read(b.Context(), 0, 4096))(b).Release()
	}
}

func benchmarkRead(b *testing.B, size int, next func(rng *rand.Rand, i int) int64) {
	const length = 32 << 20
	w := newWorld(b, 100, 64<<20, func(tree string) { write(tree, "f", random(1, length)) })
	ds := w.open(nil)
	f := must(ds.File(b.Context(), must(ds.Resolve(b.Context(), "f"))(b)))(b)
	rng := rand.New(rand.NewPCG(1, 2))
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		var s *engine.Span = must(f.Read(b.Context(), next(rng, i)%(length-int64(size)), size))(b)
		s.Release()
	}
}

func BenchmarkReadSequential1M(b *testing.B) {
	benchmarkRead(b, 1<<20, func(_ *rand.Rand, i int) int64 { return int64(i) << 20 })
}

func BenchmarkReadRandom4K(b *testing.B) {
	benchmarkRead(b, 4<<10, func(rng *rand.Rand, _ int) int64 { return rng.Int64N(32<<20) &^ 4095 })
}

// Reads of what takes 5 ms to answer, whatever is asked: what latency costs
// one who reads in order.

func BenchmarkReadFarInOrder1M(b *testing.B) {
	benchmarkFar(b, func(tree string) { write(tree, "f", random(1, 64<<20)) }, func(b *testing.B, ds *engine.Dataset) int64 {
		f := must(ds.File(b.Context(), must(ds.Resolve(b.Context(), "f"))(b)))(b)
		for off := int64(0); off < 64<<20; off += 1 << 20 {
			must(f.Read(b.Context(), off, 1<<20))(b).Release()
		}
		return 64 << 20
	})
}

func BenchmarkReadFarSmallFilesInOrder(b *testing.B) {
	const files, size = 500, 60_000
	benchmarkFar(b, func(tree string) {
		for i := range files {
			write(tree, fmt.Sprintf("d/f%04d", i), random(uint64(i), size))
		}
	}, func(b *testing.B, ds *engine.Dataset) int64 {
		for e, err := range ds.List(b.Context(), must(ds.Resolve(b.Context(), "d"))(b), 0) {
			must(e, err)(b)
			must(must(ds.File(b.Context(), e))(b).Read(b.Context(), 0, size))(b).Release()
		}
		return files * size
	})
}

func benchmarkFar(b *testing.B, build func(tree string), read func(*testing.B, *engine.Dataset) int64) {
	w := newWorld(b, 100, 64<<20, build)
	w.slow.Store(int64(5 * time.Millisecond))
	for b.Loop() {
		b.SetBytes(read(b, w.open(nil)))
	}
}
