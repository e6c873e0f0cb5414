package publish_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
)

// light reports whether tests are to use less of everything: the race
// detector makes them ten times slower.
func light() bool { return testing.Short() || raceDetector }

// small are options with which a few megabytes are many blobs.
func small() *publish.Options { return &publish.Options{Shards: 10, BlobSize: 1 << 20} }

// A world is a store, and what puts into it and reads from it.
type world struct {
	store  *dir.Store
	client *blob.Client
	eng    *engine.Engine
}

// newWorld returns a world in a directory of memory, if there is one: the
// store syncs every file.
func newWorld(t testing.TB) *world {
	t.Helper()
	return mustWorld(t, filepath.Join(memoryDir(t), "store"))
}

func mustWorld(t testing.TB, path string) *world {
	t.Helper()
	store, err := dir.Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{store: store, client: blob.New([]blob.Member{{Name: "store", Node: store, Near: true}}, nil)}
	w.eng = engine.New(w.client, nil, nil)
	t.Cleanup(func() { w.eng.Close() })
	return w
}

// memoryDir returns a new directory, in memory if possible.
func memoryDir(t testing.TB) string {
	t.Helper()
	path, err := os.MkdirTemp("/dev/shm", "floe-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(path) })
	return path
}

func (w *world) put(ctx context.Context, dir string, opts *publish.Options) (publish.Result, error) {
	sink, err := w.client.Writer()
	if err != nil {
		return publish.Result{}, err
	}
	return publish.Dir(ctx, dir, sink, opts)
}

func (w *world) mustPut(t testing.TB, dir string, opts *publish.Options) publish.Result {
	t.Helper()
	res, err := w.put(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (w *world) mustOpen(t testing.TB, id walrus.BlobID) *engine.Dataset {
	t.Helper()
	ds, err := w.eng.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// mustRoundTrip publishes dir, and checks that the dataset is dir and that all
// of it is in order.
func (w *world) mustRoundTrip(t testing.TB, dir string, opts *publish.Options) (publish.Result, *engine.Dataset) {
	t.Helper()
	res := w.mustPut(t, dir, opts)
	ds := w.mustOpen(t, res.ID)
	mustBe(t, ds, dir)
	mustVerify(t, ds)
	return res, ds
}

func mustVerify(t testing.TB, ds *engine.Dataset) {
	t.Helper()
	err := ds.Verify(t.Context(), true, func(p engine.Problem) { t.Errorf("%s: %v", p.Path, p.Err) }, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// mustBe checks that a dataset and a directory hold the same.
func mustBe(t testing.TB, ds *engine.Dataset, dir string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	c := comparer{t, ds, make(map[uint64]uint64)}
	c.compare(ds.Root(), dir, &st)
}

type comparer struct {
	testing.TB
	ds    *engine.Dataset
	first map[uint64]uint64 // by inode, the number of the first link
}

func (c comparer) compare(e catalog.Entry, path string, st *unix.Stat_t) {
	c.Helper()
	wantType := map[uint32]catalog.Type{unix.S_IFREG: catalog.File, unix.S_IFDIR: catalog.Dir, unix.S_IFLNK: catalog.Symlink}[st.Mode&unix.S_IFMT]
	if e.Type != wantType || e.Mode != uint16(st.Mode&0o777) || e.Sec != st.Mtim.Sec || e.Nsec != uint32(st.Mtim.Nsec) {
		c.Errorf("%q: type %d, mode %o, time %d.%09d; want %d, %o, %d.%09d", path,
			e.Type, e.Mode, e.Sec, e.Nsec, wantType, st.Mode&0o777, st.Mtim.Sec, st.Mtim.Nsec)
	}
	switch e.Type {
	case catalog.File:
		c.file(e, path, st)
	case catalog.Dir:
		c.dir(e, path)
	case catalog.Symlink:
		if want, err := os.Readlink(path); err != nil || e.Target != want {
			c.Errorf("%q: target %q, want %q (%v)", path, e.Target, want, err)
		}
	}
}

func (c comparer) file(e catalog.Entry, path string, st *unix.Stat_t) {
	c.Helper()
	if e.Size != st.Size {
		c.Errorf("%q: %d bytes, want %d", path, e.Size, st.Size)
		return
	}
	if _, ok := c.first[st.Ino]; !ok {
		c.first[st.Ino] = e.Number
	}
	if uint64(e.Links) != uint64(st.Nlink) || e.First != c.first[st.Ino] {
		c.Errorf("%q: %d links, first %d; want %d, %d", path, e.Links, e.First, st.Nlink, c.first[st.Ino])
	}
	f, err := c.ds.File(c.Context(), e)
	if err != nil {
		c.Fatal(err)
	}
	want, err := os.Open(path)
	if err != nil {
		c.Fatal(err)
	}
	defer want.Close()
	part := min(e.Size, 1<<20)
	buf, got := make([]byte, part), make([]byte, part)
	for off := int64(0); off < e.Size; off += int64(len(buf)) {
		n := min(int64(len(buf)), e.Size-off)
		if _, err := want.ReadAt(buf[:n], off); err != nil {
			c.Fatal(err)
		}
		if err := readFile(c.Context(), f, got[:n], off); err != nil || !bytes.Equal(buf[:n], got[:n]) {
			c.Errorf("%q differs within %d bytes from %d on (%v)", path, n, off, err)
			return
		}
	}
}

func readFile(ctx context.Context, f *engine.File, p []byte, off int64) error {
	n, err := f.ReadAt(ctx, p, off)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (c comparer) dir(e catalog.Entry, path string) {
	c.Helper()
	f, err := os.Open(path)
	if err != nil {
		c.Fatal(err)
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	if err != nil {
		c.Fatal(err)
	}
	slices.Sort(names)
	i := 0
	for child, err := range c.ds.List(c.Context(), e, 0) {
		if err != nil {
			c.Fatal(err)
		}
		if i >= len(names) || child.Name != names[i] {
			c.Fatalf("%q: entry %d is %q, want one of %d names", path, i, child.Name, len(names))
		}
		var st unix.Stat_t
		at := path + "/" + child.Name
		if err := unix.Lstat(at, &st); err != nil {
			c.Fatal(&fs.PathError{Op: "lstat", Path: at, Err: err})
		}
		c.compare(child, at, &st)
		i++
	}
	if i != len(names) {
		c.Errorf("%q: %d entries, want %d", path, i, len(names))
	}
}

func mustWrite(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// noise returns n bytes that look random and differ for each seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	x := seed*0x9e3779b97f4a7c15 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return b
}
