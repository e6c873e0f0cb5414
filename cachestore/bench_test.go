package cachestore

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/floefs/floe/merkle"
)

func BenchmarkFill(b *testing.B) {
	for _, size := range []int{16 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("put=%dK", size>>10), func(b *testing.B) {
			s := mustOpen(b, benchDir(b), &Options{Size: 2 << 30, Logger: silent})
			c := newTree(1, 0, size).proven()
			b.SetBytes(int64(size))
			b.ResetTimer()
			cpu := cpuTime()
			for i := range b.N {
				// Not faster than the writer, or it would drop.
				for s.queued.Load() > 48<<20 {
					time.Sleep(100 * time.Microsecond)
				}
				off := int64(i) * int64(size)
				s.Put(Key{byte(off >> 26), byte(off >> 34)}, off&(64<<20-1), c)
			}
			s.Flush()
			b.StopTimer()
			b.ReportMetric((cpuTime()-cpu).Seconds()/(float64(b.N)*float64(size)/1e9), "cpu-s/GB")
			if st := s.Stats(); st.Dropped > 0 {
				b.Fatalf("%d puts were dropped", st.Dropped)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	tr := newTree(1, 512, 64<<20)
	for _, size := range []int{16 << 10, 1 << 20} {
		for _, owner := range []bool{true, false} {
			b.Run(fmt.Sprintf("run=%dK/owner=%t", size>>10, owner), func(b *testing.B) {
				dir := b.TempDir()
				s := mustOpen(b, dir, &Options{Memory: 128 << 20, Logger: silent})
				tr.put(s)
				s.Flush()
				if !owner {
					s = mustOpen(b, dir, &Options{Logger: silent})
				}
				buf := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				cpu := cpuTime()
				defer func() {
					b.ReportMetric((cpuTime()-cpu).Seconds()/(float64(b.N)*float64(size)/1e9), "cpu-s/GB")
				}()
				for i := range b.N {
					p := tr.part(i*size%(64<<20)/merkle.ChunkSize, size/merkle.ChunkSize)
					run := merkle.NewRun(buf)
					if s.Read(p.k, p.off, p.want, &run) != p.chunks() {
						b.Fatal("not there")
					}
				}
			})
		}
	}
}

// BenchmarkHash is what the reads above do besides reading.
func BenchmarkHash(b *testing.B) {
	tr := newTree(1, 0, 1<<20)
	b.SetBytes(1 << 20)
	cpu := cpuTime()
	defer func() { b.ReportMetric((cpuTime()-cpu).Seconds()/(float64(b.N)*(1<<20)/1e9), "cpu-s/GB") }()
	for range b.N {
		run := merkle.NewRun(tr.data)
		for i := range 64 {
			if run.Prove(merkle.Hash(tr.want[32*i:]), merkle.ChunkSize) != nil {
				b.Fatal()
			}
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("segments=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			s := mustOpen(b, dir, &Options{Logger: silent})
			for i := range n / 64 { // blobs of 64 MiB
				var k Key
				binary.LittleEndian.PutUint64(k[:], uint64(i)*0x9E3779B97F4A7C15)
				s.mu.Lock()
				bl := s.blobOf(k)
				bl.mark(0, 64*64, true, func(no uint32) { s.changed(bl, no) })
				s.mu.Unlock()
				f, err := s.file(k, true)
				if err != nil {
					b.Fatal(err)
				}
				f.Truncate(64 << 20)
			}
			start := time.Now()
			s.Flush()
			b.Logf("committed %d segments in %v", n, time.Since(start))
			path := dir + "/" + versionName + "/" + indexName
			s.Close()
			if st, err := os.Stat(path); err == nil {
				b.Logf("the index takes %d MiB", st.Size()>>20)
			}
			var cpu time.Duration
			for b.Loop() {
				before := cpuTime()
				s, err := Open(dir, &Options{MinFree: -1})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				cpu += cpuTime() - before
				if st := s.Stats(); st.Segments != n/64*64 || st.Rebuilt != 0 {
					b.Fatalf("stats %+v", st)
				}
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
				s.Close()
				b.StartTimer()
			}
			b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}

// cpuTime is what this process has used; on a busy machine it says more than
// the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchDir is where FLOE_BENCH_DIR says, or a temporary directory.
func benchDir(b *testing.B) string {
	if dir := os.Getenv("FLOE_BENCH_DIR"); dir != "" {
		dir, err := os.MkdirTemp(dir, "floe-")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return b.TempDir()
}
