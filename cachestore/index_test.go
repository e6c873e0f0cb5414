package cachestore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// filled makes a cache with n segments of several kinds, closes it and
// returns its index file.
func filled(tb testing.TB, dir string, n int) string {
	tb.Helper()
	s := mustOpen(tb, dir, nil)
	r := rand.New(rand.NewPCG(1, 2))
	s.mu.Lock()
	for i := range n {
		var k Key
		binary.LittleEndian.PutUint64(k[:], uint64(i/20)*0x9E3779B97F4A7C15)
		b := s.blobOf(k)
		for range 1 + r.IntN(3) {
			b.mark(int64(i%20)*segSize+int64(r.IntN(2000))*512, 1+r.IntN(60), true, func(no uint32) { s.changed(b, no) })
		}
	}
	blobs := slices.Collect(maps.Keys(s.blobs))
	s.mu.Unlock()
	for _, k := range blobs { // an entry without a file would be dropped
		f, err := s.file(k, true)
		if err != nil {
			tb.Fatal(err)
		}
		f.Truncate(22 * segSize)
	}
	s.Flush()
	s.Close()
	return filepath.Join(dir, versionName, indexName)
}

// load returns what can be read of an index file.
func load(tb testing.TB, path string) (map[ref]string, error) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	got := make(map[ref]string)
	_, err = loadIndex(f, func(k Key, g segment) {
		got[ref{k, g.no}] = string(g.appendValue(nil, &[32]byte{}, k))
	})
	return got, err
}

func TestIndexIsLoadedAsItWasCommitted(t *testing.T) {
	dir := t.TempDir()
	var want map[ref]string
	path := filled(t, dir, 3000)
	want, err := load(t, path)
	if err != nil || len(want) < 3000 {
		t.Fatalf("loaded %d segments: %v", len(want), err)
	}
	for r, v := range want {
		if len(v) < minValue {
			t.Fatalf("segment %v has value %x", r, v)
		}
	}
}

// TestMarksSurviveARestart makes sure that marks come from the index, not
// from looking.
func TestMarksSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, nil)
	tr := newTree(1, 512, 3<<20)
	tr.put(s)
	s.Flush()
	want := s.Stats()
	s.Close()
	s = mustOpen(t, dir, nil)
	got := s.Stats()
	if got.Chunks != want.Chunks || got.Segments != want.Segments || got.Chunks != 192 {
		t.Fatalf("%d chunks in %d segments after a restart, want %d in %d", got.Chunks, got.Segments, want.Chunks, want.Segments)
	}
	if got.Bytes < want.Bytes*9/10 || got.Bytes > want.Bytes*11/10 {
		t.Errorf("%d bytes after a restart, want about %d", got.Bytes, want.Bytes)
	}
}

// TestDamagedIndexIsNeverBelieved damages the closed index in many ways, and
// each time opens the cache: it must come up, serve every chunk or none, and
// never a wrong byte. bbolt itself would end the process on some of these.
func TestDamagedIndexIsNeverBelieved(t *testing.T) {
	dir := memDir(t)
	filled(t, dir, 2000)
	s := mustOpen(t, dir, nil)
	tr := newTree(1, 1024, 2<<20)
	tr.put(s)
	s.Flush()
	// Some churn, so that there are free pages.
	for i := range 30 {
		newTree(uint64(1000+i), 0, 100).put(s)
		s.Flush()
	}
	s.Close()
	path := filepath.Join(dir, versionName, indexName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := load(t, path)
	if err != nil {
		t.Fatal(err)
	}
	pages := len(good) / pageSize
	live := int(max(order.Uint64(good[pageHeader+40:]), order.Uint64(good[pageSize+pageHeader+40:])))
	good = good[:live*pageSize] // bbolt grows its file in large steps
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d; %d entries in %d pages of %d", seed, len(entries), live, pages)
	r := rand.New(rand.NewPCG(seed, 0))

	damage := map[string]func(b []byte) []byte{
		"a flipped bit":          func(b []byte) []byte { b[r.IntN(live*pageSize)] ^= 1 << r.IntN(8); return b },
		"a changed word":         func(b []byte) []byte { order.PutUint64(b[8*r.IntN(live*pageSize/8):], r.Uint64()); return b },
		"a small number":         func(b []byte) []byte { order.PutUint64(b[8*r.IntN(live*pageSize/8):], r.Uint64N(64)); return b },
		"a zeroed page":          func(b []byte) []byte { clear(b[r.IntN(live)*pageSize:][:pageSize]); return b },
		"random bytes in a page": func(b []byte) []byte { p := b[r.IntN(live)*pageSize:][:pageSize]; fill(r, p); return b },
		"two swapped pages": func(b []byte) []byte {
			x, y := b[r.IntN(live)*pageSize:][:pageSize], b[r.IntN(live)*pageSize:][:pageSize]
			z := bytes.Clone(x)
			copy(x, y)
			copy(y, z)
			return b
		},
		"a page under another's number": func(b []byte) []byte {
			x, y := r.IntN(live), r.IntN(live)
			copy(b[y*pageSize:][:pageSize], b[x*pageSize:][:pageSize])
			order.PutUint64(b[y*pageSize:], uint64(y))
			return b
		},
		"a page that points at itself": func(b []byte) []byte {
			p := 2 + r.IntN(live-2)
			h := b[p*pageSize:]
			order.PutUint16(h[8:], flagBranch)
			for i := range max(1, int(order.Uint16(h[10:]))) % 200 {
				order.PutUint64(h[pageHeader+i*pageElem+8:], uint64(p))
			}
			return b
		},
		"a branch that points anywhere": func(b []byte) []byte {
			for p := 2; p < live; p++ {
				if h := b[p*pageSize:]; order.Uint16(h[8:]) == flagBranch && order.Uint64(h) == uint64(p) {
					n := int(order.Uint16(h[10:]))
					order.PutUint64(h[pageHeader+r.IntN(n)*pageElem+8:], r.Uint64N(uint64(live+2)))
				}
			}
			return b
		},
		"a cut file":  func(b []byte) []byte { return b[:r.IntN(len(b))] },
		"a cut pages": func(b []byte) []byte { return b[:r.IntN(live+1)*pageSize] },
		"nothing":     func(b []byte) []byte { return nil },
		"metas with true checksums": func(b []byte) []byte {
			for i := range 2 {
				m := b[i*pageSize+pageHeader:]
				at := 16 + 8*r.IntN(5)
				order.PutUint64(m[at:], r.Uint64N(uint64(2*live)))
				order.PutUint64(m[56:], fnvSum(m[:56]))
			}
			return b
		},
	}
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	var saved, refused, fewer int
	for name, do := range damage {
		for i := range rounds {
			if err := os.WriteFile(path, do(bytes.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := load(t, path)
			// What was true before is as good a hint as what is true now.
			older := name == "metas with true checksums" || name == "a page under another's number" || name == "two swapped pages"
			for k, v := range got {
				if entries[k] != v && !older {
					t.Fatalf("%s: an entry was believed that was never committed: %v %x", name, k, v)
				}
			}
			if err != nil {
				refused++
				saved += len(got)
			} else if len(got) != len(entries) {
				fewer++ // a leaf that says it holds fewer than it does
			}
			if i%8 != 0 && err != nil {
				continue // what is refused never reaches bbolt; open some of those only
			}
			s := mustOpen(t, dir, &Options{Logger: silent})
			tr.mustRead(t, s) // it is on disk, whatever the index says
			newTree(uint64(5000+i), 0, 100).put(s)
			s.Flush()
			if st := s.Stats(); st.False != 0 || !st.Owner || (err != nil) != (st.Rebuilt == 1) {
				t.Fatalf("%s: load says %v, stats %+v", name, err, st)
			}
			s.Close()
			if _, err := load(t, path); err != nil {
				t.Fatalf("%s: the index is damaged after a repair: %v", name, err)
			}
		}
	}
	t.Logf("%d damaged files: %d refused, %d entries saved of each on average; %d passed with fewer entries",
		rounds*len(damage), refused, saved/max(1, refused), fewer)
	if names, _ := os.ReadDir(filepath.Join(dir, versionName)); len(names) > 8 {
		t.Errorf("%d files are left in the cache", len(names))
	}
}

func fill(r *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

func TestEntriesAreBoundToTheirKey(t *testing.T) {
	secret := [32]byte{1, 2, 3}
	g := segment{no: 7, stamp: 9}
	g.set(5, 0xFF)
	g.set(31, 1<<63)
	key := appendKey(nil, Key{4}, 7)
	value := g.appendValue(nil, &secret, Key{4})
	k, got, err := parseEntry(&secret, key, value)
	if err != nil || k != (Key{4}) || got.no != 7 || got.stamp != 9 || got.count() != 9 || *got.wide != *g.wide {
		t.Fatalf("parsed %v %+v, %v", k, got, err)
	}
	for i := range 8 * len(key) {
		bad := bytes.Clone(key)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := parseEntry(&secret, bad, value); err == nil {
			t.Fatalf("bit %d of the key does not matter", i)
		}
	}
	for i := range 8 * len(value) {
		bad := bytes.Clone(value)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := parseEntry(&secret, key, bad); err == nil {
			t.Fatalf("bit %d of the value does not matter", i)
		}
	}
	if _, _, err := parseEntry(&[32]byte{1}, key, value); err == nil {
		t.Fatal("the secret does not matter")
	}
}

// TestSegmentsMatchAModel compares the compact form with a plain set.
func TestSegmentsMatchAModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const slots = 3 * segSize / 512
	for round := range 200 {
		b := &blob{}
		model := make([]bool, slots+64*32)
		for range 1 + r.IntN(40) {
			slot, n, on := r.IntN(slots), 1+r.IntN(64), r.IntN(3) > 0
			if round%3 == 0 {
				slot = slot / 32 * 32
			}
			for slot+32*n > len(model) {
				n--
			}
			b.mark(int64(slot)*512, n, on, func(uint32) {})
			for i := range n {
				model[slot+32*i] = on
			}
			if r.IntN(10) == 0 {
				from, to := r.IntN(2048), r.IntN(2049)
				if g := b.find(1); g != nil {
					g.dropRange(int64(from)*512, int64(to)*512)
				}
				for i := from; i < to; i++ {
					model[2048+i] = false
				}
			}
			if r.IntN(10) == 0 {
				no := uint32(r.IntN(3))
				if g := b.find(no); g != nil {
					g.dropTail()
				}
				for i := range 31 {
					model[int(no+1)*2048-1-i] = false
				}
			}
			for i := range b.segs { // through the index and back
				g := &b.segs[i]
				_, back, err := parseEntry(&[32]byte{}, appendKey(nil, b.key, g.no), g.appendValue(nil, &[32]byte{}, b.key))
				if err != nil {
					t.Fatal(err)
				}
				*g = back
			}
		}
		for slot := range slots {
			n := 0
			for i := slot; i < len(model) && model[i]; i += 32 {
				n++
			}
			if got := b.span(int64(slot)*512, 100, true); got != min(n, 100) {
				t.Fatalf("%d chunks from start %d are present, want %d", got, slot, n)
			}
			n = 0
			for i := slot; i < len(model) && !model[i]; i += 32 {
				n++
			}
			if got := b.span(int64(slot)*512, 60, false); got != min(n, 60) && slot+32*n < len(model) {
				t.Fatalf("%d chunks from start %d are absent, want %d", got, slot, n)
			}
		}
	}
}

func FuzzEntry(f *testing.F) {
	var secret [32]byte
	g := segment{no: 3, stamp: 77, flags: flagProbe}
	f.Add(appendKey(nil, Key{1}, 3), g.appendValue(nil, &secret, Key{1}), false)
	g.set(3, 7)
	g.set(9, 1<<40)
	f.Add(appendKey(nil, Key{1}, 3), g.appendValue(nil, &secret, Key{1}), false)
	f.Add(appendKey(nil, Key{2}, 1<<22), []byte{1, 2, 3, 4, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, true)
	f.Fuzz(func(t *testing.T, key, value []byte, sign bool) {
		if sign && len(key) == keyLen && len(value) <= maxValue-macLen { // past the checksum
			value = appendMAC(bytes.Clone(value), 0, &secret, Key(key[:32]), binary.BigEndian.Uint32(key[32:]))
		}
		k, g, err := parseEntry(&secret, key, value)
		if err != nil {
			return
		}
		if !bytes.Equal(appendKey(nil, k, g.no), key) || !bytes.Equal(g.appendValue(nil, &secret, k), value) {
			t.Fatalf("%x = %x is written differently", key, value)
		}
		if g.count() > 2048 {
			t.Fatalf("%d chunks in a segment", g.count())
		}
	})
}

func FuzzGraph(f *testing.F) {
	good, err := os.ReadFile(filled(f, memDir(f), 80))
	if err != nil {
		f.Fatal(err)
	}
	good = good[:min(len(good), int(order.Uint64(good[pageHeader+40:]))*pageSize)]
	f.Add(good, uint32(0), uint64(0), true)
	f.Add(good, uint32(pageSize*3+8), uint64(1), true)
	f.Add(good[:2*pageSize], uint32(pageHeader+16), uint64(1), true)
	f.Fuzz(func(t *testing.T, file []byte, at uint32, word uint64, sums bool) {
		file = bytes.Clone(file)
		if int(at)+8 <= len(file) {
			order.PutUint64(file[at:], word)
		}
		for i := 0; sums && i < 2 && len(file) >= (i+1)*pageSize; i++ { // past the checksums
			m := file[i*pageSize+pageHeader:]
			order.PutUint64(m[56:], fnvSum(m[:56]))
		}
		visits := 0
		err := walkGraph(bytes.NewReader(file), int64(len(file)), func(bucket, key, value []byte) { visits++ })
		if visits > len(file)/pageElem+1 {
			t.Fatalf("%d visits of a file of %d bytes", visits, len(file))
		}
		if err != nil {
			return
		}
		// What passes, bbolt must be able to open, walk and write.
		path := filepath.Join(memDir(t), "x")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := exercise(path); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPageGraphNamesWhatIsWrong(t *testing.T) {
	path := filled(t, t.TempDir(), 100)
	good, _ := os.ReadFile(path)
	for name, tc := range map[string]struct {
		page, at int
		word     uint64
	}{
		"meta":      {0, pageHeader + 48, 1 << 40},
		"page id":   {2, 0, 99},
		"page type": {2, 8, 0x77},
		"element":   {2, pageHeader, 1 << 20},
	} {
		b := bytes.Clone(good)
		for p := tc.page; p < 2 || p < int(order.Uint64(good[pageHeader+40:])); p++ {
			order.PutUint64(b[p*pageSize+tc.at:], tc.word)
		}
		err := walkGraph(bytes.NewReader(b), int64(len(b)), func(_, _, _ []byte) {})
		if err == nil {
			t.Errorf("a damaged %s passes", name)
		} else if testing.Verbose() {
			fmt.Println(name+":", err)
		}
	}
}
