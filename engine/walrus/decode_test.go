package walrus

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// subsets calls f with all choices of k numbers below n.
func subsets(n, k int, f func([]int)) {
	var rec func(from int, s []int)
	rec = func(from int, s []int) {
		if len(s) == k {
			f(s)
			return
		}
		for i := from; i < n; i++ {
			rec(i+1, append(s, i))
		}
	}
	rec(0, make([]int, 0, k))
}

// encodeAll returns a blob, what it is encoded to, and all its slivers.
func encodeAll(t testing.TB, n, size int) ([]byte, *Encoded, [2][][]byte) {
	t.Helper()
	data := vectorBlob(uint32(n*31+size+1), size)
	enc, err := mustEncoder(t, n).Encode(t.Context(), data, n)
	if err != nil {
		t.Fatal(err)
	}
	var all [2][][]byte
	for a := range all {
		for i := range n {
			all[a] = append(all[a], enc.Sliver(SliverID{Axis(a), i}))
		}
	}
	return data, enc, all
}

func pick(all [][]byte, indices []int) map[int][]byte {
	m := map[int][]byte{}
	for _, i := range indices {
		m[i] = all[i]
	}
	return m
}

func TestAnyChoiceOfEnoughSliversRestoresTheBlob(t *testing.T) {
	for n := MinShards; n <= 10; n++ {
		for _, size := range []int{0, 1, 100, 1 << 11} {
			data, enc, all := encodeAll(t, n, size)
			for a, slivers := range all {
				subsets(n, enc.Params.Needed(Axis(a)), func(known []int) {
					got, err := enc.Params.Decode(t.Context(), Axis(a), pick(slivers, known))
					if err != nil || !bytes.Equal(got, data) {
						t.Fatalf("%d bytes on %d shards from %s slivers %v: wrong, %v", size, n, Axis(a), known, err)
					}
				})
			}
		}
	}
}

func TestRandomChoicesRestoreTheBlob(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	tries := 300
	if testing.Short() {
		tries = 30
	}
	for _, x := range []struct{ n, size int }{{13, 5001}, {100, 300001}, {301, 50001}, {1000, 99991}} {
		data, enc, all := encodeAll(t, x.n, x.size)
		for a, slivers := range all {
			for try := range tries {
				k := enc.Params.Needed(Axis(a))
				known := r.Perm(x.n)[:k]
				switch try % 3 {
				case 1: // more than enough
					known = r.Perm(x.n)[:min(x.n, k+x.n/3)]
				case 2: // as few systematic ones as can be
					known = known[:0]
					for _, i := range r.Perm(x.n - k) {
						known = append(known, k+i)
					}
					known = append(known, r.Perm(k)...)[:k]
				}
				got, err := enc.Params.Decode(t.Context(), Axis(a), pick(slivers, known))
				if err != nil || !bytes.Equal(got, data) {
					t.Fatalf("%d bytes on %d shards from %s slivers %v: wrong, %v", x.size, x.n, Axis(a), known, err)
				}
			}
		}
	}
}

func TestAnySliverIsRebuiltFromEnoughOfEitherAxis(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, x := range []struct{ n, size, tries int }{{4, 10, 100}, {7, 3001, 100}, {100, 1000, 40}, {100, 900001, 20}, {1000, 5000, 12}} {
		_, enc, all := encodeAll(t, x.n, x.size)
		for try := range x.tries {
			want, from := SliverID{Axis(try & 1), r.IntN(x.n)}, Axis(try>>1&1)
			known := r.Perm(x.n)[:enc.Params.Needed(from)]
			got, err := enc.Params.Rebuild(t.Context(), want, from, pick(all[from], known))
			if err != nil || !bytes.Equal(got, all[want.Axis][want.Index]) {
				t.Fatalf("%d bytes on %d shards: %s from %s slivers %v: wrong, %v", x.size, x.n, want, from, known, err)
			}
		}
	}
}

func TestDecodeRefusesTooFewOrMisshapenSlivers(t *testing.T) {
	_, enc, all := encodeAll(t, 7, 100)
	p := enc.Params
	for name, slivers := range map[string]map[int][]byte{
		"too few":   pick(all[Primary], []int{0, 6}),
		"too short": {0: all[0][0], 1: all[0][1][1:], 2: all[0][2]},
		"beyond n":  {0: all[0][0], 1: all[0][1], 7: all[0][2]},
		"below 0":   {0: all[0][0], 1: all[0][1], -1: all[0][2]},
	} {
		if _, err := p.Decode(t.Context(), Primary, slivers); err == nil {
			t.Errorf("%s: decoded", name)
		}
		if _, err := p.Rebuild(t.Context(), SliverID{Secondary, 3}, Primary, slivers); err == nil {
			t.Errorf("%s: rebuilt", name)
		}
	}
	if _, err := p.Rebuild(t.Context(), SliverID{Primary, 7}, Primary, pick(all[Primary], []int{0, 1, 2})); err == nil {
		t.Error("sliver 7 of 7 rebuilt")
	}
}

func TestByteOffsetsLeadToTheSameByteOnBothAxes(t *testing.T) {
	for _, x := range []struct{ n, size int }{{4, 1}, {7, 1000}, {13, 4097}, {100, 99991}} {
		t.Run(fmt.Sprint(x), func(t *testing.T) {
			data, enc, all := encodeAll(t, x.n, x.size)
			for off := 0; off < x.size; off++ {
				r, at := enc.Params.Row(uint64(off))
				if got := all[Primary][r][at]; got != data[off] {
					t.Fatalf("byte %d: %d in row %d", off, got, r)
				}
				c, at, count := enc.Params.Column(uint64(off))
				count = min(count, x.size-off)
				if got := all[Secondary][c][at : at+count]; !bytes.Equal(got, data[off:off+count]) {
					t.Fatalf("byte %d: wrong in column %d", off, c)
				}
			}
		})
	}
}
