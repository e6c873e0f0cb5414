package reconstruct

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/tests/floe"
	"github.com/floefs/floe/tests/world"
)

// ruin harms more slivers of b than may be lost, by excess, those that hold
// data first, and returns their rows.
func ruin(t *testing.T, rng *rand.Rand, b *world.Blob, how, excess int) []int {
	t.Helper()
	data := rng.Perm(b.Params.DataRows())
	rows := append([]int{}, data...)
	for _, row := range rng.Perm(b.Rows) {
		if row >= b.Params.DataRows() {
			rows = append(rows, row)
		}
	}
	rows = rows[:b.Tolerates()+excess]
	mustHarm(t, rng, b, how, rows)
	return rows
}

// clear reports whether an error says that b misses so many slivers, from
// least to most.
func clear(said string, b *world.Blob, least, most int) bool {
	for n := least; n <= most; n++ {
		if strings.Contains(said, fmt.Sprintf("blob %s needs ", b.ID)) && strings.Contains(said, fmt.Sprintf("; %d more must be found", n)) {
			return true
		}
	}
	return false
}

func TestOneMoreIsAnErrorThatNamesTheBlobAndHowManyAreMissing(t *testing.T) {
	for _, x := range []struct {
		shards int
		all    bool
	}{{4, true}, {4, false}, {7, true}, {7, false}, {10, false}, {100, false}, {100, true}} {
		t.Run(fmt.Sprintf("n=%d, all=%t", x.shards, x.all), func(t *testing.T) {
			w := world.New(t, few(), world.Options{Shards: x.shards, All: x.all})
			rng := rand.New(rand.NewPCG(seed, uint64(x.shards)))
			for how := range harms {
				for excess := 1; excess <= 2; excess++ {
					mustFailClearly(t, rng, w, how, excess)
				}
			}
		})
	}
}

// mustFailClearly ruins one blob after the other and reads what needs it, and
// something that does not.
func mustFailClearly(t *testing.T, rng *rand.Rand, w *world.World, how, excess int) {
	t.Helper()
	// What is missing at least: a sliver that is false may be read, and what is
	// read of one that was cut short may lie before the cut. On a busy machine a
	// store that answers late is gone around before all of it is proven.
	least := excess
	if harms[how].name != "deleted" {
		least = 1
	}
	for _, b := range w.Blobs {
		rows := ruin(t, rng, b, how, excess)
		failed := readAll(t.Context(), w, w.ID, b.Items)
		for it, err := range failed {
			if isWrong(err) || !errors.Is(err, blob.ErrUnavailable) || !clear(err.Error(), b, least, excess) {
				t.Fatalf("FLOE_SEED=%d, slivers %v of %s %s: reading %q: got %v,\nwant an error of the blob that says %d more must be found",
					seed, rows, b.ID, harms[how].name, it.Path, err, excess)
			}
		}
		// With all of its data gone nothing can be read, if nothing of it is
		// left in its place, as where a byte of padding was flipped.
		if name := harms[how].name; len(failed) == 0 && (name == "deleted" || name == "swapped") && len(rows) >= b.Params.DataRows() {
			t.Fatalf("FLOE_SEED=%d, slivers %v of %s %s: all of it can be read", seed, rows, b.ID, name)
		}
		if err := b.Heal(); err != nil {
			t.Fatal(err)
		}
	}
}

// sandboxed returns a sandbox for floe, and the arguments that have it read
// from w's store.
func sandboxed(t *testing.T, w *world.World) (*floe.Sandbox, []string) {
	t.Helper()
	return floe.New(t), []string{"--from", "dir:" + w.Store.Path()}
}

func TestOneMoreIsExitCode7(t *testing.T) {
	w := world.New(t, few(), world.Options{Shards: 4}) // one more is all that holds data
	box, from := sandboxed(t, w)
	rng := rand.New(rand.NewPCG(seed, 3))
	it := w.Tree.Item("sizes/4")
	cat := func() (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
		args := append([]string{"cat", "--cache-dir", t.TempDir(), w.ID.String() + "/" + it.Path}, from...)
		cmd := box.Command(t.Context(), args...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		return cmd, &out, &errs
	}
	for _, b := range w.Blobs {
		if !needs(b, it) {
			continue
		}
		ruin(t, rng, b, deleted, 1)
		cmd, out, errs := cat()
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Errorf("floe cat ended with %v, want exit code 7", err)
		}
		if !clear(errs.String(), b, 1, 1) {
			t.Errorf("floe cat said\n%s\nwant that 1 more sliver of %s must be found", errs, b.ID)
		}
		if !bytes.HasPrefix(it.Data, out.Bytes()) {
			t.Error("floe cat wrote something else than the file before it failed")
		}
		if err := b.Heal(); err != nil {
			t.Fatal(err)
		}
	}
	cmd, out, errs := cat()
	if err := cmd.Run(); err != nil || !bytes.Equal(out.Bytes(), it.Data) {
		t.Errorf("floe cat of the healed store: %v\n%s", err, errs)
	}
}

func needs(b *world.Blob, it *world.Item) bool {
	for _, x := range b.Items {
		if x == it {
			return true
		}
	}
	return false
}

func TestOneMoreIsEIOInAMount(t *testing.T) {
	floe.NeedMount(t)
	w := world.New(t, few(), world.Options{Shards: 7})
	box, from := sandboxed(t, w)
	rng := rand.New(rand.NewPCG(seed, 4))
	ruined := w.Blobs[2]
	ruin(t, rng, ruined, deleted, 1)
	mnt := box.Path("mnt")
	log := box.Path("log")
	box.Mount(w.ID.String(), mnt, append(from, "--log-file", log)...)
	failed := 0
	for _, it := range w.Tree {
		err := w.Tree.CompareMounted(mnt, it, 0, len(it.Data), false)
		switch {
		case err == nil:
		case errors.Is(err, syscall.EIO) && needs(ruined, it):
			failed++
		default:
			t.Errorf("reading %q: %v", it.Path, err)
		}
	}
	if failed == 0 {
		t.Error("nothing failed although a blob is lost")
	}
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !clear(string(said), ruined, 1, 1) {
		t.Errorf("the log does not say that 1 more sliver of %s must be found:\n%s", ruined.ID, said)
	}
}
