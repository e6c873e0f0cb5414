package flip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/floefs/floe/cachestore"
	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/tests/world"
)

// A bench is a world, a cache that holds all of it, and what is needed to
// bring both back to how they were.
type bench struct {
	*world.World
	shards   int
	cacheDir string
	cache    *image // of cacheDir
	turns    []place
}

func newBench(t *testing.T, shards int) *bench {
	t.Helper()
	w := &bench{World: world.New(t, world.NewTree(seed), world.Options{Shards: shards}), shards: shards}
	w.cacheDir = filepath.Join(w.Dir, "cache")
	if err := w.fillCache(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, cached := range []bool{false, true} {
		r := round{bench: w, cached: cached, reads: w.everything()}
		r.change = func() error { return nil }
		o, err := r.run(t.Context())
		if err != nil || o != nothing {
			t.Fatalf("before anything was flipped (cached: %t): %s, %v", cached, o, err)
		}
	}
	return w
}

// wear is what is wrong besides the flip.
type wear int

const (
	alone  wear = iota // nothing
	worn               // as much as is tolerated
	ruined             // more than is tolerated: an error is an answer
	wears
)

func (w wear) String() string { return [...]string{"alone", "worn", "ruined"}[w] }

// A read is bytes of a file, or a listing.
type read struct {
	item   *world.Item
	off, n int
}

// A round is one flip and some reads.
type round struct {
	*bench
	place  place
	wear   wear
	cached bool // there is a cache that has everything
	live   bool // the flip happens while it is being read
	reads  []read
	what   string         // is flipped
	change func() error   // flips it
	bad    []func() error // do what the wear says
}

func (r *round) String() string {
	return fmt.Sprintf("%s (%s), n=%d, %s, cached %t, live %t", r.place, r.what, r.shards, r.wear, r.cached, r.live)
}

// everything is a read of each item.
func (w *bench) everything() []read {
	var all []read
	for _, it := range w.Tree {
		all = append(all, read{it, 0, len(it.Data)})
	}
	return all
}

// read returns a read of an item: of all of it or of a part that has byte at,
// if that is not negative.
func (w *bench) read(rng *rand.Rand, it *world.Item, at int) read {
	n := len(it.Data)
	if n < 2 || rng.IntN(2) == 0 {
		return read{it, 0, n}
	}
	if at < 0 || at >= n {
		at = rng.IntN(n)
	}
	from := rng.IntN(at + 1)
	return read{it, from, at + 1 + rng.IntN(n-at) - from}
}

// aim returns reads that have a good chance to meet byte off of b.
func (w *bench) aim(rng *rand.Rand, b *world.Blob, off int64) []read {
	some := w.Tree[rng.IntN(len(w.Tree))]
	reads := []read{w.read(rng, some, -1)}
	if it := w.At(b, off); it != nil && rng.IntN(4) > 0 {
		reads = append(reads, read{it, 0, len(it.Data)})
	} else if len(b.Items) > 0 {
		reads = append(reads, w.read(rng, b.Items[rng.IntN(len(b.Items))], -1))
	}
	rng.Shuffle(len(reads), func(i, j int) { reads[i], reads[j] = reads[j], reads[i] })
	return reads
}

// run changes what is to be changed, reads, compares, and makes everything as
// it was. It returns what the flip cost, or what is wrong about that.
func (r *round) run(ctx context.Context) (o outcome, err error) {
	defer func() {
		if e := r.restore(); err == nil {
			err = e
		}
	}()
	if err := r.prepare(); err != nil {
		return 0, err
	}
	m := world.NewMeter(r.Store)
	client := m.Client()
	var cache *cachestore.Store
	if r.cached {
		cache, err = cachestore.Open(r.cacheDir, nil)
		if r.refused(err) {
			return clearError, nil
		}
		if err != nil {
			return 0, err
		}
	}
	var failed []error
	if r.live {
		failed, err = r.readWhileItChanges(ctx, client, cache)
	} else {
		failed = r.readAll(ctx, client, cache)
	}
	var rebuilt int64
	if cache != nil {
		rebuilt = cache.Stats().Rebuilt
		cache.Close()
	}
	if err != nil {
		return 0, err
	}
	return r.judge(failed, cost{Asked: m.Asked(), Decoded: m.Decoded(r.shards), Rebuilt: rebuilt})
}

// prepare does what is done before the reader starts.
func (r *round) prepare() error {
	for _, spoil := range r.bad {
		if err := spoil(); err != nil {
			return err
		}
	}
	if r.live {
		return nil
	}
	return r.change()
}

// readAll reads with an engine that remembers nothing. It returns what failed.
func (r *round) readAll(ctx context.Context, client *blob.Client, cache *cachestore.Store) (failed []error) {
	// A nil *Store must not become an engine.Cache that is not nil.
	var c engine.Cache
	if cache != nil {
		c = cache
	}
	eng := engine.New(client, c, nil)
	defer eng.Close()
	ds, err := eng.Open(ctx, r.ID)
	if err != nil {
		return []error{err}
	}
	for _, x := range r.reads {
		if err := r.Tree.Compare(ctx, ds, x.item, x.off, x.n); err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// readWhileItChanges has one reader at work when the flip happens, and reads
// again after it.
func (r *round) readWhileItChanges(ctx context.Context, client *blob.Client, cache *cachestore.Store) (failed []error, err error) {
	started := make(chan struct{}) // closed when the reader has read once
	var beside []error
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 3 {
			if i == 1 {
				close(started)
			}
			beside = append(beside, r.readAll(ctx, client, cache)...)
		}
	})
	<-started
	err = r.change()
	failed = r.readAll(ctx, client, cache)
	wg.Wait()
	return append(failed, beside...), err
}

// A cost is what reading took.
type cost struct {
	Asked   int   // questions to the store
	Decoded bool  // a sliver was rebuilt, or others were proven to find who lied
	Rebuilt int64 // indexes of the cache
}

// judge says what the flip cost, or what is wrong.
func (r *round) judge(failed []error, c cost) (outcome, error) {
	for _, err := range failed {
		switch {
		case errors.Is(err, world.ErrWrong):
			return 0, err
		case r.wear != ruined:
			return 0, fmt.Errorf("damage that is tolerated was not: %w", err)
		case !r.clear(err):
			return 0, fmt.Errorf("an error that is not clear: %w", err)
		}
	}
	switch {
	case len(failed) > 0:
		return clearError, nil
	case c.Decoded:
		return reconstructed, nil
	case r.cached && c.Asked > 0:
		return refetched, nil
	case c.Rebuilt > 0:
		return indexRebuilt, nil
	}
	return nothing, nil
}

// refused reports whether err says that what was to be the cache is none.
func (r *round) refused(err error) bool {
	return err != nil && r.place == cacheMarker && strings.Contains(err.Error(), "not that of a cache")
}

// clear reports whether an error says which blob has too few good slivers, or
// if it is one of a system call, whether it is EIO.
func (r *round) clear(err error) bool {
	return errors.Is(err, blob.ErrUnavailable) && r.namesBlob(err) || errors.Is(err, syscall.EIO)
}

func (r *round) namesBlob(err error) bool {
	return slices.ContainsFunc(r.Blobs, func(b *world.Blob) bool { return strings.Contains(err.Error(), b.ID.String()) })
}

// restore makes store and cache what they were.
func (r *round) restore() error {
	err := r.Heal()
	if r.cached {
		err = errors.Join(err, r.cache.restore(r.cacheDir))
	}
	return err
}
