package reconstruct

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
	"github.com/floefs/floe/tests/world"
)

// forge stores blob b again with another sliver in the place of one of its
// own, under metadata that vouches for it: what a publisher does who wants
// readers to see different bytes, depending on which slivers they get. It
// returns the id, which is as good as any.
func forge(t *testing.T, w *world.World, b *world.Blob, row int, sliver []byte) walrus.BlobID {
	t.Helper()
	meta, err := walrus.ProveMetadata(b.ID, b.Whole(world.Meta))
	if err != nil {
		t.Fatal(err)
	}
	meta.Hashes[row].Primary = b.Params.SliverSum(walrus.Primary)(sliver)
	id := meta.BlobID()
	for i := range b.Rows {
		data := b.Whole(world.Primary(i))
		if i == row {
			data = sliver
		}
		if err := w.Store.PutSliver(t.Context(), id, b.Params, walrus.SliverID{Axis: walrus.Primary, Index: i}, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Store.PutMetadata(t.Context(), id, meta.Append(nil)); err != nil {
		t.Fatal(err)
	}
	return id
}

// header returns the bytes of w's header blob.
func header(w *world.World) []byte {
	b := w.Blobs[0]
	var data []byte
	for row := range b.Params.K1 {
		data = append(data, b.Whole(world.Primary(row))...)
	}
	return data[:b.Params.Size]
}

// putHeader stores a header blob and returns the dataset's id.
func putHeader(t *testing.T, w *world.World, data []byte) walrus.BlobID {
	t.Helper()
	n := w.Blobs[0].Params.N
	enc, err := walrus.NewEncoder(n)
	if err != nil {
		t.Fatal(err)
	}
	b, err := enc.Encode(t.Context(), data, n)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		at := walrus.SliverID{Axis: walrus.Primary, Index: i}
		if err := w.Store.PutSliver(t.Context(), b.ID, b.Params, at, b.Sliver(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Store.PutMetadata(t.Context(), b.ID, b.Metadata.Append(nil)); err != nil {
		t.Fatal(err)
	}
	return b.ID
}

// forged returns the blob that forge has stored, so that it can be harmed.
func forged(t *testing.T, w *world.World, id walrus.BlobID) *world.Blob {
	t.Helper()
	b, err := w.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whichever slivers a reader gets, it reads what the content trees name, or
// learns that the publisher has lied.
func TestABlobThatIsEncodedFalselyNeverHasTwoContents(t *testing.T) {
	w := world.New(t, few(), world.Options{Shards: 7, All: true})
	rng := rand.New(rand.NewPCG(seed, 5))
	victim := w.Blobs[1]
	k1 := victim.Params.K1
	for row := range victim.Rows {
		sliver := make([]byte, victim.Len(world.Primary(row)))
		for i := range sliver {
			sliver[i] = byte(rng.Uint32())
		}
		false := forge(t, w, victim, row, sliver)
		data := header(w)
		if bytes.Count(data, victim.ID[:]) != 1 {
			t.Fatal("the header does not name the blob once")
		}
		id := putHeader(t, w, bytes.Replace(data, victim.ID[:], false[:], 1))
		b := forged(t, w, false)
		var right, refused int
		subsets(b.Rows, b.Rows-k1, func(gone []int) {
			mustHarm(t, rng, b, deleted, gone)
			failed := readAll(t.Context(), w, id, victim.Items)
			for it, err := range failed {
				if isWrong(err) || !errors.Is(err, merkle.ErrMismatch) {
					t.Errorf("FLOE_SEED=%d, sliver %d false, %v missing: reading %q: %v, want an error wrapping ErrMismatch", seed, row, gone, it.Path, err)
				}
			}
			refused += len(failed)
			right += len(victim.Items) - len(failed)
			if err := b.Heal(); err != nil {
				t.Fatal(err)
			}
		})
		if right == 0 || refused == 0 {
			t.Errorf("sliver %d false: read %d times, refused %d times", row, right, refused)
		}
		t.Logf("sliver %d of %d false: over all sets of %d slivers read %d times, refused %d times", row, b.Rows, k1, right, refused)
	}
}

// A header blob has no content tree; its slivers are proven by its metadata,
// each for itself. So one that was encoded falsely is read from its systematic
// slivers or not at all.
func TestAHeaderThatIsEncodedFalselyNeverHasTwoContents(t *testing.T) {
	w := world.New(t, few(), world.Options{Shards: 7, All: true})
	b := w.Blobs[0]
	data := header(w)
	h, err := catalog.ParseHeader(data[:catalog.HeaderSize], int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	h.Root.Mode ^= 0o022
	other, err := catalog.AppendHeader(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	width := b.Len(world.Primary(0))
	if !bytes.Equal(other[width:], data[width:catalog.HeaderSize]) {
		t.Fatal("the headers differ beyond the first sliver")
	}
	liar := forged(t, w, forge(t, w, b, 0, other[:width]))
	rng := rand.New(rand.NewPCG(seed, 6))
	got := map[string]int{}
	subsets(b.Rows, b.Rows-b.Params.K1, func(gone []int) {
		mustHarm(t, rng, liar, deleted, gone)
		eng := engine.New(w.Client(), nil, nil)
		ds, err := eng.Open(t.Context(), liar.ID)
		switch {
		case err == nil:
			got[fmt.Sprintf("mode %o", ds.Root().Mode)]++
		case errors.Is(err, merkle.ErrMismatch):
			got["refused"]++
		default:
			t.Errorf("with slivers %v missing: %v, want an error wrapping ErrMismatch", gone, err)
		}
		eng.Close()
		if err := liar.Heal(); err != nil {
			t.Fatal(err)
		}
	})
	one := fmt.Sprintf("mode %o", h.Root.Mode)
	if len(got) != 2 || got["refused"] == 0 || got[one] == 0 {
		t.Errorf("over all sets of %d slivers: %v, want some %q, the others refused", b.Params.K1, got, one)
	}
	t.Logf("over all sets of %d slivers: %v", b.Params.K1, got)
}
