package s3

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/floefs/floe/engine/walrus"
)

func params(t testing.TB, n int, size uint64) walrus.Params {
	t.Helper()
	p, err := walrus.NewParams(n, size)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// span returns slivers first to last of an axis.
func span(axis walrus.Axis, first, last int) []walrus.SliverID {
	return pack{{axis, first, last}}.slivers()
}

// The names are a format: these never change.
func TestNamesOfPacks(t *testing.T) {
	p := params(t, 100, 64<<20)
	if p.SliverLen(walrus.Primary) != 1973820 || p.SliverLen(walrus.Secondary) != 1001640 {
		t.Fatalf("slivers have %d and %d bytes", p.SliverLen(walrus.Primary), p.SliverLen(walrus.Secondary))
	}
	const a, b = walrus.Primary, walrus.Secondary
	for _, c := range []struct {
		slivers []walrus.SliverID
		name    string
		last    int64 // where the last sliver begins
	}{
		{span(a, 0, 0), "p0", 0},
		{span(b, 99, 99), "s99", 0},
		{span(a, 0, 39), "p0-39", 39 * 1973820},
		{slices.Concat(span(b, 72, 96), span(a, 3, 27)), "p3-27_s72-96", 25*1973820 + 24*1001640},
		{slices.Concat(span(a, 88, 99), span(a, 0, 0), span(b, 0, 11), span(b, 99, 99)), "p0_p88-99_s0-11_s99", 13*1973820 + 12*1001640},
		{[]walrus.SliverID{{Axis: a, Index: 7}, {Axis: a, Index: 6}, {Axis: a, Index: 6}, {Axis: a, Index: 9}}, "p6-7_p9", 2 * 1973820},
	} {
		got := packs(p, c.slivers)
		if len(got) != 1 || got[0].String() != c.name {
			t.Errorf("%v are packed as %v, want %s", c.slivers, got, c.name)
			continue
		}
		all := sorted(c.slivers)
		if off, ok := got[0].offset(p, all[len(all)-1]); !ok || off != c.last {
			t.Errorf("%s: %s begins at %d, want %d", c.name, all[len(all)-1], off, c.last)
		}
		if back, ok := parsePack(c.name); !ok || !slices.Equal(back, got[0]) {
			t.Errorf("%s is parsed as %v", c.name, back)
		}
	}
	for _, name := range notPacks {
		if k, ok := parsePack(name); ok {
			t.Errorf("%q is parsed as %v", name, k)
		}
	}
}

var notPacks = []string{
	"", "p", "s", "meta", "meta.copy", "q0", "P0", "p-1", "p+1", "p01", "p1000", "p0-0", "p3-2", "p0-1000", "p0-", "p0-1-2", "p0-39 ", " p0",
	"p0_", "_p0", "p0__p2", "p0_p1", "p0-3_p4", "p0_p0", "p5_p3", "p0-5_p3-9", "s0_p0", "p0,p2", "p٣", "p0-99999999999999999999",
	strings.Repeat("p0_", 25) + "p0", "p0/p0",
}

func FuzzParsePack(f *testing.F) {
	for _, name := range append(notPacks, "p0", "p0-39", "s99", "p0_p88-99_s0-11_s99", "p0-999_s0-999") {
		f.Add(name)
	}
	p := params(f, 1000, 64<<20)
	f.Fuzz(func(t *testing.T, name string) {
		k, ok := parsePack(name)
		if !ok {
			return
		}
		if k.String() != name {
			t.Fatalf("%q is parsed as %s", name, k)
		}
		all := k.slivers()
		if len(k) > maxRuns || len(all) != k.len() || !slices.Equal(all, sorted(all)) {
			t.Fatalf("%q holds %v", name, all)
		}
		var end int64
		for _, at := range all {
			off, ok := k.offset(p, at)
			if !ok || off != end {
				t.Fatalf("%q: %s begins at %d, want %d", name, at, off, end)
			}
			end += int64(p.SliverLen(at.Axis))
		}
		if k.size(p) != end {
			t.Fatalf("%q has %d bytes, want %d", name, k.size(p), end)
		}
		if again := packs(p, all); end <= maxPack && (len(again) != 1 || !slices.Equal(again[0], k)) {
			t.Fatalf("the slivers of %q are packed as %v", name, again)
		}
	})
}

// However scattered and long slivers are, each is in one pack, whose name is
// as short as a file's must be and whose bytes fit into a PUT.
func TestPacksHoldEachSliverOnce(t *testing.T) {
	const seed = 3
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, c := range []struct {
		n    int
		size uint64
		keep int // one sliver in so many
		most int // packs
	}{
		{100, 64 << 20, 1, 1}, {100, 64 << 20, 4, 3}, {1000, 64 << 20, 4, 24}, {1000, walrus.MaxBlob(1000), 1, 80},
	} {
		p := params(t, c.n, c.size)
		var slivers []walrus.SliverID
		for _, axis := range []walrus.Axis{walrus.Primary, walrus.Secondary} {
			for i := range c.n {
				if rng.IntN(c.keep) == 0 {
					slivers = append(slivers, walrus.SliverID{Axis: axis, Index: i})
				}
			}
		}
		var held []walrus.SliverID
		all := packs(p, slivers)
		for _, k := range all {
			if name := k.String(); len(name) > 215 || k.size(p) > maxPack {
				t.Errorf("pack %s has %d bytes", name, k.size(p))
			} else if back, ok := parsePack(name); !ok || !slices.Equal(back, k) {
				t.Errorf("%s is parsed as %v", name, back)
			}
			held = append(held, k.slivers()...)
		}
		if !slices.Equal(held, slivers) {
			t.Errorf("seed %d: %d slivers are put into packs, %d are in them", seed, len(slivers), len(held))
		}
		t.Logf("n=%d: %d slivers in %d packs", c.n, len(slivers), len(all))
		if len(all) > c.most {
			t.Errorf("%d slivers of %d shards take %d packs, want at most %d", len(slivers), c.n, len(all), c.most)
		}
	}
}

func TestABodyIsThePackFromAnywhere(t *testing.T) {
	p := params(t, 10, 5003)
	k := packs(p, slices.Concat(span(walrus.Primary, 2, 4), span(walrus.Secondary, 9, 9)))[0]
	made := 0
	buf := make([]byte, max(p.SliverLen(walrus.Primary), p.SliverLen(walrus.Secondary)))
	sliver := func(at walrus.SliverID) []byte { // in the same memory each time
		made++
		data := buf[:p.SliverLen(at.Axis)]
		for i := range data {
			data[i] = byte(i*7 + at.Index + int(at.Axis)*100)
		}
		return data
	}
	var want []byte
	for _, at := range k.slivers() {
		want = append(want, sliver(at)...)
	}
	made = 0
	got, err := io.ReadAll(newBody(p, k, sliver))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the body differs (error %v)", err)
	}
	if made != k.len() {
		t.Errorf("%d slivers were made for %d", made, k.len())
	}
	if err := iotest.TestReader(newBody(p, k, sliver), want); err != nil {
		t.Error(err)
	}
}

// Of the objects that hold a sliver whole, the one with the fewest counts.
func TestTheSmallestWholeObjectCounts(t *testing.T) {
	p := params(t, 10, 5003)
	n := int64(p.SliverLen(walrus.Primary))
	objects := func(names ...string) (all []object) {
		for _, name := range names {
			name, short, _ := strings.Cut(name, " ")
			k, _ := parsePack(name)
			o := newObject(k, k.size(p))
			if short != "" {
				o.bytes -= n
			}
			all = append(all, o)
		}
		return all
	}
	for _, c := range []struct {
		objects []object
		at      int
		name    string // empty: none
		off     int64
	}{
		{nil, 0, "", 0},
		{objects("p0-4"), 5, "", 0},
		{objects("p0-4"), 4, "p0-4", 4 * n},
		{objects("p0-4", "p3-5"), 4, "p3-5", n},
		{objects("p3-5", "p0-4", "p4"), 4, "p4", 0},
		{objects("p3-5", "p0-4", "p4 short"), 4, "p3-5", n},
		{objects("p0-4 short"), 4, "", 0},
		{objects("p0-4 short"), 3, "p0-4", 3 * n},
		{objects("p4-5", "p3-4"), 4, "p3-4", n},
		{objects("p3-4", "p4-5"), 4, "p3-4", n},
		{objects("s4"), 4, "", 0},
	} {
		o, off, ok := find(c.objects, p, walrus.SliverID{Axis: walrus.Primary, Index: c.at})
		if ok != (c.name != "") || o.String() != c.name || off != c.off {
			t.Errorf("of %v, sliver %d is found at %d in %q, want %d in %q", c.objects, c.at, off, o, c.off, c.name)
		}
	}
}
