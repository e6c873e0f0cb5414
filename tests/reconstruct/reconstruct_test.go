// Package reconstruct takes slivers of datasets away, as many as may be lost
// and one more, and reads.
package reconstruct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/tests/floe"
	"github.com/floefs/floe/tests/world"
)

func TestMain(m *testing.M) { floe.Main(m) }

// seed is printed, and FLOE_SEED sets it.
var seed = func() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("FLOE_SEED"), 10, 64); err == nil {
		return n
	}
	return uint64(time.Now().UnixNano() >> 10)
}()

// A harm is what happens to a set of slivers of a blob.
type harm func(rng *rand.Rand, b *world.Blob, rows []int) error

func each(one func(rng *rand.Rand, b *world.Blob, name string) error) harm {
	return func(rng *rand.Rand, b *world.Blob, rows []int) error {
		for _, row := range rows {
			if err := one(rng, b, world.Primary(row)); err != nil {
				return err
			}
		}
		return nil
	}
}

func remove(_ *rand.Rand, b *world.Blob, name string) error { return b.Delete(name) }

func truncate(rng *rand.Rand, b *world.Blob, name string) error {
	return b.Truncate(name, rng.IntN(b.Len(name)))
}

func flip(rng *rand.Rand, b *world.Blob, name string) error {
	return b.Flip(name, rng.IntN(b.Len(name)), byte(1+rng.IntN(255)))
}

// swap gives each of the slivers the name of the next. One that is what it was
// after that, since it was alone or all are zeros, gets other bytes.
func swap(rng *rand.Rand, b *world.Blob, rows []int) error {
	for i := range rows[1:] {
		if err := b.Swap(world.Primary(rows[i]), world.Primary(rows[i+1])); err != nil {
			return err
		}
	}
	for _, row := range rows {
		name := world.Primary(row)
		got, err := os.ReadFile(b.Path(name))
		if err == nil && bytes.Equal(got, b.Whole(name)) {
			err = overwrite(rng, b, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overwrite replaces all bytes of a sliver.
func overwrite(rng *rand.Rand, b *world.Blob, name string) error {
	data := make([]byte, b.Len(name))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return os.WriteFile(b.Path(name), data, 0o644)
}

// mixed does something else to each sliver.
func mixed(rng *rand.Rand, b *world.Blob, name string) error {
	kinds := []func(*rand.Rand, *world.Blob, string) error{remove, truncate, flip, overwrite}
	return kinds[rng.IntN(len(kinds))](rng, b, name)
}

var harms = []struct {
	name string
	harm
}{{"deleted", each(remove)}, {"truncated", each(truncate)}, {"flipped", each(flip)}, {"swapped", swap}, {"mixed", each(mixed)}}

// subsets calls do for every set of k of the numbers below n.
func subsets(n, k int, do func(set []int)) {
	set := make([]int, 0, k)
	var extend func(from int)
	extend = func(from int) {
		if len(set) == k {
			do(set)
			return
		}
		for i := from; i < n; i++ {
			set = append(set, i)
			extend(i + 1)
			set = set[:len(set)-1]
		}
	}
	extend(0)
}

const deleted = 0 // in harms

func mustHarm(t *testing.T, rng *rand.Rand, b *world.Blob, how int, rows []int) {
	t.Helper()
	if err := harms[how].harm(rng, b, rows); err != nil {
		t.Fatal(err)
	}
}

// readAll reads everything of a dataset with a reader that knows nothing, and
// compares. It returns the first error for each item.
func readAll(ctx context.Context, w *world.World, id walrus.BlobID, items []*world.Item) map[*world.Item]error {
	failed := map[*world.Item]error{}
	eng := engine.New(w.Client(), nil, nil)
	defer eng.Close()
	ds, err := eng.Open(ctx, id)
	for _, it := range items {
		e := err
		if e == nil {
			e = w.Tree.Compare(ctx, ds, it, 0, len(it.Data))
		}
		if e != nil {
			failed[it] = e
		}
	}
	return failed
}

// mustSurvive harms a set of slivers in every blob of w, reads everything, and
// heals w again.
func mustSurvive(t *testing.T, rng *rand.Rand, w *world.World, how int, rows []int) {
	t.Helper()
	for _, b := range w.Blobs {
		mustHarm(t, rng, b, how, rows)
	}
	for it, err := range readAll(t.Context(), w, w.ID, w.Tree) {
		t.Fatalf("FLOE_SEED=%d, slivers %v %s: reading %q: %v", seed, rows, harms[how].name, it.Path, err)
	}
	if err := w.Heal(); err != nil {
		t.Fatal(err)
	}
}

// few is a tree with one file of each kind of size, for tests that read it
// very often.
func few() world.Tree {
	var t world.Tree
	for _, it := range world.NewTree(seed) {
		if ok, _ := filepath.Match("many/file-[1-9]*", it.Path); !ok {
			t = append(t, it)
		}
	}
	return t
}

func TestEveryToleratedSetOfSliversIsReadAround(t *testing.T) {
	for _, x := range []struct {
		shards int
		all    bool // a committee that keeps all slivers; else a store that is alone
	}{{4, true}, {7, true}, {4, false}, {7, false}, {10, false}, {13, false}} {
		t.Run(fmt.Sprintf("n=%d, all=%t", x.shards, x.all), func(t *testing.T) {
			t.Parallel()
			w := world.New(t, few(), world.Options{Shards: x.shards, All: x.all})
			rng := rand.New(rand.NewPCG(seed, uint64(x.shards)))
			b, count := w.Blobs[0], 0
			for k := 1; k <= b.Tolerates(); k++ {
				subsets(b.Rows, k, func(rows []int) {
					for how := range harms {
						mustSurvive(t, rng, w, how, rows)
						count++
					}
				})
			}
			t.Logf("%d slivers of which %d may be lost: %d cases, seed %d", b.Rows, b.Tolerates(), count, seed)
		})
	}
}

func TestRandomToleratedSetsOfSliversAreReadAround(t *testing.T) {
	for _, x := range []struct {
		shards, cases int
		all           bool
		blobSize      int64
	}{{10, 40, true, 0}, {100, 25, false, 0}, {100, 5, true, 0}, {1000, 2, false, 256 << 10}} {
		t.Run(fmt.Sprintf("n=%d, all=%t", x.shards, x.all), func(t *testing.T) {
			t.Parallel()
			tree := few()
			if x.shards == 1000 {
				if testing.Short() {
					t.Skip("SKIPPED: proves thousands of slivers of 1000 shards")
				}
				tree = world.Tree{tree[0], tree.Item("deep"), tree.Item("deep/link"), tree.Item("sizes"), tree.Item("sizes/5")}
			}
			w := world.New(t, tree, world.Options{Shards: x.shards, All: x.all, BlobSize: x.blobSize})
			rng := rand.New(rand.NewPCG(seed, uint64(x.shards)))
			b := w.Blobs[0]
			for i := range x.cases {
				rows := rng.Perm(b.Rows)[:b.Tolerates()]
				if i%2 == 0 { // as many as can be of those that hold data
					rows = append(rng.Perm(b.Params.K1), rows...)[:b.Tolerates()]
					rows = distinct(rows)
				}
				mustSurvive(t, rng, w, i%len(harms), rows)
			}
			t.Logf("%d slivers of which %d may be lost: %d cases, seed %d", b.Rows, b.Tolerates(), x.cases, seed)
		})
	}
}

// distinct returns rows without what is there twice.
func distinct(rows []int) []int {
	seen := map[int]bool{}
	var out []int
	for _, r := range rows {
		if !seen[r] {
			out = append(out, r)
		}
		seen[r] = true
	}
	return out
}

// isWrong reports whether an error says that bytes are false that were handed
// out: the one thing that must never be.
func isWrong(err error) bool { return errors.Is(err, world.ErrWrong) }
