package walrus

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/floefs/floe/merkle"
)

func TestNewParamsRefusesWhatWalrusCannotEncode(t *testing.T) {
	for _, n := range []int{-1, 0, 3, 1001, math.MaxInt} {
		if p, err := NewParams(n, 1); err == nil {
			t.Errorf("%d shards: %+v", n, p)
		}
	}
	for _, n := range []int{4, 7, 100, 1000} {
		if p, err := NewParams(n, MaxBlob(n)); err != nil || p.Symbol != MaxSymbol {
			t.Errorf("largest blob on %d shards: %+v, %v", n, p, err)
		}
		for _, size := range []uint64{MaxBlob(n) + 1, math.MaxUint64} {
			if p, err := NewParams(n, size); err == nil {
				t.Errorf("%d bytes on %d shards: %+v", size, n, p)
			}
		}
	}
	equal(t, "largest blob on 1000 shards", MaxBlob(1000), 14_599_533_452)
}

func TestAnEncoderForgetsTheBlobBefore(t *testing.T) {
	sizes := []int{300_000, 1, 0, 70_000, 34 * 67 * 2, 34*67*2 - 1, 67 * 2, 67*2 + 1, 65}
	reused := mustEncoder(t, 100)
	for _, size := range sizes {
		data := vectorBlob(7, size)
		a, err := reused.Encode(t.Context(), data, 100)
		if err != nil {
			t.Fatal(err)
		}
		b, err := mustEncoder(t, 100).Encode(t.Context(), data, 40)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "id", a.ID, b.ID)
		for i := range 40 {
			if s := (SliverID{Primary, i}); !bytes.Equal(a.Sliver(s), b.Sliver(s)) {
				t.Errorf("%d bytes: %s differs", size, s)
			}
		}
		for i := range 100 {
			s := SliverID{Secondary, i}
			if !bytes.Equal(a.Sliver(s), b.Sliver(s)) {
				t.Errorf("%d bytes: %s differs", size, s)
			}
			if _, err := a.Metadata.ProveSliver(s, a.Sliver(s)); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestEncodeStopsWhenItsContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := mustEncoder(t, 10).Encode(ctx, make([]byte, 100), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNoAlteredSliverIsProven(t *testing.T) {
	for _, size := range []int{1, 20_000, 500_000} {
		_, enc, all := encodeAll(t, 13, size)
		for a := range all {
			for i := range 13 {
				s := SliverID{Axis(a), i}
				for _, at := range []int{0, len(all[a][i]) / 2, len(all[a][i]) - 1} {
					bad := slices.Clone(all[a][i])
					bad[at] ^= 1
					if _, err := enc.Metadata.ProveSliver(s, bad); !errors.Is(err, merkle.ErrMismatch) {
						t.Fatalf("%s with byte %d altered: %v", s, at, err)
					}
				}
				for _, bad := range [][]byte{nil, all[a][i][1:], append(slices.Clone(all[a][i]), 0)} {
					if _, err := enc.Metadata.ProveSliver(s, bad); !errors.Is(err, merkle.ErrMismatch) {
						t.Fatalf("%s of %d bytes: %v", s, len(bad), err)
					}
				}
			}
		}
	}
}

func TestAnEmptyHashProvesNothing(t *testing.T) {
	m := &Metadata{Size: 10, Hashes: make([]PairHashes, 4)}
	for _, n := range []int{0, 6, 1000} {
		if _, err := m.ProveSliver(SliverID{Primary, 0}, make([]byte, n)); err == nil {
			t.Errorf("%d bytes proven", n)
		}
		p := mustParams(t, 4, 10)
		if _, err := merkle.Prove(merkle.Hash{}, make([]byte, n), p.SliverSum(Primary)); err == nil {
			t.Errorf("%d bytes proven by the sum alone", n)
		}
	}
}

func TestSliversAreProvenConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for _, size := range []int{1000, 100_000} {
		_, enc, all := encodeAll(t, 31, size)
		for a := range all {
			for i, data := range all[a] {
				wg.Go(func() {
					if _, err := enc.Metadata.ProveSliver(SliverID{Axis(a), i}, data); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	wg.Wait()
}

func TestRowsBeyondTheEndMustBeZero(t *testing.T) {
	_, enc, _ := encodeAll(t, 10, 15)
	m := enc.Metadata
	if err := m.CheckZeroRows(); err != nil {
		t.Fatal(err)
	}
	for r := enc.Params.DataRows(); r < enc.Params.K1; r++ {
		bad := &Metadata{Size: m.Size, Hashes: slices.Clone(m.Hashes)}
		bad.Hashes[r].Primary[5] ^= 1
		if err := bad.CheckZeroRows(); !errors.Is(err, ErrInconsistent) {
			t.Errorf("row %d altered: %v", r, err)
		}
	}
}

func TestVerifyBindsMetadataToItsID(t *testing.T) {
	_, enc, _ := encodeAll(t, 10, 1000)
	m := enc.Metadata
	if err := m.Verify(enc.ID, 10); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]*Metadata{
		"size":   {Size: m.Size + 1, Hashes: m.Hashes},
		"shards": {Size: m.Size, Hashes: m.Hashes[:9]},
		"hash":   {Size: m.Size, Hashes: append(slices.Clone(m.Hashes[:9]), PairHashes{})},
		"huge":   {Size: math.MaxUint64, Hashes: m.Hashes},
	} {
		if bad.Verify(enc.ID, 10) == nil {
			t.Errorf("%s altered, yet verified", name)
		}
	}
}

func TestBlobIDHasOneSpelling(t *testing.T) {
	const good = "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk"
	id, err := ParseBlobID(good)
	if err != nil || id.String() != good {
		t.Fatalf("got %s, %v", id, err)
	}
	for _, bad := range []string{"", good[1:], good + "A", good + "=", good[:42] + "l", "\n" + good[1:], good + "\n",
		strings.Replace(good, "-", "+", 1), strings.Replace(good, "_", "/", 1), base64.StdEncoding.EncodeToString(id[:])} {
		if id, err := ParseBlobID(bad); err == nil {
			t.Errorf("%q accepted as %s", bad, id)
		}
	}
	var back BlobID
	text, err := id.MarshalText()
	if err == nil {
		err = back.UnmarshalText(text)
	}
	if err != nil || back != id {
		t.Errorf("as text and back: %s, %v", back, err)
	}
}

func TestAxesHaveNames(t *testing.T) {
	for _, a := range []Axis{Primary, Secondary} {
		if got, err := ParseAxis(a.String()); err != nil || got != a {
			t.Errorf("%s: %v, %v", a, got, err)
		}
	}
	if _, err := ParseAxis("Primary"); err == nil {
		t.Error("Primary accepted")
	}
}

func TestHashingAFileYieldsTheMetadataOfEncodingIt(t *testing.T) {
	for _, n := range []int{4, 13, 100} {
		e := mustEncoder(t, n)
		for _, size := range []int{300_000, 0, 1, 130, 99_991} {
			data := vectorBlob(7, size)
			enc, err := mustEncoder(t, n).Encode(t.Context(), data, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, memory := range []int{0, 10_000, 1 << 30} {
				m, err := e.Hash(t.Context(), bytes.NewReader(data), uint64(size), memory)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "id", m.BlobID(), enc.ID)
				if !slices.Equal(m.Hashes, enc.Metadata.Hashes) {
					t.Errorf("%d bytes on %d shards in %d bytes of memory: hashes differ", size, n, memory)
				}
			}
			if size > 0 {
				if _, err := e.Hash(t.Context(), bytes.NewReader(data[1:]), uint64(size), 0); err == nil {
					t.Errorf("%d of %d bytes hashed", size-1, size)
				}
			}
		}
	}
}
