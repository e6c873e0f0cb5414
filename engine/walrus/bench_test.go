package walrus

import (
	"fmt"
	"syscall"
	"testing"
)

// cpuTime reports, besides the time that passes, the processor time of an
// operation: on a machine with other work only that can be compared.
func cpuTime(b *testing.B) func() {
	now := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := now()
	return func() { b.ReportMetric(float64(now()-start)/1e6/float64(b.N), "cpu-ms/op") }
}

func BenchmarkEncode(b *testing.B) {
	for _, x := range []struct{ n, size int }{{100, 64 << 20}, {100, 1 << 20}, {100, 1 << 10}, {1000, 1 << 10}, {1000, 1 << 20}, {1000, 16 << 20}} {
		b.Run(fmt.Sprintf("%d bytes on %d shards", x.size, x.n), func(b *testing.B) {
			e := mustEncoder(b, x.n)
			data := vectorBlob(1, x.size)
			if _, err := e.Encode(b.Context(), data, 0); err != nil { // tables and memory
				b.Fatal(err)
			}
			b.SetBytes(int64(x.size))
			defer cpuTime(b)()
			for b.Loop() {
				if _, err := e.Encode(b.Context(), data, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSliverSum(b *testing.B) {
	for _, x := range []struct{ n, size int }{{100, 64 << 20}, {1000, 1 << 10}, {1000, 16 << 20}} {
		for _, a := range []Axis{Primary, Secondary} {
			b.Run(fmt.Sprintf("%s of %d bytes on %d shards", a, x.size, x.n), func(b *testing.B) {
				p := mustParams(b, x.n, uint64(x.size))
				data := vectorBlob(1, p.SliverLen(a))
				sum := p.SliverSum(a)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				sum(data) // tables and memory
				defer cpuTime(b)()
				for b.Loop() {
					sum(data)
				}
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, x := range []struct{ n, size, lost int }{{100, 64 << 20, 1}, {100, 64 << 20, 33}, {1000, 14 << 20, 111}, {1000, 14 << 20, 333}} {
		b.Run(fmt.Sprintf("%d bytes on %d shards, %d lost", x.size, x.n, x.lost), func(b *testing.B) {
			data := vectorBlob(1, x.size)
			enc, err := mustEncoder(b, x.n).Encode(b.Context(), data, x.n)
			if err != nil {
				b.Fatal(err)
			}
			slivers := map[int][]byte{}
			for i := x.lost; i < enc.Params.K1+x.lost; i++ {
				slivers[i] = enc.Sliver(SliverID{Primary, i})
			}
			b.SetBytes(int64(x.size))
			defer cpuTime(b)()
			for b.Loop() {
				if _, err := enc.Params.Decode(b.Context(), Primary, slivers); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func mustParams(t testing.TB, n int, size uint64) Params {
	t.Helper()
	p, err := NewParams(n, size)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
