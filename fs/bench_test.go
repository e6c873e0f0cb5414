package fs

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// These measure what a request costs that the kernel cannot answer by itself.
// The reading process is another one; cpu-us/op is what both take together
// less the reader's, that is this process alone.

// measure runs q, of n operations and so many bytes each, once per b.N.
func measure(b *testing.B, q question, n int, bytes int64) {
	c := mustClient(b)
	b.SetBytes(bytes * int64(n))
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	b.ResetTimer()
	for i := range b.N {
		q.Off += int64(i) * int64(len(q.Name)) // absent: other names each time
		c.ok(q)
	}
	b.StopTimer()
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N*n), "cpu-us/op")
}

// BenchmarkSequentialHole reads what costs the engine next to nothing: what is
// left is the loop and the kernel.
func BenchmarkSequentialHole(b *testing.B) {
	w := mustWorld(b, dir("", file("hole", make([]byte, 1<<30))))
	_, at := w.mustMount(b, nil)
	measure(b, question{Op: "sum", Path: at + "/hole", N: 1 << 20}, 1<<10, 1<<20)
}

// BenchmarkSequentialData reads what is copied from memory and proven.
func BenchmarkSequentialData(b *testing.B) {
	w := mustWorld(b, dir("", file("data", noise(1, 256<<20))))
	_, at := w.mustMount(b, nil)
	measure(b, question{Op: "sum", Path: at + "/data", N: 1 << 20}, 256, 1<<20)
}

func BenchmarkRandom4K(b *testing.B) {
	w := mustWorld(b, dir("", file("data", noise(1, 16<<20))))
	_, at := w.mustMount(b, nil)
	measure(b, question{Op: "random", Path: at + "/data", N: 20000, Off: 16 << 20}, 20000, 4096)
}

func BenchmarkLookup(b *testing.B) {
	w := mustWorld(b, everything())
	_, at := w.mustMount(b, nil)
	measure(b, question{Op: "absent", Path: at + "/sub", N: 20000, Name: "x"}, 20000, 0)
}

func BenchmarkWalk(b *testing.B) {
	top := dir("")
	for i := range 100 {
		d := dir(fmt.Sprintf("%03d", i))
		for j := range 1000 {
			d.kids = append(d.kids, file(fmt.Sprintf("%04d", j), nil))
		}
		top.kids = append(top.kids, d)
	}
	w := mustWorld(b, top)
	b.ResetTimer()
	var took time.Duration
	for range b.N {
		b.StopTimer()
		s, at := w.mustMount(b, nil) // a kernel that knows nothing
		c := mustClient(b)
		b.StartTimer()
		r := c.ok(question{Op: "walk", Path: at})
		took += r.Took
		b.StopTimer()
		c.in.Close()
		<-c.done
		must(b, s.Unmount(false))
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*100100/took.Seconds(), "entries/s")
}
