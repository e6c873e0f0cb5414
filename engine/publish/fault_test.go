package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
)

// A hookedSink calls a function before each Put, and counts.
type hookedSink struct {
	publish.Sink
	before func(n int64) error
	puts   atomic.Int64
}

func (s *hookedSink) Put(ctx context.Context, b *walrus.Encoded) error {
	n := s.puts.Add(1)
	if s.before != nil {
		if err := s.before(n); err != nil {
			return err
		}
	}
	return s.Sink.Put(ctx, b)
}

func (w *world) hooked(t testing.TB, before func(n int64) error) *hookedSink {
	t.Helper()
	sink, err := w.client.Writer()
	must(t, err)
	return &hookedSink{Sink: sink, before: before}
}

func TestAFileThatChangesWhileItIsReadIsAnError(t *testing.T) {
	changes := map[string]func(path string) error{
		"appended to": func(p string) error {
			f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("more")
				f.Close()
			}
			return err
		},
		"overwritten": func(p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("other")
				f.Close()
			}
			return err
		},
		"truncated":       func(p string) error { return os.Truncate(p, 20<<20) },
		"touched":         func(p string) error { return os.Chtimes(p, time.Time{}, time.Unix(1, 1)) },
		"ahead, removed":  func(p string) error { return os.Remove(p + " later") },
		"ahead, replaced": func(p string) error { return errors.Join(os.Remove(p+" later"), os.Mkdir(p+" later", 0o755)) },
		"ahead, a link": func(p string) error {
			return errors.Join(os.Remove(p+" later"), os.Symlink("/etc/passwd", p+" later"))
		},
		"ahead, a directory that is a link now": func(p string) error {
			return errors.Join(os.RemoveAll(p+" later dir"), os.Symlink("/etc", p+" later dir"))
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			path := filepath.Join(dir, "file")
			mustWrite(t, path, noise(1, 32<<20))
			mustWrite(t, path+" later", noise(2, 100))
			mustWrite(t, path+" later dir/passwd", noise(3, 100))
			w := newWorld(t)
			sink := w.hooked(t, func(n int64) error {
				if n == 1 { // by now a few of 32 blobs have been read
					return change(path)
				}
				return nil
			})
			res, err := publish.Dir(t.Context(), dir, sink, small())
			want := "file"
			if strings.HasPrefix(name, "ahead") {
				want = "file later"
			}
			if !errors.Is(err, publish.ErrChanged) || !strings.Contains(err.Error(), want) || res.ID != (walrus.BlobID{}) {
				t.Errorf("got %s, %v, want an error that %q changed", res.ID, err, want)
			}
		})
	}
}

func TestAFailedStoreIsTheError(t *testing.T) {
	dir := memoryDir(t)
	mustWrite(t, filepath.Join(dir, "file"), noise(1, 16<<20))
	broken := errors.New("the disk is broken")
	for at := range int64(18) {
		w := newWorld(t)
		sink := w.hooked(t, func(n int64) error {
			if n == at+1 {
				return broken
			}
			return nil
		})
		if _, err := publish.Dir(t.Context(), dir, sink, small()); !errors.Is(err, broken) {
			t.Errorf("put %d of %d failed: got %v, want the store's error", at+1, sink.puts.Load(), err)
		}
	}
}

func TestProgressGrows(t *testing.T) {
	dir := memoryDir(t)
	mustWrite(t, filepath.Join(dir, "file"), noise(1, 16<<20))
	var last publish.Progress
	calls := 0
	opts := small()
	opts.Progress = func(p publish.Progress) {
		if p.BytesRead < last.BytesRead || p.Stored < last.Stored || p.FilesRead < last.FilesRead {
			t.Errorf("%+v after %+v", p, last)
		}
		last, calls = p, calls+1
	}
	newWorld(t).mustPut(t, dir, opts)
	if calls < 2 || last.Files != 1 || last.FilesRead != 1 || last.Bytes != 16<<20 || last.BytesRead != last.Bytes || last.Stored < 16<<20 {
		t.Errorf("%d calls, the last with %+v", calls, last)
	}
}

func TestCancelStopsAtOnceAndLeavesNothing(t *testing.T) {
	dir, tmp := memoryDir(t), memoryDir(t)
	mustWrite(t, filepath.Join(dir, "file"), noise(1, 64<<20))
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	var at time.Time
	sink := w.hooked(t, func(n int64) error {
		if n == 3 {
			at = time.Now()
			cancel()
		}
		return nil
	})
	opts := small()
	opts.TempDir = tmp
	_, err := publish.Dir(ctx, dir, sink, opts)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
	if took := time.Since(at); took > 2*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	for _, d := range []string{tmp, filepath.Join(w.store.Path(), "tmp")} {
		if names, _ := os.ReadDir(d); len(names) > 0 {
			t.Errorf("%s holds %v", d, names)
		}
	}
}

// runAgain runs the test of that name in a process of its own, which calls
// asChild.
func runAgain(t testing.TB, name string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), append(env, "FLOE_CHILD=1")...)
	return cmd
}

func isChild() bool { return os.Getenv("FLOE_CHILD") != "" }

// childPut publishes what the environment says and prints the id.
func childPut(t *testing.T, opts *publish.Options) {
	w := mustWorld(t, os.Getenv("FLOE_STORE"))
	opts.Journal = os.Getenv("FLOE_JOURNAL")
	res, err := w.put(t.Context(), os.Getenv("FLOE_DIR"), opts)
	fmt.Printf("result: %s %d %v\n", res.ID, res.BlobsReused, err)
}

func TestUnreadableFilesAreNamedBeforeAnythingIsStored(t *testing.T) {
	if isChild() {
		childPut(t, small())
		return
	}
	dir, store := memoryDir(t), memoryDir(t)
	mustWrite(t, filepath.Join(dir, "a"), noise(1, 5<<20))
	mustWrite(t, filepath.Join(dir, "b/secret"), noise(2, 10))
	must(t, os.Chmod(filepath.Join(dir, "b/secret"), 0))
	must(t, os.Mkdir(filepath.Join(dir, "c"), 0o311))
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(store, 0o777))
	cmd := runAgain(t, t.Name(), "FLOE_STORE="+store+"/s", "FLOE_DIR="+dir)
	if os.Geteuid() == 0 {
		exe, err := os.Executable()
		must(t, err)
		data, err := os.ReadFile(exe)
		must(t, err)
		cmd.Path = filepath.Join(store, "test") // where nobody may run it
		must(t, os.WriteFile(cmd.Path, data, 0o755))
		cmd.Dir = store
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "no permission to read: b/secret, c: ") {
		t.Errorf("got %s, want an error with both paths", out)
	}
	if blobs, _ := os.ReadDir(filepath.Join(store, "s", "blobs")); len(blobs) > 0 {
		t.Errorf("%d blobs were stored", len(blobs))
	}
}

func TestAFullDiskIsAnErrorAndTheNextRunGoesOn(t *testing.T) {
	mnt := t.TempDir()
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=12m"); err != nil {
		skipUnlessRoot(t, "mounting a small file system", err)
	}
	t.Cleanup(func() { unix.Unmount(mnt, unix.MNT_DETACH) })
	dir := memoryDir(t)
	mustWrite(t, filepath.Join(dir, "file"), noise(1, 20<<20))
	w := mustWorld(t, filepath.Join(mnt, "store"))
	opts := small()
	opts.Journal = filepath.Join(memoryDir(t), "journal")
	res, err := w.put(t.Context(), dir, opts)
	if !errors.Is(err, unix.ENOSPC) || res.ID != (walrus.BlobID{}) {
		t.Fatalf("got %s, %v, want no space", res.ID, err)
	}
	if names, _ := os.ReadDir(filepath.Join(w.store.Path(), "tmp")); len(names) > 0 {
		t.Errorf("left behind in tmp: %v", names)
	}
	must(t, unix.Mount("tmpfs", mnt, "tmpfs", unix.MS_REMOUNT, "size=200m"))
	res, _ = w.mustRoundTrip(t, dir, opts)
	if res.BlobsReused < 3 {
		t.Errorf("%d blobs were reused", res.BlobsReused)
	}
}

func TestATemporaryDirectoryThatIsFullIsAnError(t *testing.T) {
	mnt := t.TempDir()
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=64k"); err != nil {
		skipUnlessRoot(t, "mounting a small file system", err)
	}
	t.Cleanup(func() { unix.Unmount(mnt, unix.MNT_DETACH) })
	dir := memoryDir(t)
	for i := range 3000 {
		mustWrite(t, fmt.Sprintf("%s/a file with a name that takes some room %d", dir, i), nil)
	}
	opts := small()
	opts.TempDir = mnt
	if _, err := newWorld(t).put(t.Context(), dir, opts); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "list of files") {
		t.Errorf("got %v, want no space for the list of files", err)
	}
}

// TestAKilledRunGoesOn kills a run at random moments, over and over, until one
// gets through.
func TestAKilledRunGoesOn(t *testing.T) {
	opts := &publish.Options{Shards: 10, BlobSize: 1 << 20}
	if isChild() {
		childPut(t, opts)
		return
	}
	dir, store := memoryDir(t), memoryDir(t)
	for i := range 8 {
		mustWrite(t, fmt.Sprintf("%s/%d", dir, i), noise(uint64(i), 5<<20+i))
	}
	want := newWorld(t).mustPut(t, dir, opts)

	seed := uint64(time.Now().UnixNano())
	t.Log("seed ", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	journal := filepath.Join(store, "journal")
	before := make(map[string]fs.FileInfo)
	reused, kills := 0, 0
	for limit := 60 * time.Millisecond; ; limit += limit / 6 {
		cmd := runAgain(t, t.Name(), "FLOE_STORE="+store+"/s", "FLOE_DIR="+dir, "FLOE_JOURNAL="+journal)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		must(t, cmd.Start())
		timer := time.AfterFunc(time.Duration(rng.Int64N(int64(limit))), func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		replaced := checkUntouched(t, filepath.Join(store, "s", "blobs"), before)
		if replaced > 0 {
			t.Errorf("run %d wrote %d slivers again that were there", kills, replaced)
		}
		// All but one of the blobs that were begun are never encoded again.
		begun, _ := filepath.Glob(store + "/s/blobs/*/*")
		lines, _ := os.ReadFile(journal)
		if known := strings.Count(string(lines), "\n"); len(begun) > known+1 {
			t.Errorf("run %d left %d blobs begun, of which the journal knows %d", kills, len(begun), known)
		}
		if err != nil {
			kills++
			continue
		}
		var id string
		var n int
		i := strings.Index(out.String(), "result: ")
		if i < 0 {
			t.Fatalf("no result: %s", out.String())
		}
		fmt.Sscanf(out.String()[i:], "result: %s %d", &id, &n)
		if id != want.ID.String() {
			t.Fatalf("after %d kills: %s, want %s", kills, out.String(), want.ID)
		}
		reused = n
		break
	}
	t.Logf("%d kills, %d of %d blobs reused by the last run", kills, reused, want.Blobs)
	w := mustWorld(t, store+"/s")
	ds := w.mustOpen(t, want.ID)
	mustBe(t, ds, dir)
	// And now nothing is left to do.
	opts.Journal = journal
	if res := w.mustPut(t, dir, opts); res.Stored != 0 || res.BlobsReused != res.Blobs {
		t.Errorf("a run after all is stored: %d bytes stored, %d of %d blobs reused", res.Stored, res.BlobsReused, res.Blobs)
	}
}

// checkUntouched returns how many files that were there before are not the
// same ones now, and adds those that are new.
func checkUntouched(t *testing.T, dir string, before map[string]fs.FileInfo) (replaced int) {
	t.Helper()
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return nil
		}
		if old := before[p]; old != nil && !os.SameFile(old, fi) {
			replaced++
		}
		before[p] = fi
		return nil
	})
	return replaced
}

func TestADamagedJournalIsIgnoredLineByLine(t *testing.T) {
	dir := memoryDir(t)
	mustWrite(t, filepath.Join(dir, "file"), noise(1, 8<<20))
	w := newWorld(t)
	opts := small()
	opts.Journal = filepath.Join(memoryDir(t), "state", "journal")
	first := w.mustPut(t, dir, opts)
	data, err := os.ReadFile(opts.Journal)
	must(t, err)
	lines := strings.SplitAfter(string(data), "\n")
	lines = lines[:len(lines)-1]
	if int64(len(lines)) != first.Blobs {
		t.Fatalf("%d lines for %d blobs", len(lines), first.Blobs)
	}
	// A flipped digit, another blob's id, a line that is cut off.
	other := strings.Fields(lines[3])[4]
	lines[0] = strings.Replace(lines[0], strings.Fields(lines[0])[1][:4], "0000", 1)
	lines[1] = strings.Replace(lines[1], strings.Fields(lines[1])[4], other, 1)
	lines = slices.Insert(lines, 2, "\x00\xff rubbish\n", "\n", strings.Repeat("x", 100000)+"\n")
	last := lines[len(lines)-1]
	lines[len(lines)-1] = last[:len(last)-5]
	must(t, os.WriteFile(opts.Journal, []byte(strings.Join(lines, "")), 0o600))

	second := w.mustPut(t, dir, opts)
	if second.ID != first.ID || second.BlobsReused != first.Blobs-3 {
		t.Errorf("%s with %d of %d blobs reused, want %s with all but 3", second.ID, second.BlobsReused, second.Blobs, first.ID)
	}
	if third := w.mustPut(t, dir, opts); third.BlobsReused != third.Blobs {
		t.Errorf("%d of %d blobs reused, want all", third.BlobsReused, third.Blobs)
	}
	// What the journal says is not believed: the store lost a sliver.
	id := first.ID
	must(t, os.Remove(filepath.Join(w.store.BlobDir(id), "p4")))
	if fourth := w.mustPut(t, dir, opts); fourth.BlobsReused != fourth.Blobs-1 {
		t.Errorf("%d of %d blobs reused, want all but the damaged", fourth.BlobsReused, fourth.Blobs)
	}
	// A journal that cannot be had is no error.
	opts.Journal = filepath.Join(dir, "file", "journal")
	w.mustPut(t, dir, opts)
}

// TestMemoryIsBounded publishes a file that is much larger than what it may
// take of memory.
func TestMemoryIsBounded(t *testing.T) {
	if isChild() {
		childPut(t, &publish.Options{})
		status, err := os.ReadFile("/proc/self/status")
		must(t, err)
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "VmHWM:") {
				fmt.Print(line)
			}
		}
		return
	}
	size := 1 << 30
	if os.Getenv("FLOE_HEAVY") != "" {
		size = 2 << 30
	}
	if testing.Short() {
		size = 256 << 20
	}
	if raceDetector {
		t.Skip("the race detector takes memory of its own")
	}
	dir := memoryDir(t)
	f, err := os.Create(filepath.Join(dir, "file"))
	must(t, err)
	part := noise(1, 64<<20)
	for n := 0; n < size; n += len(part) {
		for i := 0; i < len(part); i += 1000 {
			part[i]++
		}
		_, err := f.Write(part)
		must(t, err)
	}
	must(t, f.Close())
	cmd := runAgain(t, t.Name(), "FLOE_DIR="+dir, "FLOE_STORE="+memoryDir(t)+"/s")
	began := time.Now()
	out, err := cmd.CombinedOutput()
	must(t, err)
	took := time.Since(began)
	var peak int
	if i := strings.Index(string(out), "VmHWM:"); i >= 0 {
		fmt.Sscanf(string(out[i:]), "VmHWM: %d", &peak)
	}
	t.Logf("%d MiB at %.0f MB/s with %d MiB of memory", size>>20, float64(size)/1e6/took.Seconds(), peak>>10)
	if peak == 0 || peak > 512<<10 {
		t.Errorf("%d KiB of memory, want at most 512 MiB: %s", peak, out)
	}
}

// skipUnlessRoot skips what takes root, for anyone else; for root, that it
// cannot be done is a failure.
func skipUnlessRoot(t *testing.T, what string, err error) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Fatalf("%s: %v", what, err)
	}
	t.Skipf("SKIPPED: %s takes root: %v", what, err)
}
