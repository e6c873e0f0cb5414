// Package nodetest is the contract of node.Store as tests, and nodes that
// misbehave on request.
package nodetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

// Bytes returns size bytes that look random and follow from seed.
func Bytes(seed uint64, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)}).Read(b)
	return b
}

// Encode returns the blob of n shards that holds data, with all slivers.
func Encode(t testing.TB, n int, data []byte) *walrus.Encoded {
	t.Helper()
	enc, err := walrus.NewEncoder(n)
	if err != nil {
		t.Fatal(err)
	}
	b, err := enc.Encode(t.Context(), data, n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// All yields the ids of all slivers of a blob.
func All(p walrus.Params) []walrus.SliverID {
	var all []walrus.SliverID
	for _, axis := range []walrus.Axis{walrus.Primary, walrus.Secondary} {
		for i := range p.N {
			all = append(all, walrus.SliverID{Axis: axis, Index: i})
		}
	}
	return all
}

// Put stores a blob's metadata and then the slivers named, all if none are.
func Put(t testing.TB, s node.Store, b *walrus.Encoded, slivers ...walrus.SliverID) {
	t.Helper()
	if err := s.PutMetadata(t.Context(), b.ID, b.Metadata.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if slivers == nil {
		slivers = All(b.Params)
	}
	for _, at := range slivers {
		if err := s.PutSliver(t.Context(), b.ID, b.Params, at, b.Sliver(at)); err != nil {
			t.Fatal(err)
		}
	}
}

// N is the number of shards of the blobs that Run stores. The stores must be
// able to take any sliver.
const N = 10

// Run tests that the stores which open returns keep the contract. Each call
// returns an empty one.
func Run(t *testing.T, open func(t *testing.T) node.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s node.Store)
	}{
		{"WhatIsPutIsRead", whatIsPutIsRead},
		{"WhatIsAbsentSaysSo", whatIsAbsentSaysSo},
		{"AReadPastTheEndSaysSo", aReadPastTheEndSaysSo},
		{"PuttingAgainChangesNothing", puttingAgainChangesNothing},
		{"TheTrueReplacesTheFalse", theTrueReplacesTheFalse},
		{"WhatIsPutIsNotKept", whatIsPutIsNotKept},
		{"ReadersSeeAllOrNothing", readersSeeAllOrNothing},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// The lengths of slivers of these blobs take one, two and three bytes to
// write down.
func whatIsPutIsRead(t *testing.T, s node.Store) {
	for i, size := range []int{0, 300, 5003, 1 << 20} {
		b := Encode(t, N, Bytes(uint64(i), size))
		Put(t, s, b)
		got, err := s.Metadata(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		if want := b.Metadata.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("blob of %d bytes: metadata differs", size)
		}
		for _, at := range All(b.Params) {
			want := b.Sliver(at)
			for _, r := range ranges(len(want)) {
				got := make([]byte, r.n)
				if err := s.ReadSliver(t.Context(), b.ID, b.Params, at, got, int64(r.off)); err != nil {
					t.Fatalf("blob of %d bytes: %v", size, err)
				}
				if !bytes.Equal(got, want[r.off:r.off+r.n]) {
					t.Fatalf("blob of %d bytes: %s: %d bytes at %d differ", size, at, r.n, r.off)
				}
			}
		}
	}
}

type span struct{ off, n int }

// ranges returns parts of size bytes, the whole first.
func ranges(size int) []span {
	all := []span{{0, size}, {0, 1}, {size - 1, 1}, {size / 2, 1}}
	if size > 4 {
		all = append(all, span{1, size - 2}, span{size / 3, size / 3}, span{size - 3, 3}, span{0, size - 1}, span{1, size - 1})
	}
	return all
}

func whatIsAbsentSaysSo(t *testing.T, s node.Store) {
	b, other := Encode(t, N, Bytes(1, 5003)), Encode(t, N, Bytes(2, 5003))
	first := walrus.SliverID{Axis: walrus.Primary, Index: 0}
	absent := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got error %v, want fs.ErrNotExist", what, err)
		}
	}
	look := func(b *walrus.Encoded, at walrus.SliverID) error {
		return s.ReadSliver(t.Context(), b.ID, b.Params, at, make([]byte, 10), 0)
	}
	_, err := s.Metadata(t.Context(), b.ID)
	absent("metadata in an empty store", err)
	absent("sliver in an empty store", look(b, first))
	Put(t, s, b, first)
	if err := look(b, first); err != nil {
		t.Error(err)
	}
	for _, at := range All(b.Params) {
		if at != first {
			absent("another sliver", look(b, at))
		}
	}
	absent("a sliver that cannot be", look(b, walrus.SliverID{Axis: walrus.Primary, Index: N}))
	_, err = s.Metadata(t.Context(), other.ID)
	absent("metadata of another blob", err)
	absent("sliver of another blob", look(other, first))
}

func aReadPastTheEndSaysSo(t *testing.T, s node.Store) {
	b := Encode(t, N, Bytes(1, 5003))
	Put(t, s, b)
	for _, at := range []walrus.SliverID{{Axis: walrus.Primary, Index: 1}, {Axis: walrus.Secondary, Index: 2}} {
		size := b.Params.SliverLen(at.Axis)
		for _, r := range []span{{0, size + 1}, {1, size}, {size - 1, 2}, {size, 1}, {size + 1, 1}, {10 * size, 1}} {
			err := s.ReadSliver(t.Context(), b.ID, b.Params, at, make([]byte, r.n), int64(r.off))
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes at %d of %d: got error %v, want io.ErrUnexpectedEOF", r.n, r.off, size, err)
			}
		}
	}
}

func puttingAgainChangesNothing(t *testing.T, s node.Store) {
	b := Encode(t, N, Bytes(1, 5003))
	for range 3 {
		Put(t, s, b)
	}
	checkWhole(t, s, b)
}

func checkWhole(t *testing.T, s node.Store, b *walrus.Encoded) {
	t.Helper()
	data, err := s.Metadata(t.Context(), b.ID)
	if err == nil && !bytes.Equal(data, b.Metadata.Append(nil)) {
		err = errors.New("it differs")
	}
	if err != nil {
		t.Errorf("metadata: %v", err)
	}
	for _, at := range All(b.Params) {
		if err := checkSliver(t, s, b, at); err != nil {
			t.Error(err)
		}
	}
}

func checkSliver(t *testing.T, s node.Store, b *walrus.Encoded, at walrus.SliverID) error {
	want := b.Sliver(at)
	got := make([]byte, len(want))
	err := s.ReadSliver(t.Context(), b.ID, b.Params, at, got, 0)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s differs", at)
	}
	return err
}

// Stores may refuse what is false. What they take, the true must replace.
func theTrueReplacesTheFalse(t *testing.T, s node.Store) {
	b := Encode(t, N, Bytes(1, 5003))
	falsify := func(data []byte) []byte {
		data = slices.Clone(data)
		data[len(data)/2] ^= 1
		return data
	}
	taken := 0
	if s.PutMetadata(t.Context(), b.ID, falsify(b.Metadata.Append(nil))) == nil {
		taken++
	}
	for _, at := range All(b.Params) {
		if s.PutSliver(t.Context(), b.ID, b.Params, at, falsify(b.Sliver(at))) == nil {
			taken++
		}
	}
	t.Logf("%d false ones were taken", taken)
	Put(t, s, b)
	checkWhole(t, s, b)
}

func whatIsPutIsNotKept(t *testing.T, s node.Store) {
	b := Encode(t, N, Bytes(1, 5003))
	meta := b.Metadata.Append(nil)
	if err := s.PutMetadata(t.Context(), b.ID, meta); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(meta, b.Metadata.Append(nil)) {
		t.Error("metadata was changed by storing it")
	}
	clear(meta)
	for _, at := range All(b.Params) {
		data := slices.Clone(b.Sliver(at))
		if err := s.PutSliver(t.Context(), b.ID, b.Params, at, data); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, b.Sliver(at)) {
			t.Errorf("%s was changed by storing it", at)
		}
		clear(data)
	}
	checkWhole(t, s, b)
}

func readersSeeAllOrNothing(t *testing.T, s node.Store) {
	b := Encode(t, N, Bytes(1, 1<<20))
	if err := s.PutMetadata(t.Context(), b.ID, b.Metadata.Append(nil)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, at := range []walrus.SliverID{{Axis: walrus.Primary, Index: 3}, {Axis: walrus.Secondary, Index: 4}} {
		for range 2 {
			wg.Go(func() {
				for range 5 {
					if err := s.PutSliver(t.Context(), b.ID, b.Params, at, b.Sliver(at)); err != nil {
						t.Error(err)
						return
					}
				}
			})
			wg.Go(func() {
				for range 20 {
					if err := checkSliver(t, s, b, at); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	if err := checkSliver(t, s, b, walrus.SliverID{Axis: walrus.Primary, Index: 3}); err != nil {
		t.Error(err)
	}
}
