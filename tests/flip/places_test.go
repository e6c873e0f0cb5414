package flip

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/floefs/floe/tests/world"
)

// A place is where bits are flipped.
type place int

const (
	systematic place = iota
	parity
	metadata
	metadataCopy
	cachedChunks
	cachedMeta
	cacheIndex
	cacheLoop
	cacheMarker
	cacheLock
	places
)

func (p place) String() string {
	return [...]string{
		"a systematic sliver", "a parity sliver", "a blob's metadata", "the copy of its metadata",
		"cached chunks", "cached metadata and slivers", "the cache's index", "a page, to point at itself",
		"the cache's marker", "the cache's lock file",
	}[p]
}

// can reports whether a flip at p must have cost o at least once in many.
func (p place) can(o outcome) bool {
	switch p {
	case systematic, parity, metadata, metadataCopy:
		return o == nothing || o == reconstructed || o == clearError
	case cachedChunks, cachedMeta:
		return o == nothing || o == refetched || o == reconstructed || o == clearError
	case cacheIndex:
		return o == nothing || o == indexRebuilt
	case cacheLoop:
		return o == indexRebuilt
	case cacheMarker:
		return o == clearError
	case cacheLock:
		return o == nothing
	}
	return false
}

// often is how many of fifty flips are at a place.
var often = [places]int{8, 7, 5, 5, 9, 5, 6, 3, 1, 1}

// place returns where flip n is: after fifty flips all places have had their
// turns.
func (w *bench) place(rng *rand.Rand, n int) place {
	if n%50 == 0 {
		w.turns = w.turns[:0]
		for p, k := range often {
			w.turns = append(w.turns, slices.Repeat([]place{place(p)}, k)...)
		}
		rng.Shuffle(len(w.turns), func(i, j int) { w.turns[i], w.turns[j] = w.turns[j], w.turns[i] })
	}
	return w.turns[n%50]
}

// plan chooses a flip, what else is wrong, and what is read.
func (w *bench) plan(rng *rand.Rand, at place) *round {
	r := &round{bench: w, place: at, wear: wear(rng.IntN(int(wears))), live: rng.IntN(4) == 0}
	mask := byte(1 + rng.IntN(255))
	switch r.place {
	case systematic, parity:
		r.flipSliver(rng, mask)
	case metadata:
		r.flipMetadata(rng, world.Meta, world.MetaCopy, mask)
	case metadataCopy:
		r.flipMetadata(rng, world.MetaCopy, world.Meta, mask)
	default:
		r.cached = true
		r.flipCache(rng, mask)
	}
	return r
}

// flipSliver plans to flip a byte of a sliver. How many others are missing
// depends on the wear.
func (r *round) flipSliver(rng *rand.Rand, mask byte) {
	b := r.Blobs[rng.IntN(len(r.Blobs))]
	row := rng.IntN(b.Params.K1)
	if r.place == parity {
		row = b.Params.K1 + rng.IntN(b.Tolerates())
	}
	name := world.Primary(row)
	off := rng.IntN(b.Len(name))
	r.what = fmt.Sprintf("byte %d of %s of %s", off, name, b.ID)
	r.change = func() error { return b.Flip(name, off, mask) }

	missing := [wears]int{0, b.Tolerates() - 1, b.Tolerates()}[r.wear]
	target := row
	for _, other := range others(rng, b, row)[:missing] {
		r.bad = append(r.bad, func() error { return b.Delete(world.Primary(other)) })
		if r.place == parity && other < b.Params.K1 {
			target = other // what the parity is needed for
		}
	}
	r.reads = r.aim(rng, b, int64(target*b.Len(name)+off))
}

// flipMetadata plans to flip a byte of one copy of a blob's metadata. It is
// only asked for if a sliver is false, so mostly one is. Ruined is when the
// other copy is false, too.
func (r *round) flipMetadata(rng *rand.Rand, name, other string, mask byte) {
	b := r.Blobs[rng.IntN(len(r.Blobs))]
	off := rng.IntN(b.Len(name))
	r.what = fmt.Sprintf("byte %d of %s of %s", off, name, b.ID)
	r.change = func() error { return b.Flip(name, off, mask) }
	row := rng.IntN(max(1, b.Params.DataRows()))
	at := rng.IntN(b.Len(world.Primary(row)))
	if r.wear != alone {
		r.bad = append(r.bad, func() error { return b.Flip(world.Primary(row), at, mask) })
	}
	if r.wear == ruined {
		also := rng.IntN(b.Len(other))
		r.bad = append(r.bad, func() error { return b.Flip(other, also, mask) })
	}
	r.reads = r.aim(rng, b, int64(row*b.Len(world.Primary(row))+at))
}

// flipCache plans to flip a byte of a file of the cache. What it is worth
// shows when slivers are missing.
func (r *round) flipCache(rng *rand.Rand, mask byte) {
	b, name := r.Blobs[0], ""
	v1 := func(name string) string { return filepath.Join("v1", name) }
	switch r.place {
	case cachedChunks:
		b = r.Blobs[1+rng.IntN(len(r.Blobs)-1)]
		name = v1(fmt.Sprintf("blobs/%x", b.ID[:]))
	case cachedMeta:
		metas := r.cache.below(v1("meta"))
		name = metas[rng.IntN(len(metas))]
	case cacheMarker:
		name = "floe-cache"
	case cacheLock:
		name = v1("lock")
	default:
		name = v1("index.db")
	}
	off := r.cache.anywhere(rng, name)
	r.what = fmt.Sprintf("byte %d of %s", off, name)
	path := filepath.Join(r.cacheDir, name)
	r.change = func() error { return world.FlipByte(path, off, mask) }
	switch r.place {
	case cacheLoop:
		off = 0
		r.change = func() error { return r.cache.loop(rng, path, &r.what) }
		fallthrough
	case cacheIndex, cacheMarker:
		r.live = false // these are for a cache that is closed
		b = r.Blobs[rng.IntN(len(r.Blobs))]
	}
	r.reads = r.aim(rng, b, off)
	r.wearDown(rng, b, off)
}

// wearDown deletes slivers of b, that which holds byte off first.
func (r *round) wearDown(rng *rand.Rand, b *world.Blob, off int64) {
	missing := [wears]int{0, b.Tolerates(), b.Tolerates() + 1}[r.wear]
	if missing == 0 {
		return
	}
	if r.wear == ruined && r.place == cachedMeta && rng.IntN(2) == 0 {
		for _, name := range []string{world.Meta, world.MetaCopy} {
			at := rng.IntN(b.Len(name))
			r.bad = append(r.bad, func() error { return b.Flip(name, at, 1) })
		}
		return
	}
	row := int(off) / b.Len(world.Primary(0))
	if strings.Contains(r.what, ".p") {
		fmt.Sscanf(r.what[strings.Index(r.what, ".p"):], ".p%d", &row)
	}
	row = min(row, b.Params.K1-1)
	for _, row := range append([]int{row}, others(rng, b, row)...)[:missing] {
		r.bad = append(r.bad, func() error { return b.Delete(world.Primary(row)) })
	}
}

// others returns the slivers of b but one, those that hold data first.
func others(rng *rand.Rand, b *world.Blob, but int) []int {
	data := max(1, b.Params.DataRows())
	rows := rng.Perm(b.Rows)
	var first, then []int
	for _, row := range rows {
		switch {
		case row == but:
		case row < data:
			first = append(first, row)
		default:
			then = append(then, row)
		}
	}
	return append(first, then...)
}
