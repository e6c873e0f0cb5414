// Package flip inverts bits of everything a dataset is read from, one place
// at a time, thousands of times, and looks what a reader gets: the bytes that
// were published, or a clear error.
package flip

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floefs/floe/tests/world"
)

// What a flip can cost a reader.
type outcome int

const (
	nothing       outcome = iota // nobody read the byte, or it does not matter
	indexRebuilt                 // the cache's index was put aside and made anew
	refetched                    // the cache was false; the store was asked
	reconstructed                // a sliver was rebuilt from others
	clearError                   // an error that names the blob; EIO in a mount
	outcomes
)

func (o outcome) String() string {
	return [...]string{"nothing", "index rebuilt", "re-fetched", "reconstructed", "clear error"}[o]
}

// counts says how often a flip at a place had an outcome.
type counts struct {
	mu sync.Mutex // guards n
	n  [places][outcomes]int
}

func (c *counts) add(p place, o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[p][o]++
}

// check reports the counts and fails if there is a zero: among places and
// outcomes, and if cells is set, among the outcomes of a place that it must
// have had.
func (c *counts) check(t *testing.T, cells bool) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-30s", "flipped")
	for o := range outcomes {
		fmt.Fprintf(&b, "%15s", o)
	}
	total := 0
	var had [outcomes]int
	for p := range places {
		fmt.Fprintf(&b, "\n%-30s", p)
		sum := 0
		for o := range outcomes {
			n := c.n[p][o]
			fmt.Fprintf(&b, "%15d", n)
			sum, had[o] = sum+n, had[o]+n
			if cells && p.can(o) && n == 0 {
				t.Errorf("no flip of %s cost this: %s", p, o)
			}
		}
		if sum == 0 {
			t.Errorf("nothing was flipped in %s", p)
		}
		total += sum
	}
	for o, n := range had {
		if n == 0 {
			t.Errorf("no flip cost this: %s", outcome(o))
		}
	}
	t.Logf("%d flips, seed %d%s", total, seed, b.String())
}

// seed is printed, and FLOE_SEED sets it.
var seed = uint64(number("FLOE_SEED", int(time.Now().UnixNano()>>10)))

// number returns what a variable says, or n.
func number(variable string, n int) int {
	if v, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return v
	}
	return n
}

func TestMain(m *testing.M) {
	// A page that points at itself makes bbolt recurse until the stack is
	// full, if it ever gets to see one. Let that be soon.
	debug.SetMaxStack(64 << 20)
	if os.Getenv(serverVariable) != "" {
		serve(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// worlds are the committees that are tried, and their shares in ten flips.
var worlds = []struct{ shards, share int }{{7, 4}, {10, 3}, {100, 3}}

func TestFlipsThroughTheLibraryNeverChangeAByte(t *testing.T) {
	var c counts
	flips := c.collect(t, number("FLOE_FLIPS", 10_500), func(t *testing.T, w *bench) func(*round) (outcome, error) {
		return func(r *round) (outcome, error) { return r.run(t.Context()) }
	})
	if !t.Failed() && flips >= 10_000 {
		c.check(t, true)
	}
}

func TestFlipsThroughMountsNeverChangeAByte(t *testing.T) {
	world.NeedMount(t)
	var c counts
	flips := c.collect(t, number("FLOE_MOUNT_FLIPS", 550), func(t *testing.T, w *bench) func(*round) (outcome, error) {
		s := newServer(t, w)
		return func(r *round) (outcome, error) { return r.runMounted(s) }
	})
	if !t.Failed() && flips >= 500 {
		c.check(t, false)
	}
}

// collect makes that many flips, all worlds beside each other, has each run
// by what start returns for its world, and counts.
func (c *counts) collect(t *testing.T, flips int, start func(*testing.T, *bench) func(*round) (outcome, error)) int {
	t.Run("worlds", func(t *testing.T) {
		for i, x := range worlds {
			t.Run(fmt.Sprintf("n=%d", x.shards), func(t *testing.T) {
				t.Parallel()
				w := newBench(t, x.shards)
				run := start(t, w)
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				for n := range flips * x.share / 10 {
					r := w.plan(rng, w.place(rng, n))
					o, err := run(r)
					if err != nil {
						t.Fatalf("FLOE_SEED=%d, flip %d, %s: %v", seed, n, r, err)
					}
					c.add(r.place, o)
				}
			})
		}
	})
	return flips
}
