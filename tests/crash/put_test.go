package crash

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/floefs/floe/tests/floe"
	"github.com/floefs/floe/tests/world"
)

// source makes a directory of about n MiB: a large file among small ones.
func source(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(world.Scratch(t), "source")
	must(t, os.Mkdir(dir, 0o755))
	must(t, world.NewTree(1).Write(dir))
	must(t, os.WriteFile(filepath.Join(dir, "large"), noise(1, n<<20-12345), 0o644))
	return dir
}

func TestAPutThatIsKilledGoesOnWhereItWas(t *testing.T) {
	dir := source(t, 96)
	rng := rand.New(rand.NewPCG(seed, 0))
	store := func() string { return filepath.Join(world.Scratch(t), "store") }

	// What it must come to.
	whole := start(t, floe.New(t), "put", "--json", "--quiet", "--blob-size", "2MiB", "--to", "dir:"+store(), dir).answer(t)

	box, at := floe.New(t), store()
	put := []string{"put", "--json", "--quiet", "--blob-size", "2MiB", "--to", "dir:" + at, dir}
	moments := make([]int, 5) // when to kill: with so many blobs stored
	for i := range moments {
		moments[i] = rng.IntN(whole.Blobs * 3 / 4)
	}
	slices.Sort(moments)
	t.Logf("seed %d: %d blobs; killed with %v of them stored", seed, whole.Blobs, moments)
	var before []map[string]stored
	for _, n := range moments {
		r := start(t, box, put...)
		r.waitFor(func() bool { return blobs(t, at, world.MetaCopy) >= n })
		select {
		case <-r.ended:
		case <-time.After(time.Duration(rng.IntN(20_000)) * time.Microsecond):
		}
		r.kill()
		if r.out.Len() > 0 {
			t.Fatalf("killed with %d blobs stored, put printed %q:\n%s", n, r.out.String(), r.said.String())
		}
		mustHaveNothingHalf(t, at)
		if begun, known := blobs(t, at, world.Primary(0)), journaled(t, box); begun-known > 1 {
			t.Errorf("%d blobs are stored or begun, but only %d are remembered: %d will be encoded again", begun, known, begun-known)
		}
		before = append(before, storedFiles(t, at))
	}
	known := journaled(t, box)
	last := start(t, box, put...).answer(t)
	if last.Dataset != whole.Dataset {
		t.Errorf("after five kills the id is %s, without %s", last.Dataset, whole.Dataset)
	}
	if last.BlobsReused != known {
		t.Errorf("%d blobs were remembered, %d were not encoded again", known, last.BlobsReused)
	}
	after := storedFiles(t, at)
	for i, files := range before {
		for path, was := range files {
			if is := after[path]; is != was {
				t.Errorf("%s, stored before kill %d, was touched after it: %v, then %v", strings.TrimPrefix(path, at), i+1, was, is)
			}
		}
	}
	t.Logf("before the last run %d files of %d were there, %d of %d blobs remembered", len(before[4]), len(after), known, last.Blobs)
	if len(after) != last.Blobs*(40+2) {
		t.Errorf("%d files are stored, want 40 slivers and two of metadata for each of %d blobs", len(after), last.Blobs)
	}
	if out := box.Run("verify", "--deep", "--from", "dir:"+at, last.Dataset); !strings.Contains(out, "is whole") {
		t.Error(out)
	}
}

// mustHaveNothingHalf checks that what a store shows is whole: slivers of one
// length, metadata only where all slivers are, no dataset.
func mustHaveNothingHalf(t *testing.T, store string) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(store, "blobs", "*", "*"))
	must(t, err)
	for _, dir := range dirs {
		names, err := os.ReadDir(dir)
		must(t, err)
		slivers, metas := map[int64]int{}, 0
		for _, n := range names {
			fi, err := n.Info()
			must(t, err)
			if strings.HasPrefix(n.Name(), "meta") {
				metas++
				continue
			}
			slivers[fi.Size()]++
		}
		if len(slivers) > 1 {
			t.Errorf("%s holds slivers of several lengths: %v", dir, slivers)
		}
		for _, n := range slivers {
			if metas > 0 && n != 40 {
				t.Errorf("%s has metadata, but only %d slivers", dir, n)
			}
		}
	}
	if names, _ := os.ReadDir(filepath.Join(store, "datasets")); len(names) > 0 {
		t.Errorf("the store lists %s, which was not finished", names[0].Name())
	}
}

// journaled returns how many blobs are remembered as stored in a sandbox.
func journaled(t *testing.T, box *floe.Sandbox) int {
	t.Helper()
	files, err := filepath.Glob(box.Path("home", "state", "floe", "put", "*"))
	must(t, err)
	n := 0
	for _, f := range files {
		data, err := os.ReadFile(f)
		must(t, err)
		n += bytes.Count(data, []byte("\n"))
	}
	return n
}

func TestAFileThatChangesWhileItIsPutIsAnErrorAndNoId(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"appended to": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("more")
			return err
		},
		"written to": func(path string) error { return world.FlipByte(path, 3, 1) },
		"cut":        func(path string) error { return os.Truncate(path, 1<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, at := source(t, 64), filepath.Join(world.Scratch(t), "store")
			r := start(t, floe.New(t), "put", "--blob-size", "1MiB", "--to", "dir:"+at, dir)
			r.waitFor(func() bool { return blobs(t, at, world.Meta) >= 4 })
			must(t, change(filepath.Join(dir, "large")))
			r.mustFail(t, "large", "changed")
			if names, _ := os.ReadDir(filepath.Join(at, "datasets")); len(names) > 0 {
				t.Errorf("the store lists %s, which was not finished", names[0].Name())
			}
		})
	}
}

func TestAFileThatCannotBeReadIsAnErrorAndNoId(t *testing.T) {
	dir, place := source(t, 1), world.Scratch(t)
	secret := filepath.Join(dir, "deep", "secret")
	must(t, os.WriteFile(secret, []byte("none of your business"), 0))
	box := floe.New(t)
	r := &running{Cmd: box.Command(t.Context(), "put", "--to", "dir:"+filepath.Join(place, "store"), dir), ended: make(chan struct{})}
	if os.Geteuid() == 0 {
		asNobody(t, r, place, dir)
	}
	r.start(t)
	r.mustFail(t, "deep/secret", "permission denied", "--exclude")
	if n := blobs(t, filepath.Join(place, "store"), "*"); n > 0 {
		t.Errorf("%d files were stored before put saw it", n)
	}
}

// asNobody has r run as a user who may read dir, but not what belongs to root
// alone, and may write to place.
func asNobody(t *testing.T, r *running, place, dir string) {
	t.Helper()
	bin, err := os.ReadFile(r.Path)
	must(t, err)
	r.Path = filepath.Join(place, "floe")
	must(t, os.WriteFile(r.Path, bin, 0o755))
	must(t, os.Chmod(place, 0o777))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.Type()&os.ModeSymlink != 0 || e.Name() == "secret" {
			return err
		}
		return os.Chmod(path, 0o755)
	}))
	r.Dir = place
	r.Env = append(r.Env, "HOME="+place, "XDG_STATE_HOME=", "XDG_DATA_HOME=", "XDG_CONFIG_HOME=", "XDG_CACHE_HOME=")
	r.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

func TestAFullDiskIsAnErrorAndNoIdAndTheNextPutGoesOn(t *testing.T) {
	disk := smallDisk(t, "24m")
	dir, at, box := source(t, 48), filepath.Join(disk, "store"), floe.New(t)
	put := []string{"put", "--json", "--blob-size", "2MiB", "--to", "dir:" + at, dir}
	start(t, box, put...).mustFail(t, "no space left on device")
	mustHaveNothingHalf(t, at)
	before, known := storedFiles(t, at), journaled(t, box)
	if known == 0 {
		t.Fatal("nothing was stored before the disk was full")
	}
	resize(t, disk, "1g")
	a := start(t, box, put...).answer(t)
	if a.BlobsReused != known {
		t.Errorf("%d blobs were remembered, %d were not encoded again", known, a.BlobsReused)
	}
	after := storedFiles(t, at)
	for path, was := range before {
		if after[path] != was {
			t.Errorf("%s was touched", path)
		}
	}
	if out := box.Run("verify", "--deep", "--from", "dir:"+at, a.Dataset); !strings.Contains(out, "is whole") {
		t.Error(out)
	}
}
