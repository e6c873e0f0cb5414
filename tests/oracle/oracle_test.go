// Package oracle asks a mount and the kernel's own EROFS the same random
// questions and expects the same answers.
package oracle

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/tests/compare"
	"github.com/floefs/floe/tests/floe"
)

var (
	seed = flag.Uint64("seed", 0, "`seed` of the operations; 0: another each time")
	ops  = flag.Int("ops", 100_000, "`number` of operations")
)

const jobVariable = "FLOE_ORACLE_JOB"

// TestMain is also the operators' main.
func TestMain(m *testing.M) {
	if in := os.Getenv(jobVariable); in != "" {
		r, err := operate(in)
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(r)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "operator:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	floe.Main(m)
}

// nobody is a user who owns nothing.
const nobody = 65534

func TestMountAnswersAsAnEROFSImageDoes(t *testing.T) {
	floe.NeedMount(t)
	floe.NeedTools(t, "mkfs.erofs", "mount", "umount")
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: to repeat, go test ./tests/oracle -seed %[1]d", *seed)
	s := floe.New(t)
	stage, id := mustStage(t, s)

	jobs := []job{
		{Stage: stage, Seed: *seed, Ops: *ops * 7 / 10, Drop: max(1, *ops/20)},
		{Stage: stage, Seed: *seed + 1, Ops: *ops - *ops*7/10, UID: nobody},
	}
	began := time.Now()
	reports := make([]*report, len(jobs))
	var wg sync.WaitGroup
	for i, j := range jobs {
		wg.Go(func() { reports[i] = mustOperate(t, j) })
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	total, kindsDone, answers := 0, map[string]int{}, map[string]int{}
	for i, r := range reports {
		for k, n := range r.Kinds {
			kindsDone[k] += n
			total += n
		}
		for k, n := range r.Answers {
			answers[k] += n
		}
		for _, d := range r.Differences {
			t.Errorf("as user %d, seed %d: %s", jobs[i].UID, jobs[i].Seed, d)
		}
	}
	t.Logf("%d operations on %d files and directories, caches dropped %d times, in %v", total, reports[0].Files, reports[0].Drops, time.Since(began).Round(time.Second))
	for _, k := range slices.Sorted(maps.Keys(kindsDone)) {
		t.Logf("%7d %s", kindsDone[k], k)
	}
	t.Logf("errors that both gave: %v", answers)
	t.Logf("chains of symlinks counted twice by the kernel: %d and %d", reports[0].Recounted, reports[1].Recounted)
	t.Run("every byte and attribute is as in the source", func(t *testing.T) { mustRoundTrip(t, s, stage, id) })
	if t.Failed() || *ops < 10_000 {
		return
	}
	if total != *ops {
		t.Errorf("%d operations done, want %d", total, *ops)
	}
	for _, k := range kinds {
		if kindsDone[k.name] == 0 {
			t.Errorf("never done: %s", k.name)
		}
	}
	for _, e := range []string{"EROFS", "ENOENT", "ENOTDIR", "ELOOP", "EACCES", "EISDIR", "ENAMETOOLONG", "EINVAL", "ENODATA", "EEXIST", "ERANGE", "EBADF", "EXDEV", "ENODEV"} {
		if answers[e] == 0 {
			t.Errorf("no operation gave %s", e)
		}
	}
}

// mustStage makes a directory that holds a tree, a dataset of it mounted, and
// an EROFS image of it mounted, and makes all of it read-only.
func mustStage(t *testing.T, s *floe.Sandbox) (stage, id string) {
	t.Helper()
	began := time.Now()
	stage = s.Path("stage")
	for _, n := range []string{"mount", "image", "source", "outside"} {
		must(t, os.MkdirAll(filepath.Join(stage, n), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(stage, "outside", "file"), []byte("not in the tree"), 0o644))
	source := filepath.Join(stage, "source")
	mustPlant(t, source, *seed)

	img := s.Path("image.erofs")
	// Extended inodes, or times are cut down to those of the image.
	mustRun(t, "mkfs.erofs", "--quiet", "-Eforce-inode-extended", "--exclude-regex=^"+utmost+"/", img, source)
	id = s.Put(source, "--blob-size", fmt.Sprint(blob))
	t.Logf("planted, imaged and put in %v: %s", time.Since(began).Round(time.Second), id)

	must(t, unix.Mount(stage, stage, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(stage, unix.MNT_DETACH)) })
	must(t, unix.Mount("", stage, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	at := filepath.Join(stage, "image")
	mustRun(t, "mount", "-t", "erofs", "-o", "loop,ro,nosuid,nodev,noatime", img, at)
	t.Cleanup(func() { mustRun(t, "umount", at) })
	s.Mount(id, filepath.Join(stage, "mount"), "--allow-other", "--cache", "always")
	return stage, id
}

// mustRoundTrip compares the tree with what the mount shows, and with what
// floe cp makes of it.
func mustRoundTrip(t *testing.T, s *floe.Sandbox, stage, id string) {
	t.Helper()
	copied := s.Path("copy")
	s.Run("cp", "--quiet", id, copied)
	for _, got := range []string{filepath.Join(stage, "mount"), copied} {
		r, err := compare.Trees(filepath.Join(stage, "source"), got)
		must(t, err)
		for _, d := range r.Differences[:min(10, len(r.Differences))] {
			t.Errorf("%s: %s", filepath.Base(got), d)
		}
		t.Logf("%s: %d files, %d directories, %d symlinks, %d bytes compared", filepath.Base(got), r.Files, r.Dirs, r.Symlinks, r.Bytes)
	}
}

// mustOperate runs an operator. It is called by several goroutines.
func mustOperate(t *testing.T, j job) *report {
	in, err := json.Marshal(j)
	if err != nil {
		t.Error(err)
		return nil
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), jobVariable+"="+string(in))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var r report
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		t.Errorf("operator as user %d: %v", j.UID, err)
		return nil
	}
	return &r
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
