package cachestore

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/floefs/floe/merkle"
)

// A tree is a blob's worth of chunks at known positions.
type tree struct {
	k    Key
	off  int64
	data []byte
	want []byte // hashes of its chunks
}

// newTree returns size random bytes that lie at off.
func newTree(seed uint64, off int64, size int) tree {
	t := tree{off: off, data: make([]byte, size)}
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1})
	r.Read(t.data)
	r.Read(t.k[:])
	for i := 0; i < size; i += merkle.ChunkSize {
		h := merkle.Blake3(t.data[i:min(size, i+merkle.ChunkSize)])
		t.want = append(t.want, h[:]...)
	}
	return t
}

func (t tree) chunks() int { return count(len(t.data)) }

// part returns n chunks from chunk i on.
func (t tree) part(i, n int) tree {
	from, to := i*merkle.ChunkSize, min(len(t.data), (i+n)*merkle.ChunkSize)
	return tree{t.k, t.off + int64(from), t.data[from:to], t.want[32*i : 32*(i+count(to-from))]}
}

// proven returns t's bytes as a Chunk.
func (t tree) proven() merkle.Chunk {
	run := merkle.NewRun(bytes.Clone(t.data))
	for i := range t.chunks() {
		if err := run.Prove(merkle.Hash(t.want[32*i:]), min(merkle.ChunkSize, len(run.Rest()))); err != nil {
			panic(err)
		}
	}
	return run.Chunk(0, len(t.data))
}

func (t tree) put(s *Store) { s.Put(t.k, t.off, t.proven()) }

// read reads t and fails the test if a byte is wrong. It returns the chunks
// that were there.
func (t tree) read(tb testing.TB, s *Store) int {
	tb.Helper()
	buf := make([]byte, len(t.data))
	run := merkle.NewRun(buf)
	n := s.Read(t.k, t.off, t.want, &run)
	if want := min(n*merkle.ChunkSize, len(t.data)); run.Len() != want {
		tb.Fatalf("Read returned %d chunks and proved %d bytes, want %d", n, run.Len(), want)
	}
	if !bytes.Equal(run.Chunk(0, run.Len()).Bytes(), t.data[:run.Len()]) {
		tb.Fatal("Read proved bytes that are not those put")
	}
	return n
}

// present counts the chunks of t that can be read one by one.
func (t tree) present(tb testing.TB, s *Store) (n int) {
	tb.Helper()
	for i := range t.chunks() {
		n += t.part(i, 1).read(tb, s)
	}
	return n
}

func (t tree) mustRead(tb testing.TB, s *Store) {
	tb.Helper()
	if n := t.read(tb, s); n != t.chunks() {
		tb.Fatalf("%d of %d chunks were there", n, t.chunks())
	}
}

func mustOpen(tb testing.TB, dir string, opts *Options) *Store {
	tb.Helper()
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.MinFree == 0 {
		o.MinFree = -1
	}
	if o.Memory == 0 {
		o.Memory = 64 << 20
	}
	if testing.Verbose() && o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	s, err := Open(dir, &o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func waitFor(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestWhatIsPutIsReadAlsoAfterARestart(t *testing.T) {
	dir := t.TempDir()
	trees := []tree{
		newTree(1, 0, 1),
		newTree(2, 512, 16<<10),
		newTree(3, 3<<20+1536, 5<<20+777), // straddles segments
		newTree(4, segSize-512, 16<<10),
		newTree(5, 40<<30, 100_000),
	}
	s := mustOpen(t, dir, nil)
	for _, tr := range trees {
		if n := tr.read(t, s); n != 0 {
			t.Fatalf("%d chunks before they were put", n)
		}
		if n := s.Absent(tr.k, tr.off, tr.chunks()); n != tr.chunks() {
			t.Fatalf("%d of %d chunks are absent before they are put", n, tr.chunks())
		}
		tr.put(s)
	}
	s.Flush()
	for range 2 {
		for _, tr := range trees {
			tr.mustRead(t, s)
			if n := s.Absent(tr.k, tr.off, tr.chunks()); n != 0 {
				t.Fatalf("%d chunks are absent after they were put", n)
			}
			if n := s.Absent(tr.k, tr.off+int64(tr.chunks())*merkle.ChunkSize, 3); n != 3 {
				t.Fatalf("%d of 3 chunks behind the end are absent", n)
			}
		}
		if st := s.Stats(); st.False != 0 || st.Dropped != 0 || !st.Owner || st.Rebuilt != 0 {
			t.Fatalf("stats %+v", st)
		}
		s.Close()
		s = mustOpen(t, dir, nil)
	}
}

func TestReadStopsAtTheFirstAbsentChunk(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, nil)
	tr := newTree(1, 1024, 100*merkle.ChunkSize+5)
	for _, i := range []int{0, 1, 2, 50, 51, 100} {
		tr.part(i, 1).put(s)
	}
	s.Flush()
	for i, want := range map[int]int{0: 3, 1: 2, 3: 0, 50: 2, 100: 1} {
		if n := tr.part(i, 1000).read(t, s); n != want {
			t.Errorf("read %d chunks from %d on, want %d", n, i, want)
		}
	}
	other := mustOpen(t, dir, nil) // which is not the owner, and finds by looking
	for i, want := range map[int]int{0: 3, 1: 2, 3: 0, 50: 2, 99: 0} {
		p := tr.part(i, 1000)
		if n := s.Present(p.k, p.off, p.chunks()); n != want {
			t.Errorf("%d chunks from %d on are present, want %d", n, i, want)
		}
		// Chunks end within the pages of the disk, so it can see one too many.
		if n := other.Present(p.k, p.off, p.chunks()); n < want || n > want+1 {
			t.Errorf("another process sees %d chunks from %d on, want %d", n, i, want)
		}
	}
	for i, want := range map[int]int{0: 0, 3: 47, 52: 48} {
		p := tr.part(i, 1000)
		if n := s.Absent(p.k, p.off, p.chunks()); n != want {
			t.Errorf("%d chunks from %d on are absent, want %d", n, i, want)
		}
	}
}

func TestFalseBytesAreForgotten(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, nil)
	tr := newTree(1, 0, 10*merkle.ChunkSize)
	tr.put(s)
	s.Flush()
	f, err := os.OpenFile(filepath.Join(dir, versionName, blobsName, blobName(tr.k)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte{tr.data[5*merkle.ChunkSize+9] ^ 1}, 5*merkle.ChunkSize+9)
	f.Close()
	if n := tr.read(t, s); n != 5 {
		t.Fatalf("%d chunks were read before the false one, want 5", n)
	}
	if st := s.Stats(); st.False != 1 {
		t.Fatalf("%d false chunks were counted, want 1", st.False)
	}
	if n := s.Absent(tr.k, 5*merkle.ChunkSize, 5); n != 1 {
		t.Fatalf("%d chunks are absent, want 1", n)
	}
	tr.part(5, 1).put(s)
	s.Flush()
	tr.mustRead(t, s)
}

func TestCacheStaysWithinItsBudget(t *testing.T) {
	s := mustOpen(t, t.TempDir(), &Options{Size: 32 << 20})
	var trees []tree
	for i := range 40 {
		tr := newTree(uint64(i), 512*int64(i), 4<<20)
		tr.put(s)
		s.Flush()
		trees = append(trees, tr)
		if st := s.Stats(); st.Bytes > 32<<20 {
			t.Fatalf("%d bytes after %d blobs", st.Bytes, i+1)
		}
		trees[0].read(t, s) // used again and again: stays
	}
	st := s.Stats()
	if st.Evicted == 0 || st.Dropped != 0 || st.False != 0 {
		t.Fatalf("stats %+v", st)
	}
	if st.Bytes < 20<<20 {
		t.Errorf("only %d bytes are kept", st.Bytes)
	}
	trees[0].mustRead(t, s)
	trees[39].mustRead(t, s)
	if n := trees[1].present(t, s); n != 0 {
		t.Errorf("%d chunks of the least recently used are left", n)
	}
}

func TestPinnedBlobsStay(t *testing.T) {
	s := mustOpen(t, t.TempDir(), &Options{Size: 16 << 20})
	kept := newTree(100, 0, 4<<20)
	kept.put(s)
	if err := s.Pin(kept.k, Key{1}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		newTree(uint64(i), 0, 4<<20).put(s)
		s.Flush()
	}
	kept.mustRead(t, s)
	if by, _ := s.Pins(kept.k); len(by) != 1 || by[0] != (Key{1}) {
		t.Fatalf("pinned by %v", by)
	}
	if err := s.Unpin(kept.k, Key{1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Trim(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Segments != 0 || len(s.Blobs()) != 0 {
		t.Fatalf("%d segments are left", st.Segments)
	}
}

func TestMetadataIsKept(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, nil)
	s.PutMeta(Key{1}, "metadata", []byte("hello"))
	s.PutMeta(Key{1}, "../x", []byte("no"))
	s.Flush()
	for range 2 {
		if got := s.Meta(Key{1}, "metadata"); string(got) != "hello" {
			t.Fatalf("metadata is %q", got)
		}
		if got := s.Meta(Key{2}, "metadata"); got != nil {
			t.Fatalf("metadata is %q, want none", got)
		}
		s.Close()
		s = mustOpen(t, dir, nil)
	}
}

func TestOpenRefusesWhatIsNotACache(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600)
	if s, err := Open(dir, nil); err == nil {
		s.Close()
		t.Fatal("a directory with other files was taken")
	}
}

func TestTwoStoresShareOneDirectory(t *testing.T) {
	dir := t.TempDir()
	a, b := mustOpen(t, dir, nil), mustOpen(t, dir, nil)
	if !a.Stats().Owner || b.Stats().Owner {
		t.Fatal("not the first owns the cache")
	}
	ta, tb := newTree(1, 512, 3<<20), newTree(2, 1024, 3<<20)
	ta.put(a)
	tb.put(b)
	a.Flush()
	b.Flush()
	ta.mustRead(t, b)
	if list := b.Blobs(); len(list) != 2 || list[0].Chunks+list[1].Chunks < 192 {
		t.Errorf("who does not own the cache sees %+v in it", list)
	}
	waitFor(t, "the owner to hear of a put", func() bool { return tb.read(t, a) == tb.chunks() })
	a.Close()
	waitFor(t, "another owner", func() bool { return b.Stats().Owner })
	ta.mustRead(t, b)
	b.Close()
	c := mustOpen(t, dir, nil)
	ta.mustRead(t, c)
	tb.mustRead(t, c)
	for _, s := range []*Store{a, b, c} {
		if st := s.Stats(); st.False != 0 || st.Rebuilt != 0 {
			t.Errorf("stats %+v", st)
		}
	}
}
