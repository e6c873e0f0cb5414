package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
)

const kib, mib = 1 << 10, 1 << 20

// asked follows requests, which need not be of one stream, and returns the
// bytes that are asked for ahead, and those that no request wants.
func asked(t *testing.T, requests []extent, in extent) (ahead, wasted int64) {
	t.Helper()
	var streams []*stream
	var want []extent
	for _, r := range requests {
		known := false
		for i, s := range streams {
			w, ok := s.follow(r, in, in.to, false, 1<<50)
			if ok {
				known = true
				want = append(want, w...)
				streams = slices.Insert(slices.Delete(streams, i, i+1), 0, s)
				break
			}
		}
		if !known {
			streams = slices.Insert(streams, 0, &stream{last: r, end: r.to, in: in})
			streams = streams[:min(len(streams), keptStreams)]
		}
	}
	for _, w := range want {
		if w.from >= w.to || w.to > in.to {
			t.Fatalf("asks for %d to %d of a file that ends at %d", w.from, w.to, in.to)
		}
		ahead += w.len()
		wasted += w.len()
		for _, r := range requests {
			if r.meets(w) {
				wasted -= min(r.to, w.to) - max(r.from, w.from)
			}
		}
	}
	return ahead, wasted
}

func TestWhatIsReadInOrderIsAskedForAhead(t *testing.T) {
	file := extent{3 * mib, 103 * mib}
	for name, c := range map[string]struct {
		size, step int64
		swap       bool // every two requests come in the wrong order
		least      int64
	}{
		"1 MiB requests":              {mib, mib, false, 98 * mib},
		"128 KiB requests":            {128 * kib, 128 * kib, false, 98 * mib},
		"single chunks":               {16 * kib, 16 * kib, false, 98 * mib},
		"with small gaps":             {100 * kib, 132 * kib, false, 70 * mib},
		"out of order":                {mib, mib, true, 95 * mib},
		"strides":                     {64 * kib, mib, false, 5*mib - 300*kib},
		"strides with narrow columns": {16 * kib, 160 * kib, false, 8 * mib},
	} {
		var requests []extent
		for at := file.from; at+c.size <= file.to; at += c.step {
			requests = append(requests, extent{at, at + c.size})
		}
		if c.swap {
			for i := 2; i+1 < len(requests); i += 2 {
				requests[i], requests[i+1] = requests[i+1], requests[i]
			}
		}
		ahead, wasted := asked(t, requests, file)
		if ahead-wasted < c.least || wasted > ahead/3 || c.step == c.size && wasted > 0 {
			t.Errorf("%s: %d bytes ahead, %d in vain; want at least %d that are of use", name, ahead, wasted, c.least)
		}
	}
}

// One who jumps about is not made to pay for what he does not read.
func TestWhatIsReadAtRandomIsNot(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, size := range []int64{4 * mib, 100 * mib, 10 << 30} {
		file := extent{mib, mib + size}
		var requests []extent
		const n = 5000
		for range n {
			at := file.from + rng.Int64N(size/(16*kib))*16*kib
			requests = append(requests, extent{at, at + 16*kib})
		}
		ahead, _ := asked(t, requests, file)
		// In a small file requests often happen to be neighbours.
		if limit := int64(n * 16 * kib); size >= 100*mib && ahead > limit/20 {
			t.Errorf("random reads of %d bytes in %d: %d more are fetched", limit, size, ahead)
		} else if size < 100*mib && ahead > 4*limit {
			t.Errorf("random reads of %d bytes in %d: %d more are fetched", limit, size, ahead)
		}
	}
	// A file read from its start and left soon.
	file := extent{0, 1 << 30}
	ahead, _ := asked(t, []extent{{0, 128 * kib}, {128 * kib, 256 * kib}, {256 * kib, 384 * kib}}, file)
	if ahead > mib {
		t.Errorf("after 384 KiB %d bytes are fetched ahead", ahead)
	}
}

// Small files in the order they lie in are one stream; one file alone is not
// read beyond its end.
func TestFilesInOrderAreOneStream(t *testing.T) {
	var s stream
	const size, gap = 100*kib - 512, 512
	var ahead int64
	for i := range int64(50) {
		in := extent{i * (size + gap), i*(size+gap) + size + 500}
		r := extent{in.from, in.from + size}
		w, ok := s.follow(r, in, in.to, false, 1<<40)
		if i == 0 {
			if ok {
				t.Fatal("the first request goes on from another")
			}
			s = stream{last: r, end: r.to, in: in}
			continue
		}
		if !ok {
			t.Fatalf("file %d does not go on from the one before", i)
		}
		for _, x := range w {
			ahead += x.len()
		}
	}
	if ahead < 40*size {
		t.Errorf("%d bytes ahead of 50 files of %d", ahead, size)
	}
	if _, ok := s.follow(extent{s.end, s.end + 512}, s.in, s.in.to, true, 1<<40); ok {
		t.Error("an interior chunk is taken for data")
	}
}
