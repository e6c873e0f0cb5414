package catalog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/floefs/floe/merkle"
)

func malformed(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrMalformed) {
		t.Fatalf("%v is not ErrMalformed", err)
	}
}

// padded returns data filled up with zeros, which are no work for the fuzzer.
func padded(data []byte, size int) []byte {
	return append(bytes.Clone(data), make([]byte, max(0, size-len(data)))...)
}

// FuzzPage parses any bytes as a page of a directory with any totals. What is
// accepted encodes to the same bytes, and everything in it is found.
func FuzzPage(f *testing.F) {
	golden, _ := hex.DecodeString(goldenPage)
	for _, e := range [][]Entry{goldenEntries(), someEntries()} {
		m := mustBuild(f, 10, e...)
		f.Add(m.data, m.Dir.Number, m.Dir.Entries, m.Dir.Files, m.Dir.Bytes, int8(-1), uint64(1), m.Dir.Entries+1, uint8(0), uint8(0), "", "")
	}
	f.Add(golden, uint64(1), uint64(10), uint64(5), uint64(1)<<20, int8(0), uint64(1), uint64(11), uint8(1), uint8(1), "a", "h")
	big := longTable(f, 500)
	last := Pages(big.Dir.Size) - 1
	f.Add(bytes.TrimRight(big.data[:PageSize], "\x00"), uint64(1), big.Dir.Entries, big.Dir.Files, big.Dir.Bytes, int8(0), uint64(1), uint64(54), uint8(0), uint8(last), "", "")
	f.Add(big.data[last*PageSize:], uint64(1), big.Dir.Entries, big.Dir.Files, big.Dir.Bytes, int8(-1), uint64(1), big.Dir.Entries+1, uint8(last), uint8(0), "", "")
	f.Fuzz(func(t *testing.T, data []byte, number, entries, files, sum uint64, level int8, from, to uint64, page, more uint8, lo, hi string) {
		if more > 0 {
			data = padded(data, PageSize)
		}
		dir := Entry{Number: number, Type: Dir, Entries: entries, Files: files, Bytes: sum}
		dir.Size = int64(page)*PageSize + int64(len(data)) + int64(more)*PageSize
		bound := Bound{Page: int64(page), Level: int(level), From: from, To: to}
		if lo != "" {
			bound.lo = []byte(lo)
		}
		if hi != "" {
			bound.hi = []byte(hi)
		}
		p, err := ParsePage(chunkOf(data), &dir, testSpace, bound)
		if err != nil {
			malformed(t, err)
			return
		}
		if again := reencode(t, p, more > 0); !bytes.Equal(again, data) {
			t.Fatalf("accepted, but encodes differently:\n%x\n%x", data, again)
		}
		next, before := from, lo
		for i := range p.Len() {
			if !p.Leaf() {
				b := p.Child(i)
				name := string(p.name(i))
				if b.From != next && i > 0 || b.From >= b.To || b.To > to || b.Page >= bound.Page || name < before {
					t.Fatalf("child %d: %+v", i, b)
				}
				if c, ok := p.ChildByName(name); !ok || !c.equal(&b) {
					t.Fatalf("child %d is not found by its name", i)
				}
				if c, ok := p.ChildByNumber(b.To - 1); !ok || !c.equal(&b) {
					t.Fatalf("child %d is not found by its last number", i)
				}
				next, before = b.To, name
				continue
			}
			e := p.Entry(i)
			if e.Number != number+next || e.Name < before || hi != "" && e.Name >= hi || e.Type == File && (e.First < 2 || e.First > e.Number) {
				t.Fatalf("entry %d: %+v", i, e)
			}
			if x, ok := p.Find(e.Name); !ok || !reflect.DeepEqual(x, e) {
				t.Fatalf("entry %d is not found by its name", i)
			}
			for _, n := range []uint64{next, next + e.Entries} {
				if x, ok := p.FindNumber(n); !ok || !reflect.DeepEqual(x, e) {
					t.Fatalf("entry %d is not found by number %d", i, n)
				}
			}
			if _, err := merkle.NewLayout(e.Size, e.Holes.Inline); err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
			next, before = next+e.span(), e.Name
		}
		if next != to {
			t.Fatalf("numbers end at %d, want %d", next, to)
		}
	})
}

// FuzzTable damages a table anywhere, then reads all of it: every number is
// one entry's only.
func FuzzTable(f *testing.F) {
	long := longTable(f, 4000)
	root := uint32(Pages(long.Dir.Size)-1) * PageSize
	for _, at := range []uint32{0, 2, 4, 12, 600, PageSize, root - 3*PageSize, root - PageSize + 12, root, root + 4, root + 12, root + 20, root + 40} {
		f.Add(at, []byte{1}, at, []byte{0})
	}
	f.Fuzz(func(t *testing.T, at uint32, xor []byte, at2 uint32, xor2 []byte) {
		data := bytes.Clone(long.data)
		for i, x := range xor {
			data[(int(at)+i)%len(data)] ^= x
		}
		for i, x := range xor2 {
			data[(int(at2)+i)%len(data)] ^= x
		}
		m := newMemTable(long.Dir, data)
		m.Checked = NewChecked(4 << 20)
		next, name, n := uint64(2), "", 0
		for e, err := range m.List(t.Context(), 0) {
			if err != nil {
				malformed(t, err)
				return
			}
			if e.Number != next || e.Name <= name {
				t.Fatalf("entry %q has number %d, want %d", e.Name, e.Number, next)
			}
			if n++; n%1000 == 0 {
				if x, err := m.Lookup(t.Context(), e.Name); err != nil || x.Number != e.Number {
					t.Fatalf("entry %q is listed, but Lookup says %d, %v", e.Name, x.Number, err)
				}
			}
			next, name = next+e.span(), e.Name
		}
		if next != long.Dir.Entries+2 {
			t.Fatalf("the list ends before %d", next)
		}
	})
}

// FuzzHeader: what is accepted encodes to the same bytes.
func FuzzHeader(f *testing.F) {
	lists := someHeader()
	lists.BlobSize, lists.Blobs = 1<<14, 1000
	lists.Root.Xattrs.Inline[0].Value = []byte("x")
	empty := Header{BlobSize: 64 << 20, Shards: 4, Root: Entry{Type: Dir}}
	for _, h := range []Header{someHeader(), lists, empty} {
		f.Add(bytes.TrimRight(mustHeader(f, h), "\x00"), int64(HeaderSize))
	}
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		data = padded(data, HeaderSize)
		if h, err := parseHeader(data); err == nil {
			size = HeaderSize + h.Records()*RecordSize // which hardly any input has
		}
		h, err := ParseHeader(data, size)
		if err != nil {
			malformed(t, err)
			return
		}
		again, err := AppendHeader(nil, h)
		if err != nil || !bytes.Equal(again, data[:HeaderSize]) {
			t.Fatalf("accepted, but encodes differently: %v\n%x\n%x", err, data, again)
		}
		if size > h.BlobSize || h.Space() < 0 {
			t.Fatalf("header blob of %d bytes, %+v", size, h)
		}
	})
}

// FuzzHoles: what is accepted encodes to the same bytes and makes a layout.
func FuzzHoles(f *testing.F) {
	f.Add([]byte{1, 2, 1, 3}, int64(8<<20))
	f.Add([]byte{0, 1}, int64(1<<20))
	f.Add([]byte{0, 1, 0, 1}, int64(4<<20))
	f.Add([]byte{0xff, 0xff, 0xff, 0x3f, 1}, int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		holes, err := ParseHoles(data, size)
		if err != nil {
			malformed(t, err)
			return
		}
		if again, err := EncodeHoles(holes, size); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("accepted, but encodes differently: %v\n%x\n%x", err, data, again)
		}
		if _, err := merkle.NewLayout(size, holes); err != nil {
			t.Fatalf("accepted, but makes no layout: %v", err)
		}
	})
}

// FuzzXattrs: what is accepted encodes to the same bytes.
func FuzzXattrs(f *testing.F) {
	f.Add([]byte("\x06user.a\x02vv\x06user.b\x00"))
	f.Add([]byte("\x06user.a\x02vv\x06user.a\x00"))
	f.Add([]byte("\x0buser.floe.x\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		xattrs, err := ParseXattrs(data)
		if err != nil {
			malformed(t, err)
			return
		}
		if again, err := EncodeXattrs(xattrs); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("accepted, but encodes differently: %v\n%x\n%x", err, data, again)
		}
	})
}

// FuzzHoleLists has EncodeHoles accept the holes that merkle does, no others.
func FuzzHoleLists(f *testing.F) {
	f.Add(int64(10<<20), int64(1), int64(2), int64(4), int64(6))
	f.Add(int64(10<<20), int64(0), int64(1), int64(1), int64(1))
	f.Add(int64(10<<20), int64(-1), int64(1), int64(5), int64(-1))
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MinInt64), int64(3))
	f.Fuzz(func(t *testing.T, size, s0, c0, s1, c1 int64) {
		holes := []merkle.Hole{{Start: s0, Count: c0}, {Start: s1, Count: c1}}
		_, want := merkle.NewLayout(size, holes)
		data, err := EncodeHoles(holes, size)
		if (err == nil) != (want == nil) {
			t.Fatalf("EncodeHoles: %v; NewLayout: %v", err, want)
		}
		if err != nil {
			return
		}
		if got, err := ParseHoles(data, size); err != nil || !reflect.DeepEqual(got, holes) {
			t.Fatalf("%v come back as %v, %v", holes, got, err)
		}
	})
}
