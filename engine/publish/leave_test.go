package publish_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/publish"
)

// paths returns the paths of all entries of a dataset.
func paths(t testing.TB, ds *engine.Dataset) []string {
	t.Helper()
	var all []string
	for n := ds.Root().Number + 1; n <= ds.Root().Number+ds.Root().Entries; n++ {
		p, err := ds.Path(t.Context(), n)
		must(t, err)
		all = append(all, p)
	}
	return all
}

func TestWhatCannotBePublishedIsLeftOutAndReported(t *testing.T) {
	dir := memoryDir(t)
	mustWrite(t, filepath.Join(dir, "kept/suid"), []byte("x"))
	must(t, os.Chmod(filepath.Join(dir, "kept/suid"), 0o755|os.ModeSetuid))
	must(t, os.Chmod(filepath.Join(dir, "kept"), 0o777|os.ModeSticky))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	must(t, err)
	defer l.Close()
	want := map[publish.Kind]uint64{publish.Fifo: 1, publish.Socket: 1, publish.Special: 2}
	if unix.Mknod(filepath.Join(dir, "device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) == nil {
		want[publish.Device] = 1
	}
	if far := time.Unix(1<<41, 0); os.Chtimes(filepath.Join(dir, "kept/suid"), far, far) == nil {
		if fi, err := os.Stat(filepath.Join(dir, "kept/suid")); err == nil && fi.ModTime().Equal(far) {
			want[publish.TimeMoved] = 1
		}
	}
	w := newWorld(t)
	res := w.mustPut(t, dir, small())
	if len(res.Notices.Counts) != len(want) {
		t.Errorf("notices %v, want %v", res.Notices.Counts, want)
	}
	for k, n := range want {
		if res.Notices.Counts[k] != n {
			t.Errorf("%d notices of %q, want %d", res.Notices.Counts[k], k, n)
		}
	}
	ds := w.mustOpen(t, res.ID)
	mustVerify(t, ds)
	if got := paths(t, ds); !slices.Equal(got, []string{"kept", "kept/suid"}) {
		t.Errorf("dataset holds %q", got)
	}
	if e, err := ds.Resolve(t.Context(), "kept/suid"); err != nil || e.Mode != 0o755 {
		t.Errorf("mode %o, %v", e.Mode, err)
	}
}

func TestExcludedAndAvoidedAreLeftOut(t *testing.T) {
	dir := memoryDir(t)
	for _, p := range []string{"a.tmp", "keep", "sub/b.tmp", "sub/keep", ".git/config", "sub/.git/config", "logs/x.txt",
		"sub/logs/x.txt", "build/out", "sub/build", "store/blobs/x", "sub/cache/y", "linked", "linked again"} {
		mustWrite(t, filepath.Join(dir, p), []byte(p))
	}
	must(t, os.Remove(filepath.Join(dir, "linked again")))
	must(t, os.Link(filepath.Join(dir, "linked"), filepath.Join(dir, "linked again")))
	opts := small()
	opts.Exclude = []string{"*.tmp", ".git", "logs/*.txt", "build/", "/linked"}
	opts.Avoid = []string{filepath.Join(dir, "store"), dir + "/sub/../sub/cache", filepath.Join(dir, "nothing")}
	w := newWorld(t)
	res := w.mustPut(t, dir, opts)
	ds := w.mustOpen(t, res.ID)
	mustVerify(t, ds)
	want := []string{"keep", "linked again", "logs", "sub", "sub/build", "sub/keep", "sub/logs", "sub/logs/x.txt"}
	if got := paths(t, ds); !slices.Equal(got, want) {
		t.Errorf("dataset holds %q, want %q", got, want)
	}
	if n := res.Notices.Counts; n[publish.Excluded] != 7 || n[publish.Avoided] != 2 {
		t.Errorf("notices %v", n)
	}
	// The other link is not in the dataset, so this is no group.
	if e, err := ds.Resolve(t.Context(), "linked again"); err != nil || e.Links != 1 || e.First != e.Number {
		t.Errorf("%d links, first %d, own %d, %v", e.Links, e.First, e.Number, err)
	}
}

func TestOtherFileSystemsAreLeftOutOnDemand(t *testing.T) {
	dir := memoryDir(t)
	mustWrite(t, filepath.Join(dir, "mnt/below"), nil)
	if err := unix.Mount("tmpfs", filepath.Join(dir, "mnt"), "tmpfs", 0, "size=1m"); err != nil {
		skipUnlessRoot(t, "mounting", err)
	}
	t.Cleanup(func() { unix.Unmount(filepath.Join(dir, "mnt"), unix.MNT_DETACH) })
	mustWrite(t, filepath.Join(dir, "mnt/on it"), []byte("x"))
	w := newWorld(t)
	opts := small()
	if got := paths(t, w.mustOpen(t, w.mustPut(t, dir, opts).ID)); !slices.Equal(got, []string{"mnt", "mnt/on it"}) {
		t.Errorf("dataset holds %q", got)
	}
	opts.OneFileSystem = true
	res := w.mustPut(t, dir, opts)
	if got := paths(t, w.mustOpen(t, res.ID)); len(got) != 0 || res.Notices.Counts[publish.OtherFS] != 1 {
		t.Errorf("dataset holds %q, notices %v", got, res.Notices.Counts)
	}
}

func TestPatterns(t *testing.T) {
	for _, x := range []struct {
		pattern, path string
		dir, want     bool
	}{
		{"*.tmp", "a/b/c.tmp", false, true},
		{"*.tmp", "a.tmp/b", false, false}, // its directory matches
		{"a/*", "a/b", false, true},
		{"a/*", "a/b/c", false, false},
		{"/a", "a", false, true},
		{"/a", "b/a", false, false},
		{"a/", "x/a", true, true},
		{"a/", "x/a", false, false},
		{"[a-c]?", "x/b\xff", false, true},
		{`\*`, "*", false, true},
		{`\*`, "x", false, false},
		{"*", ".hidden", false, true},
	} {
		m, err := publish.NewMatcher([]string{x.pattern})
		must(t, err)
		name := x.path[strings.LastIndexByte(x.path, '/')+1:]
		if got := m.Match(name, x.dir, func() string { return x.path }); got != x.want {
			t.Errorf("%q matches %q (directory %v): %v, want %v", x.pattern, x.path, x.dir, got, x.want)
		}
	}
	for _, bad := range []string{"", "/", "[", "a/[b"} {
		if _, err := publish.NewMatcher([]string{bad}); err == nil {
			t.Errorf("%q is taken as a pattern", bad)
		}
	}
}
