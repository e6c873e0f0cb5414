package cachestore

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/floefs/floe/merkle"
)

// diskUsage returns the bytes of disk that lie below dir.
func diskUsage(tb testing.TB, dir string) (n int64) {
	tb.Helper()
	filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if i, err := e.Info(); err == nil && i.Mode().IsRegular() {
			n += i.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return n
}

// smallDisk mounts a file system of the given size.
func smallDisk(tb testing.TB, size string) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Geteuid() == 0 {
			tb.Fatalf("cannot mount a tmpfs: %v", err)
		}
		tb.Skipf("SKIPPED: the full disk takes root: %v", err)
	}
	tb.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestFullDiskMeansUncachedReads(t *testing.T) {
	dir := smallDisk(t, "24m")
	s := mustOpen(t, dir, &Options{Size: 1 << 30, MinFree: -1, Logger: silent}) // no defence but ENOSPC itself
	first := newTree(0, 0, 1<<20)
	first.put(s)
	s.Flush()
	for i := range 60 {
		newTree(uint64(1+i), 512, 1<<20).put(s)
		s.Flush()
	}
	st := s.Stats()
	if st.DiskErrors == 0 || st.Dropped == 0 || !st.Stalled {
		t.Fatalf("the disk was never full: %+v", st)
	}
	first.mustRead(t, s)
	if err := s.Pin(first.k, Key{}); err != nil {
		t.Logf("pinning on a full disk: %v", err)
	}
	if err := s.Trim(t.Context(), 8<<20); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the cache to be written again", func() bool {
		tr := newTree(99, 0, 1<<20)
		tr.put(s)
		s.Flush()
		return tr.read(t, s) == tr.chunks()
	})
	first.mustRead(t, s)
	s.Close()
	s = mustOpen(t, dir, &Options{Size: 1 << 30, MinFree: -1})
	first.mustRead(t, s)
	if st := s.Stats(); st.False != 0 || st.Rebuilt != 0 {
		t.Fatalf("stats %+v", st)
	}
}

func TestMinFreeIsKept(t *testing.T) {
	dir := smallDisk(t, "64m")
	s := mustOpen(t, filepath.Join(dir, "cache"), &Options{Size: 1 << 30, MinFree: 16 << 20})
	free := func() int64 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		return int64(st.Bavail) * st.Bsize
	}
	for i := range 100 {
		newTree(uint64(i), 512, 1<<20).put(s)
		s.Flush()
		if f := free(); f < 15<<20 {
			t.Fatalf("%d bytes are free after %d puts", f, i+1)
		}
	}
	st := s.Stats()
	if st.DiskErrors != 0 || st.Evicted == 0 || st.Bytes < 20<<20 {
		t.Fatalf("stats %+v", st)
	}
	// Somebody else needs the disk: the cache makes way.
	if err := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 12<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the cache to shrink", func() bool { return free() >= 15<<20 })
}

func TestIndexOfAFullDiskIsWrittenLater(t *testing.T) {
	dir := smallDisk(t, "8m")
	hog := filepath.Join(dir, "hog")
	s := mustOpen(t, filepath.Join(dir, "cache"), &Options{Logger: silent})
	tr := newTree(1, 512, 1<<20)
	tr.put(s)
	s.Flush()
	f, _ := os.Create(hog)
	for err := error(nil); err == nil; {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	tr.mustRead(t, s) // stamps change; they cannot be stored
	s.Flush()
	tr.mustRead(t, s)
	os.Remove(hog)
	tr2 := newTree(2, 512, 1<<20)
	waitFor(t, "the cache to be written again", func() bool {
		tr2.put(s)
		s.Flush()
		return tr2.read(t, s) == tr2.chunks()
	})
	s.Close()
	s = mustOpen(t, filepath.Join(dir, "cache"), nil)
	tr.mustRead(t, s)
	tr2.mustRead(t, s)
	if st := s.Stats(); st.Rebuilt != 0 {
		t.Fatalf("stats %+v", st)
	}
}

func TestDeletedDirectoryIsMadeAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	s := mustOpen(t, dir, &Options{Logger: silent})
	tr := newTree(1, 0, 1<<20)
	tr.put(s)
	s.PutMeta(tr.k, "metadata", []byte("x"))
	s.Flush()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	tr.read(t, s) // whatever it finds, it does not fail
	s.Meta(tr.k, "metadata")
	waitFor(t, "the cache to begin anew", func() bool {
		tr.put(s)
		s.Flush()
		tr.read(t, s)
		_, err := os.Stat(filepath.Join(dir, versionName, blobsName, blobName(tr.k)))
		return err == nil
	})
	s.Flush()
	tr.mustRead(t, s)
	s.Close()
	s = mustOpen(t, dir, nil)
	tr.mustRead(t, s)
	if st := s.Stats(); st.Rebuilt != 0 || !st.Owner || st.Chunks != 64 {
		t.Fatalf("stats %+v", st)
	}
}

// TestTamperedFilesAreNeverBelieved does to data files whatever can be done
// to a file while readers run. No byte that is returned may be wrong.
func TestTamperedFilesAreNeverBelieved(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, dir, &Options{Logger: silent, Size: 1 << 30})
	var trees []tree
	for i := range 6 {
		trees = append(trees, newTree(uint64(i), 512*int64(i), 1<<20+999))
	}
	blobs := filepath.Join(dir, versionName, blobsName)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 0))
			for !stop.Load() {
				tr := trees[r.IntN(len(trees))]
				i := r.IntN(tr.chunks())
				p := tr.part(i, 1+r.IntN(20))
				n := p.read(t, s)
				if n < p.chunks() {
					p.part(n, 1+r.IntN(8)).put(s)
				}
			}
		})
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	other := filepath.Join(t.TempDir(), "other")
	os.WriteFile(other, trees[0].data, 0o600)
	rounds := 2000
	if testing.Short() {
		rounds = 300
	}
	for range rounds {
		path := filepath.Join(blobs, blobName(trees[r.IntN(len(trees))].k))
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
		if err == nil && links(f) == 1 { // not through the link to other
			off := r.Int64N(1 << 20)
			switch r.IntN(5) {
			case 0:
				b := []byte{0}
				f.ReadAt(b, off)
				f.WriteAt([]byte{b[0] ^ 1<<r.IntN(8)}, off)
			case 1:
				f.WriteAt(make([]byte, 1+r.IntN(1<<16)), off)
			case 2:
				f.WriteAt(trees[0].data[:1+r.IntN(1<<16)], off)
			case 3:
				f.Truncate(off)
			case 4:
				f.Truncate(1<<40 + off)
			}
		}
		f.Close()
		if r.IntN(20) == 0 {
			os.RemoveAll(path)
			switch r.IntN(5) {
			case 0:
				os.Symlink(other, path)
			case 1:
				os.Link(other, path)
			case 2:
				syscall.Mkfifo(path, 0o600)
			case 3:
				os.Mkdir(path, 0o700)
			}
			s.mu.Lock() // as if many others had been opened
			for s.open.Len() > 0 {
				s.closeFile(s.open.Back().Value.(*blob))
			}
			s.mu.Unlock()
		}
		time.Sleep(50 * time.Microsecond)
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%+v", s.Stats())
	if b, err := os.ReadFile(other); err != nil || string(b) != string(trees[0].data) {
		t.Error("a file outside was changed")
	}
	for _, tr := range trees { // and the cache heals
		os.RemoveAll(filepath.Join(blobs, blobName(tr.k)))
	}
	s.Close()
	s = mustOpen(t, dir, nil)
	for _, tr := range trees {
		for range 3 { // what is marked and gone is learnt by reading
			if tr.read(t, s) < tr.chunks() {
				tr.put(s)
				s.Flush()
			}
		}
		tr.mustRead(t, s)
	}
}

// TestWhatIsGoneIsLearntAtOnce makes sure that a reader whose marks are old
// does not fetch chunk by chunk.
func TestWhatIsGoneIsLearntAtOnce(t *testing.T) {
	dir := t.TempDir()
	s, other := mustOpen(t, dir, nil), mustOpen(t, dir, nil)
	tr := newTree(1, 512, 1<<20)
	tr.put(other)
	other.Flush()
	tr.mustRead(t, other)
	keep := newTree(2, 0, 1000)
	keep.k = tr.k
	keep.off = 5 << 20 // so that the file stays
	keep.put(s)
	waitFor(t, "the owner to hear", func() bool { s.Flush(); return s.Stats().Chunks == 65 })
	s.ask(t.Context(), func() {
		s.keep.victims = nil
		for no := range uint32(2) {
			if g := s.blobs[tr.k].find(no); g != nil {
				s.keep.victims = append(s.keep.victims, victim{ref{tr.k, no}, g.stamp})
			}
		}
		refs := s.takeVictims(2 << 20)
		s.commit(false)
		s.giveBack(refs)
	})
	if n := tr.read(t, other); n != 0 {
		t.Fatalf("%d chunks are left", n)
	}
	if n := other.Absent(tr.k, tr.off, 64); n != 64 {
		t.Fatalf("%d of 64 chunks are known to be absent", n)
	}
	if st := other.Stats(); st.False != 0 || st.Gone != 1 {
		t.Fatalf("stats %+v", st)
	}
}

// TestEachByteCounts flips every 97th byte of a chunk.
func TestEachByteCounts(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, &Options{Logger: silent})
	tr := newTree(1, 512, merkle.ChunkSize)
	tr.put(s)
	s.Flush()
	f, err := os.OpenFile(filepath.Join(dir, versionName, blobsName, blobName(tr.k)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := 0; i < len(tr.data); i += 97 {
		f.WriteAt([]byte{tr.data[i] ^ 0x10}, 512+int64(i))
		if tr.read(t, s) != 0 {
			t.Fatalf("byte %d does not count", i)
		}
		tr.put(s)
		s.Flush()
		tr.mustRead(t, s)
	}
}

// TestStraddlingChunkGoesWithEitherSegment: neither half is served, and
// neither counts as false.
func TestStraddlingChunkGoesWithEitherSegment(t *testing.T) {
	for _, no := range []uint32{0, 1} {
		s := mustOpen(t, t.TempDir(), nil)
		tr := newTree(1, segSize-merkle.ChunkSize-512, 4*merkle.ChunkSize) // the second straddles
		tr.put(s)
		s.Flush()
		s.ask(t.Context(), func() {
			b := s.blobs[tr.k]
			g := b.find(no)
			s.keep.victims = []victim{{ref{tr.k, no}, g.stamp}}
			refs := s.takeVictims(1)
			s.commit(false)
			s.giveBack(refs)
		})
		want := []int{0, 0, 1, 1}
		if no == 1 {
			want = []int{1, 0, 0, 0}
		}
		for i, n := range want {
			if got := tr.part(i, 1).read(t, s); got != n {
				t.Errorf("segment %d is gone: chunk %d is read %d times, want %d", no, i, got, n)
			}
		}
		if st := s.Stats(); st.False != 0 || st.Gone != 0 {
			t.Errorf("stats %+v", st)
		}
	}
}

func links(f *os.File) uint64 {
	i, err := f.Stat()
	if err != nil {
		return 0
	}
	return uint64(i.Sys().(*syscall.Stat_t).Nlink)
}
