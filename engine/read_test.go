package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// A world is a published tree, its store, and the switches to spoil it.
type world struct {
	t     testing.TB
	tree  string
	store *dir.Store
	id    walrus.BlobID
	slow  atomic.Int64 // nanoseconds each sliver read takes
	reads atomic.Int64 // sliver reads
	gone  atomic.Bool  // no sliver can be read
}

func newWorld(t testing.TB, shards int, blobSize int64, build func(tree string)) *world {
	t.Helper()
	w := &world{t: t, tree: t.TempDir()}
	build(w.tree)
	var err error
	if w.store, err = dir.Open(filepath.Join(t.TempDir(), "store"), true); err != nil {
		t.Fatal(err)
	}
	sink, err := blob.New([]blob.Member{{Name: "store", Node: w.store}}, nil).Writer()
	if err != nil {
		t.Fatal(err)
	}
	res, err := publish.Dir(t.Context(), w.tree, sink, &publish.Options{Shards: shards, BlobSize: blobSize})
	if err != nil {
		t.Fatal(err)
	}
	w.id = res.ID
	return w
}

// watched is the world's store, counted and spoiled.
type watched struct {
	*dir.Store
	w *world
}

func (s watched) ReadSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	s.w.reads.Add(1)
	if d := s.w.slow.Load(); d > 0 {
		select {
		case <-time.After(time.Duration(d)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.w.gone.Load() {
		return errors.New("the network is down")
	}
	return s.Store.ReadSliver(ctx, id, params, at, p, off)
}

var _ node.Store = watched{}

func (w *world) open(cache engine.Cache) *engine.Dataset {
	w.t.Helper()
	eng := engine.New(blob.New([]blob.Member{{Name: "store", Node: watched{w.store, w}}}, nil), cache, nil)
	w.t.Cleanup(func() { eng.Close() })
	ds, err := eng.Open(w.t.Context(), w.id)
	if err != nil {
		w.t.Fatal(err)
	}
	return ds
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func write(tree, name string, data []byte) {
	path := filepath.Join(tree, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		panic(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		panic(err)
	}
}

func random(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

func TestFilesReadBackAtEveryBoundary(t *testing.T) {
	const blobSize = 13 * merkle.ChunkSize // so that most files straddle blobs
	sizes := []int{0, 1, 511, 512, 513, 16383, 16384, 16385, 49151, 49152, 49153, 1<<20 - 1, 1 << 20, 1<<20 + 1, 9<<20 + 7}
	w := newWorld(t, 10, blobSize, func(tree string) {
		for i, n := range sizes {
			write(tree, fmt.Sprintf("f%02d", i), random(uint64(n), n))
		}
	})
	ds := w.open(nil)
	rng := rand.New(rand.NewPCG(1, 1))
	for i, n := range sizes {
		want := random(uint64(n), n)
		got, err := fs.ReadFile(ds.FS(t.Context()), fmt.Sprintf("f%02d", i))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("file of %d bytes reads back differently: %v", n, err)
		}
		f := must(ds.File(t.Context(), must(ds.Resolve(t.Context(), fmt.Sprintf("f%02d", i)))(t)))(t)
		for range 20 {
			off, m := rng.IntN(n+10), rng.IntN(200<<10)
			p := make([]byte, m)
			k, _ := f.ReadAt(t.Context(), p, int64(off))
			if end := min(n, off+m); k != max(0, end-off) || !bytes.Equal(p[:k], want[min(off, n):min(n, off+k)]) {
				t.Fatalf("file of %d bytes: %d bytes at %d read as %d", n, m, off, k)
			}
		}
	}
}

func TestDatasetIsAnFS(t *testing.T) {
	w := newWorld(t, 10, 1<<20, func(tree string) {
		write(tree, "a/b/c.txt", []byte("see"))
		write(tree, "a/empty", nil)
		write(tree, "z.bin", random(7, 100_000))
		os.Mkdir(filepath.Join(tree, "void"), 0o700)
		os.Symlink("../z.bin", filepath.Join(tree, "a", "link"))
		os.Symlink("b", filepath.Join(tree, "a", "d"))
	})
	ds := w.open(nil)
	if err := fstest.TestFS(ds.FS(t.Context()), "a/b/c.txt", "a/empty", "z.bin", "void", "a/link", "a/d"); err != nil {
		t.Error(err)
	}
	got, err := fs.ReadFile(ds.FS(t.Context()), "a/d/c.txt")
	if err != nil || string(got) != "see" {
		t.Errorf("through a symlink: %q, %v", got, err)
	}
}

func TestNumbersLeadBackToTheirEntries(t *testing.T) {
	w := newWorld(t, 10, 1<<20, func(tree string) {
		for i := range 30 {
			for j := range 40 {
				write(tree, fmt.Sprintf("d%02d/e%d/f%03d", i, i%3, j), nil)
			}
		}
	})
	ds := w.open(nil)
	seen := map[uint64]string{catalog.RootNumber: ""}
	var walk func(dir catalog.Entry, at string)
	walk = func(dir catalog.Entry, at string) {
		for e, err := range ds.List(t.Context(), dir, 0) {
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(at, e.Name)
			if other, dup := seen[e.Number]; dup {
				t.Fatalf("%q and %q are both number %d", path, other, e.Number)
			}
			seen[e.Number] = path
			if got := must(w.open(nil).Entry(t.Context(), e.Number))(t); got.Name != e.Name || got.Root != e.Root {
				t.Fatalf("number %d leads to %q, want %q", e.Number, got.Name, e.Name)
			}
			if got := must(ds.Path(t.Context(), e.Number))(t); got != path {
				t.Fatalf("path of %d is %q, want %q", e.Number, got, path)
			}
			if got := must(ds.Parent(t.Context(), e.Number))(t); got != dir.Number {
				t.Fatalf("parent of %q is %d, want %d", path, got, dir.Number)
			}
			if e.Type == catalog.Dir {
				walk(e, path)
			}
			if len(seen)%50 == 0 && len(seen) > 200 {
				return // opening a dataset for each is slow; a part will do
			}
		}
	}
	walk(ds.Root(), "")
	last := ds.Root().Entries + 1
	for _, n := range []uint64{0, last + 1, 1 << 63} {
		if _, err := ds.Entry(t.Context(), n); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("entry %d: %v", n, err)
		}
	}
	if e := must(ds.Entry(t.Context(), last))(t); e.Number != last {
		t.Errorf("the last entry is %d, want %d", e.Number, last)
	}
}

func TestConcurrentReadersShareOneFetch(t *testing.T) {
	data := random(3, 64<<10)
	w := newWorld(t, 10, 1<<20, func(tree string) { write(tree, "f", data) })
	ds := w.open(nil)
	f := must(ds.File(t.Context(), must(ds.Resolve(t.Context(), "f"))(t)))(t)
	if _, err := f.ReadAt(t.Context(), make([]byte, 1), 0); err != nil { // the interior chunk
		t.Fatal(err)
	}
	w.reads.Store(0)
	w.slow.Store(int64(50 * time.Millisecond))
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			p := make([]byte, len(data))
			if _, err := f.ReadAt(t.Context(), p, 0); err != nil || !bytes.Equal(p, data) {
				t.Errorf("wrong bytes, %v", err)
			}
		})
	}
	wg.Wait()
	if got := w.reads.Load(); got > 4 {
		t.Errorf("64 readers of the same bytes cost %d sliver reads", got)
	}
}

// A reader that is interrupted all the time still gets its data: the fetch
// goes on without it.
func TestInterruptedReaderProgresses(t *testing.T) {
	data := random(4, 30<<10)
	w := newWorld(t, 10, 1<<20, func(tree string) { write(tree, "f", data) })
	ds := w.open(newMemoryCache())
	f := must(ds.File(t.Context(), must(ds.Resolve(t.Context(), "f"))(t)))(t)
	w.slow.Store(int64(60 * time.Millisecond))
	for try := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		p := make([]byte, len(data))
		_, err := f.ReadAt(ctx, p, 0)
		cancel()
		if err == nil {
			if !bytes.Equal(p, data) {
				t.Fatal("wrong bytes")
			}
			if try == 0 {
				t.Error("was not interrupted once")
			}
			return
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	t.Error("no progress in 200 tries")
}

// A reader may leave before the fetch it asked for has begun.
func TestReadersThatLeaveAtOnceDoNoHarm(t *testing.T) {
	data := random(11, 4<<20)
	w := newWorld(t, 100, 64<<20, func(tree string) { write(tree, "f", data) })
	ds := w.open(nil)
	f := must(ds.File(t.Context(), must(ds.Resolve(t.Context(), "f"))(t)))(t)
	must(f.ReadAt(t.Context(), make([]byte, 1), 0))(t)
	var wg sync.WaitGroup
	for i := range 1000 {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			p := make([]byte, 100<<10)
			for _, ctx := range []context.Context{ctx, t.Context()} {
				_, err := f.ReadAt(ctx, p, int64(i)*4000)
				if err == nil && !bytes.Equal(p, data[i*4000:][:len(p)]) || err != nil && ctx.Err() == nil {
					t.Errorf("wrong bytes, %v", err)
				}
			}
		})
		wg.Go(cancel)
	}
	wg.Wait()
}

func TestErrorsAreNotRemembered(t *testing.T) {
	w := newWorld(t, 10, 1<<20, func(tree string) { write(tree, "f", random(5, 100)) })
	ds := w.open(newMemoryCache())
	w.gone.Store(true)
	if _, err := fs.ReadFile(ds.FS(t.Context()), "f"); !errors.Is(err, blob.ErrUnavailable) {
		t.Fatalf("reading from nowhere: %v", err)
	}
	w.gone.Store(false)
	if _, err := fs.ReadFile(w.open(newMemoryCache()).FS(t.Context()), "f"); err != nil {
		t.Error(err)
	}
}

func TestVerifyFindsNothingWrongInASoundDataset(t *testing.T) {
	w := newWorld(t, 10, 64<<10, func(tree string) {
		write(tree, "d/f", random(6, 300_000))
		os.Link(filepath.Join(tree, "d/f"), filepath.Join(tree, "g"))
	})
	var bytes int64
	err := w.open(nil).Verify(t.Context(), true, func(p engine.Problem) { t.Errorf("%s: %v", p.Path, p.Err) },
		func(_, n int64) { bytes += n })
	if err != nil || bytes != 300_000 {
		t.Errorf("%d bytes read, %v", bytes, err)
	}
}

// memoryCache is a cache in memory: what an engine.Cache must do and no more.
type memoryCache struct {
	mu     sync.Mutex
	chunks map[[32]byte]map[int64][]byte
	metas  map[string][]byte
}

func newMemoryCache() *memoryCache {
	return &memoryCache{chunks: map[[32]byte]map[int64][]byte{}, metas: map[string][]byte{}}
}

func (c *memoryCache) Read(k [32]byte, off int64, want []byte, run *merkle.Run) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 0; ; i++ {
		data, ok := c.chunks[k][off+int64(i)*merkle.ChunkSize]
		if i*merkle.HashSize == len(want) || !ok || len(data) > len(run.Rest()) {
			return i
		}
		copy(run.Rest(), data)
		if run.Prove(merkle.Hash(want[i*merkle.HashSize:][:merkle.HashSize]), len(data)) != nil {
			return i
		}
	}
}

func (c *memoryCache) Raw(k [32]byte, off int64, p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		data := c.chunks[k][off]
		n := min(len(p), merkle.ChunkSize)
		if len(data) != n {
			return false
		}
		copy(p, data)
		p, off = p[n:], off+int64(n)
	}
	return true
}

func (c *memoryCache) Present(k [32]byte, off int64, n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		if _, ok := c.chunks[k][off+int64(i)*merkle.ChunkSize]; !ok {
			return i
		}
	}
	return n
}

func (c *memoryCache) Absent(k [32]byte, off int64, n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		if _, ok := c.chunks[k][off+int64(i)*merkle.ChunkSize]; ok {
			return i
		}
	}
	return n
}

func (c *memoryCache) Put(k [32]byte, off int64, chunk merkle.Chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.chunks[k] == nil {
		c.chunks[k] = map[int64][]byte{}
	}
	for b := chunk.Bytes(); len(b) > 0; {
		n := min(len(b), merkle.ChunkSize)
		c.chunks[k][off] = bytes.Clone(b[:n])
		b, off = b[n:], off+int64(n)
	}
}

func (c *memoryCache) Meta(k [32]byte, name string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.metas[string(k[:])+name]
}

func (c *memoryCache) PutMeta(k [32]byte, name string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metas[string(k[:])+name] = bytes.Clone(data)
}

// However many reads hang on nodes that do not answer, what is in the cache
// is read without waiting for them.
func TestHitsNeverWaitForMisses(t *testing.T) {
	const mib = 1 << 20
	w := newWorld(t, 100, 64<<20, func(tree string) {
		write(tree, "cached", random(8, mib))
		write(tree, "far", random(9, 60*mib))
	})
	ds := w.open(newMemoryCache())
	near := must(ds.File(t.Context(), must(ds.Resolve(t.Context(), "cached"))(t)))(t)
	far := must(ds.File(t.Context(), must(ds.Resolve(t.Context(), "far"))(t)))(t)
	warm := make([]byte, mib)
	must(near.ReadAt(t.Context(), warm, 0))(t)
	for off := int64(0); off < 60*mib; off += 8 * mib { // the interior chunks
		must(far.ReadAt(t.Context(), warm[:1], off))(t)
	}
	w.slow.Store(int64(time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	var hung sync.WaitGroup
	for i := range int64(200) { // twice what the budget has room for
		hung.Go(func() { far.ReadAt(ctx, make([]byte, mib), (i*mib/4+mib/8)%(59*mib)) })
	}
	for before := int64(-1); before != w.reads.Load(); { // until no more fit into the budget
		before = w.reads.Load()
		time.Sleep(200 * time.Millisecond)
	}
	for _, n := range []int{1, 100, mib} {
		if _, err := near.ReadAt(t.Context(), make([]byte, n), 0); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	hung.Wait()
}

func TestTheLargestReadFitsIntoTheLeastMemory(t *testing.T) {
	data := random(10, 9<<20)
	w := newWorld(t, 100, 64<<20, func(tree string) { write(tree, "f", data) })
	for _, cache := range []engine.Cache{nil, newMemoryCache()} {
		eng := engine.New(blob.New([]blob.Member{{Name: "store", Node: w.store}}, nil), cache, &engine.Options{Memory: 1})
		defer eng.Close()
		ds := must(eng.Open(t.Context(), w.id))(t)
		f := must(ds.File(t.Context(), must(ds.Resolve(t.Context(), "f"))(t)))(t)
		for range 2 {
			s := must(f.Read(t.Context(), 5, 2*engine.MaxRead))(t)
			if s.Len() != engine.MaxRead {
				t.Errorf("%d bytes read", s.Len())
			}
			s.Release()
		}
	}
}
