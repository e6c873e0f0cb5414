package publish_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/publish"
)

func TestAVersionStoresWhatChanged(t *testing.T) {
	dir := memoryDir(t)
	n := 10000
	if light() {
		n = 1000
	}
	for i := range n {
		mustWrite(t, fmt.Sprintf("%s/%02d/%d", dir, i%50, i), noise(uint64(i), 3000+i%100))
	}
	w := newWorld(t)
	opts := small()
	first, _ := w.mustRoundTrip(t, dir, opts)

	// The same again, every time of modification changed: content decides.
	opts.Base = w.mustOpen(t, first.ID)
	now := time.Now()
	for i := range 100 {
		must(t, os.Chtimes(fmt.Sprintf("%s/%02d/%d", dir, i%50, i), now, now))
	}
	touched, ds := w.mustRoundTrip(t, dir, opts)
	if touched.FilesReused != uint64(n) {
		t.Errorf("%d of %d files reused", touched.FilesReused, n)
	}

	opts.Base = ds
	must(t, os.WriteFile(dir+"/07/7", noise(99, 3007), 0o644))
	second, ds := w.mustRoundTrip(t, dir, opts)
	if second.FilesReused != uint64(n-1) || second.BlobsBase != touched.Header.Blobs || second.ID == first.ID {
		t.Errorf("%d of %d files reused, %d blobs of the base's %d", second.FilesReused, n, second.BlobsBase, touched.Header.Blobs)
	}
	// The file, its directory's table, the top's and the blob table.
	if max := int64(100 << 10); second.Stored > max {
		t.Errorf("%d bytes stored, want at most %d", second.Stored, max)
	}
	t.Logf("%d bytes stored for the first, %d with all times of 100 files changed, %d with one file changed", first.Stored, touched.Stored, second.Stored)

	// It depends on nothing but the tree and the base.
	if res := w.mustPut(t, dir, opts); res.ID != second.ID {
		t.Errorf("published again: %s, want %s", res.ID, second.ID)
	}

	// A version of the version.
	opts.Base = ds
	mustWrite(t, dir+"/07/new", noise(100, 5<<20))
	must(t, os.Remove(dir+"/08/8"))
	must(t, os.RemoveAll(dir+"/09"))
	mustWrite(t, dir+"/09", noise(101, 10))
	third, _ := w.mustRoundTrip(t, dir, opts)
	if third.BlobsBase != second.Header.Blobs {
		t.Errorf("%d blobs of the base's %d", third.BlobsBase, second.Header.Blobs)
	}
}

// Everything that lies out of line is taken over too.
func TestAVersionKeepsHolesXattrsAndLinks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sparse")
	mustWrite(t, path, nil)
	must(t, os.Truncate(path, 40<<20))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	for i := range 20 {
		_, err := f.WriteAt([]byte{1}, int64(2*i)<<20)
		must(t, err)
	}
	must(t, f.Close())
	mustWrite(t, filepath.Join(dir, "a/file"), noise(1, 3<<20))
	must(t, os.Link(filepath.Join(dir, "a/file"), filepath.Join(dir, "link")))
	unix.Setxattr(path, "user.long", bytes.Repeat([]byte("v"), 3000), 0)
	unix.Setxattr(dir, "user.long", bytes.Repeat([]byte("v"), 3000), 0)
	w := newWorld(t)
	opts := &publish.Options{Shards: 10, BlobSize: 256 << 10}
	first := w.mustPut(t, dir, opts)
	opts.Base = w.mustOpen(t, first.ID)
	second := w.mustPut(t, dir, opts)
	if second.Header.Blobs != first.Header.Blobs {
		t.Errorf("%d blobs, want the base's %d", second.Header.Blobs, first.Header.Blobs)
	}
	ds := w.mustOpen(t, second.ID)
	mustVerify(t, ds)
	mustWrite(t, filepath.Join(dir, "z"), noise(1, 100))
	third := w.mustPut(t, dir, opts)
	mustVerify(t, w.mustOpen(t, third.ID))
}

func TestABaseMustFit(t *testing.T) {
	dir := memoryDir(t)
	mustWrite(t, filepath.Join(dir, "f"), noise(1, 100))
	w := newWorld(t)
	base := w.mustOpen(t, w.mustPut(t, dir, small()).ID)
	for _, opts := range []publish.Options{{Shards: 4}, {Shards: 10, BlobSize: 1 << 21}, {BlobSize: 16 << 10}} {
		opts.Base = base
		if _, err := w.put(t.Context(), dir, &opts); err == nil {
			t.Errorf("a base of other shards or blobs is taken with %+v", opts)
		}
	}
	if res := w.mustPut(t, dir, &publish.Options{Base: base}); res.Header.Shards != 10 || res.Header.BlobSize != 1<<20 {
		t.Errorf("%d shards, blobs of %d, want the base's", res.Header.Shards, res.Header.BlobSize)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	w, dir := newWorld(t), memoryDir(t)
	for _, opts := range []publish.Options{{Shards: 3}, {Shards: 1001}, {Shards: -1}, {BlobSize: -1}, {BlobSize: 1000},
		{Shards: 4, BlobSize: 1 << 20}, {Exclude: []string{"["}}} {
		if _, err := w.put(t.Context(), dir, &opts); err == nil {
			t.Errorf("%+v is accepted", opts)
		}
	}
	if _, err := w.put(t.Context(), filepath.Join(dir, "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	mustWrite(t, filepath.Join(dir, "f"), nil)
	if _, err := w.put(t.Context(), filepath.Join(dir, "f"), nil); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
}
