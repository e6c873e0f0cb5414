package publish_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/merkle"
)

// Sizes at which something changes: chunks, hole units, blobs, and levels.
func TestFilesOfEverySizeComeBack(t *testing.T) {
	dir := memoryDir(t)
	for i, size := range []int{0, 1, 2, 511, 512, 513, 16<<10 - 1, 16 << 10, 16<<10 + 1, 32 << 10,
		1<<20 - 1, 1 << 20, 1<<20 + 1, 2<<20 - 16<<10, 3<<20 + 5, 8<<20 - 1, 8 << 20, 8<<20 + 1} {
		mustWrite(t, filepath.Join(dir, fmt.Sprintf("%08d", size)), noise(uint64(i), size))
	}
	newWorld(t).mustRoundTrip(t, dir, small())
}

// A blob that is exactly full, one byte less, one byte more.
func TestBlobBoundariesHold(t *testing.T) {
	const blobSize = 64 << 10
	for _, size := range []int{blobSize - 1, blobSize, blobSize + 1, 3*blobSize - 512 - 32, 3 * blobSize} {
		dir := memoryDir(t)
		mustWrite(t, filepath.Join(dir, "f"), noise(1, size))
		mustWrite(t, filepath.Join(dir, "g"), noise(2, 1))
		newWorld(t).mustRoundTrip(t, dir, &publish.Options{Shards: 4, BlobSize: blobSize})
	}
}

func TestEverythingADirectoryHoldsComesBack(t *testing.T) {
	dir := memoryDir(t)
	for _, d := range []string{"empty", "a/b/c/d/e", "modes", "dir with spaces\n"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	mustWrite(t, filepath.Join(dir, "a/empty"), nil)
	mustWrite(t, filepath.Join(dir, "a/one"), []byte{7})
	mustWrite(t, filepath.Join(dir, "a/b/"+strings.Repeat("n", 255)), noise(1, 100))
	mustWrite(t, filepath.Join(dir, "not utf-8 \xff\xfe"), noise(2, 100))
	mustWrite(t, filepath.Join(dir, "a-"), noise(3, 10)) // sorts before "a/..." by bytes of paths, behind "a" by name
	must(t, os.Symlink("a/one", filepath.Join(dir, "link")))
	must(t, os.Symlink(strings.Repeat("x/", 2047)+"x", filepath.Join(dir, "long link")))
	must(t, os.Symlink("/nowhere/\xff", filepath.Join(dir, "a/b/c/dangling")))
	mustWrite(t, filepath.Join(dir, "zz"), noise(4, 50000))
	must(t, os.Link(filepath.Join(dir, "zz"), filepath.Join(dir, "a/b/linked")))
	must(t, os.Link(filepath.Join(dir, "zz"), filepath.Join(dir, "empty link")))
	for i, mode := range []os.FileMode{0, 0o400, 0o644, 0o755, 0o777, 0o111} {
		path := filepath.Join(dir, fmt.Sprintf("modes/%d", i))
		mustWrite(t, path, noise(5, 20))
		if os.Geteuid() != 0 && mode&0o400 == 0 {
			continue // could not be read
		}
		must(t, os.Chmod(path, mode))
	}
	for i, when := range []time.Time{time.Unix(0, 1), time.Unix(-1, 999999999), time.Unix(-1e9, 5), time.Unix(1<<33, 0), time.Unix(1700000000, 123456789)} {
		path := filepath.Join(dir, fmt.Sprintf("modes/time%d", i))
		mustWrite(t, path, nil)
		must(t, os.Chtimes(path, when, when))
	}
	must(t, os.Chtimes(filepath.Join(dir, "a"), time.Unix(5, 6), time.Unix(7, 8)))
	res, ds := newWorld(t).mustRoundTrip(t, dir, small())
	if res.Dirs != 8 || res.Symlinks != 3 || res.Files != ds.Root().Files || res.Bytes != ds.Root().Bytes {
		t.Errorf("result counts %d directories, %d symlinks, %d files, %d bytes; root %+v", res.Dirs, res.Symlinks, res.Files, res.Bytes, ds.Root())
	}
}

func TestAnEmptyDirectoryIsADataset(t *testing.T) {
	res, _ := newWorld(t).mustRoundTrip(t, memoryDir(t), nil)
	if res.Blobs != 1 {
		t.Errorf("%d blobs, want the header alone", res.Blobs)
	}
}

func TestXattrsComeBack(t *testing.T) {
	dir := t.TempDir() // files in memory may have no xattrs
	path := filepath.Join(dir, "f")
	mustWrite(t, path, []byte("x"))
	if err := unix.Setxattr(path, "user.color", []byte("blue"), 0); err != nil {
		t.Skip("no user xattrs here: ", err)
	}
	must(t, unix.Setxattr(path, "user.empty", nil, 0))
	must(t, unix.Setxattr(path, "user.floe.root", []byte("lie"), 0))
	must(t, unix.Setxattr(dir, "user.long", bytes.Repeat([]byte("v"), 3000), 0))
	w := newWorld(t)
	res, ds := w.mustRoundTrip(t, dir, small())
	e, err := ds.Resolve(t.Context(), "f")
	must(t, err)
	for _, x := range []struct {
		e    catalog.Entry
		want string
	}{{e, "user.color=blue user.empty= "}, {ds.Root(), "user.long=" + strings.Repeat("v", 3000) + " "}} {
		list, err := ds.Xattrs(t.Context(), x.e)
		must(t, err)
		got := ""
		for _, x := range list {
			got += fmt.Sprintf("%s=%s ", x.Name, x.Value)
		}
		if got != x.want {
			t.Errorf("%q: xattrs %.100q, want %.100q", x.e.Name, got, x.want)
		}
	}
	if ds.Root().Xattrs.Out.Size == 0 {
		t.Error("3000 bytes of xattrs are in the entry")
	}
	if res.Notices.Counts[publish.XattrsLost] != 1 {
		t.Errorf("notices %v, want one of the reserved xattr", res.Notices.List)
	}
}

func TestSparseFilesStoreTheirDataOnly(t *testing.T) {
	size := int64(2 << 30)
	if light() {
		size = 256 << 20
	}
	if os.Getenv("FLOE_HEAVY") != "" {
		size = 20 << 30
	}
	dir := memoryDir(t)
	path := filepath.Join(dir, "sparse")
	mustWrite(t, path, noise(1, 300<<10))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	for _, at := range []int64{size/2 + 12345, size - 424242} {
		_, err := f.WriteAt(noise(uint64(at), 350<<10), at)
		must(t, err)
	}
	must(t, f.Truncate(size))
	w := newWorld(t)
	res := w.mustPut(t, dir, nil)
	if res.Bytes != uint64(size) || res.Stored > 8<<20 {
		t.Errorf("%d bytes stored for a file of %d with 1 MiB of data", res.Stored, res.Bytes)
	}
	ds := w.mustOpen(t, res.ID)
	e, err := ds.Resolve(t.Context(), "sparse")
	must(t, err)
	got, err := ds.File(t.Context(), e)
	must(t, err)
	want, err := os.Open(path)
	must(t, err)
	defer want.Close()
	for _, at := range []int64{0, 1<<20 - 100, size/2 + 12345 - 1000, size / 3, size - 500000, size - 400000} {
		a, b := make([]byte, 400000), make([]byte, 400000)
		_, err := want.ReadAt(a, at)
		must(t, err)
		must(t, readFile(t.Context(), got, b, at))
		if !bytes.Equal(a, b) {
			t.Errorf("differs at %d", at)
		}
	}
}

// Many holes: their list does not fit into the entry.
func TestManyHolesComeBack(t *testing.T) {
	if light() {
		t.Skip("hashes 2 GiB")
	}
	dir := memoryDir(t)
	path := filepath.Join(dir, "f")
	mustWrite(t, path, nil)
	must(t, os.Truncate(path, 1040<<20))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	for i := range 520 {
		_, err := f.WriteAt([]byte{1}, int64(2*i)<<20)
		must(t, err)
	}
	w := newWorld(t)
	opts := &publish.Options{Shards: 4, BlobSize: 16 << 14}
	res := w.mustPut(t, dir, opts)
	ds := w.mustOpen(t, res.ID)
	e, err := ds.Resolve(t.Context(), "f")
	must(t, err)
	if e.Holes.Out.Size == 0 {
		t.Fatal("the list of 520 holes is in the entry")
	}
	file, err := ds.File(t.Context(), e)
	must(t, err)
	for i := range int64(520) {
		b := make([]byte, 2)
		must(t, readFile(t.Context(), file, b[:1], 2*i<<20))
		must(t, readFile(t.Context(), file, b[1:], (2*i+1)<<20))
		if b[0] != 1 || b[1] != 0 {
			t.Fatalf("at MiB %d and behind: %d", 2*i, b)
		}
	}
	// A version takes the list over.
	opts.Base = ds
	res = w.mustPut(t, dir, opts)
	again, err := w.mustOpen(t, res.ID).Resolve(t.Context(), "f")
	must(t, err)
	if again.At != e.At || again.Holes.Out != e.Holes.Out {
		t.Errorf("the next version has %+v, want %+v", again, e)
	}
}

func TestDirectoriesOfManyFilesComeBack(t *testing.T) {
	dir := memoryDir(t)
	n := 100000
	if light() {
		n = 10000
	}
	for i := range n {
		f, err := os.Create(fmt.Sprintf("%s/file number %06d", dir, i*7919%n))
		must(t, err)
		f.WriteString(f.Name()[len(dir):])
		must(t, f.Close())
	}
	res, _ := newWorld(t).mustRoundTrip(t, dir, nil)
	if res.Files != uint64(n) {
		t.Errorf("%d files, want %d", res.Files, n)
	}
}

// A blob table that does not fit behind the header, so that it takes lists.
func TestManyBlobsTakeLists(t *testing.T) {
	dir := memoryDir(t)
	mustWrite(t, filepath.Join(dir, "f"), noise(9, 400*merkle.ChunkSize))
	res, ds := newWorld(t).mustRoundTrip(t, dir, &publish.Options{Shards: 4, BlobSize: merkle.ChunkSize})
	if h := ds.Header(); h.Lists != 1 || res.Header.Lists != 1 || res.Blobs != h.Blobs+2 {
		t.Errorf("%d lists for %d blobs, %d in all", h.Lists, h.Blobs, res.Blobs)
	}
}

func TestTreesDeeperThanAPathCanBeComeBack(t *testing.T) {
	dir := memoryDir(t)
	name := strings.Repeat("d", 100)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for range 200 {
		must(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		file, err := unix.Openat(next, "zlast", unix.O_WRONLY|unix.O_CREAT, 0o644)
		must(t, err)
		unix.Write(file, []byte("here"))
		unix.Close(file)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	w := newWorld(t)
	res := w.mustPut(t, dir, small())
	if res.Dirs != 200 || res.Files != 200 {
		t.Errorf("%d directories and %d files, want 200 of each", res.Dirs, res.Files)
	}
	ds := w.mustOpen(t, res.ID)
	mustVerify(t, ds)
	if e, err := ds.Resolve(t.Context(), strings.Repeat(name+"/", 200)+"zlast"); err != nil || e.Size != 4 {
		t.Errorf("last file: %v, %v", e, err)
	}
}

// What readers do not follow is left out, not an error.
func TestWhatIsTooDeepIsLeftOut(t *testing.T) {
	dir := memoryDir(t)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for range 2060 {
		must(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		must(t, unix.Symlinkat("target", next, "a"))
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	w := newWorld(t)
	res := w.mustPut(t, dir, small())
	if res.Notices.Counts[publish.TooDeep] != 1 {
		t.Errorf("notices %v, want one", res.Notices.Counts)
	}
	ds := w.mustOpen(t, res.ID)
	mustVerify(t, ds)
	if e, err := ds.Entry(t.Context(), ds.Root().Entries+1); err != nil || e.Target != "target" || res.Symlinks != res.Dirs {
		t.Errorf("deepest entry: %v, %v; %d symlinks in %d directories", e, err, res.Symlinks, res.Dirs)
	}
}

func TestTheSameTreeGivesTheSameId(t *testing.T) {
	type file struct {
		path string
		data []byte
	}
	var files []file
	for i := range 300 {
		files = append(files, file{fmt.Sprintf("d%d/e%d/f%d", i%7, i%3, i), noise(uint64(i), i*i)})
	}
	when := time.Unix(1600000000, 42)
	build := func(seed uint64) string {
		dir := memoryDir(t)
		rng := rand.New(rand.NewPCG(seed, 0))
		for _, i := range rng.Perm(len(files)) {
			mustWrite(t, filepath.Join(dir, files[i].path), files[i].data)
		}
		must(t, filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
			return os.Chtimes(p, when, when)
		}))
		return dir
	}
	first := newWorld(t).mustPut(t, build(1), small())
	for seed := range uint64(3) {
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(int(seed) + 1))
			res := newWorld(t).mustPut(t, build(seed+2), small())
			if res.ID != first.ID {
				t.Errorf("seed %d: %s, want %s", seed, res.ID, first.ID)
			}
		}()
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(build(9), link))
	if res := newWorld(t).mustPut(t, link, small()); res.ID != first.ID {
		t.Errorf("through a symlink: %s, want %s", res.ID, first.ID)
	}
}
