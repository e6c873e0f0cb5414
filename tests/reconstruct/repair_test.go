package reconstruct

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/tests/world"
)

func TestRepairMakesEverySliverWhatItWas(t *testing.T) {
	for _, shards := range []int{4, 7, 100} {
		t.Run(fmt.Sprintf("n=%d", shards), func(t *testing.T) {
			w := world.New(t, few(), world.Options{Shards: shards})
			rng := rand.New(rand.NewPCG(seed, uint64(shards)))
			for how := range harms {
				for _, b := range w.Blobs {
					mustRepair(t, rng, w, b, how)
				}
			}
		})
	}
}

func mustRepair(t *testing.T, rng *rand.Rand, w *world.World, b *world.Blob, how int) {
	t.Helper()
	rows := rng.Perm(b.Rows)[:b.Tolerates()]
	mustHarm(t, rng, b, how, rows)
	if err := flip(rng, b, []string{world.Meta, world.MetaCopy}[rng.IntN(2)]); err != nil {
		t.Fatal(err)
	}
	reports, err := w.Client().Repair(t.Context(), b.ID)
	if err != nil {
		t.Fatalf("FLOE_SEED=%d, slivers %v of %s %s: repairing: %v", seed, rows, b.ID, harms[how].name, err)
	}
	if r := reports[0]; r.Rebuilt != len(rows) || r.Bad() != len(rows) || r.Metadata.Good != 1 {
		t.Errorf("FLOE_SEED=%d, slivers %v of %s %s: the report is %+v", seed, rows, b.ID, harms[how].name, r)
	}
	mustBeWhole(t, w, b)
}

// mustBeWhole checks that b's files are what was published and nothing else.
func mustBeWhole(t *testing.T, w *world.World, b *world.Blob) {
	t.Helper()
	names, err := os.ReadDir(b.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		got, err := os.ReadFile(filepath.Join(b.Dir, n.Name()))
		if err != nil || !bytes.Equal(got, b.Whole(n.Name())) {
			t.Errorf("%s of %s is not what it was (%v)", n.Name(), b.ID, err)
		}
	}
	if len(names) != b.Rows+2 {
		t.Errorf("there are %d files of %s, want %d slivers and two of metadata", len(names), b.ID, b.Rows)
	}
	reports, err := w.Client().Check(t.Context(), b.ID, true)
	if err != nil || !reports[0].Whole() {
		t.Errorf("after it was repaired %s is not whole: %+v, %v", b.ID, reports, err)
	}
}

func TestRepairOfWhatIsLostSaysSoAndStoresNothingFalse(t *testing.T) {
	w := world.New(t, few(), world.Options{Shards: 7})
	rng := rand.New(rand.NewPCG(seed, 1))
	for how := range harms {
		for _, b := range w.Blobs {
			rows := ruin(t, rng, b, how, 1)
			reports, err := w.Client().Repair(t.Context(), b.ID)
			if !errors.Is(err, blob.ErrUnavailable) || !clear(err.Error(), b, 1, 1) {
				t.Fatalf("FLOE_SEED=%d, slivers %v of %s %s: got %+v, %v", seed, rows, b.ID, harms[how].name, reports, err)
			}
			for row := range b.Rows {
				name := world.Primary(row)
				got, err := os.ReadFile(filepath.Join(b.Dir, name))
				if err == nil && how == deleted && !bytes.Equal(got, b.Whole(name)) {
					t.Errorf("%s of %s was there as it was, and is not any more", name, b.ID)
				}
			}
			if err := b.Heal(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What the demo shows, with exit codes: damage is seen, healed, and gone.
func TestTheCommandsSeeHealAndProve(t *testing.T) {
	w := world.New(t, few(), world.Options{Shards: 7})
	box, from := sandboxed(t, w)
	rng := rand.New(rand.NewPCG(seed, 2))
	id := w.ID.String()
	exit := func(args ...string) int {
		t.Helper()
		cmd := box.Command(t.Context(), append(args, from...)...)
		out, err := cmd.CombinedOutput()
		var e *exec.ExitError
		if err != nil && !errors.As(err, &e) {
			t.Fatal(err)
		}
		t.Logf("floe %s: %s\n%s", args[0], cmd.ProcessState, out)
		return cmd.ProcessState.ExitCode()
	}
	expect := func(want int, args ...string) {
		t.Helper()
		if got := exit(args...); got != want {
			t.Errorf("floe %s ended with %d, want %d", args[0], got, want)
		}
	}
	expect(0, "verify", "--deep", id)
	for _, b := range w.Blobs {
		mustHarm(t, rng, b, rng.IntN(len(harms)), rng.Perm(b.Rows)[:b.Tolerates()])
	}
	expect(4, "verify", "--deep", id)
	expect(0, "repair", id)
	expect(0, "verify", "--deep", id)
	for _, b := range w.Blobs {
		mustBeWhole(t, w, b)
	}
	ruin(t, rng, w.Blobs[1], deleted, 1)
	expect(4, "verify", id)
	expect(7, "repair", id)
}
