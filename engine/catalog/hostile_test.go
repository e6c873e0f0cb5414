package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/floefs/floe/merkle"
)

// A field is one field of a record as a hostile publisher writes it: this
// file encodes on its own, not with what it tests.
type field struct {
	name string
	data []byte
}

type fields []field

func (f fields) bytes() []byte {
	var b []byte
	for _, x := range f {
		b = append(b, x.data...)
	}
	return b
}

// with returns f with one field replaced.
func (f fields) with(name string, data ...byte) fields {
	f = slices.Clone(f)
	i := slices.IndexFunc(f, func(x field) bool { return x.name == name })
	if i < 0 {
		panic("no field " + name)
	}
	f[i].data = data
	return f
}

// without returns f less one field.
func (f fields) without(name string) fields {
	return f.with(name)
}

func uv(v uint64) []byte { return binary.AppendUvarint(nil, v) }
func le(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }

var someHash = bytes.Repeat([]byte{0x5a}, 32)

// A file with everything a file can have.
func rawFile() fields {
	return fields{
		{"namelen", []byte{3}}, {"name", []byte("abc")}, {"number", []byte{0}},
		{"word", le(0o644 | hasNsec | hasGroup | hasHoles | hasXattrs)},
		{"sec", uv(10)}, {"nsec", []byte{1, 0, 0, 0}},
		{"size", uv(8 << 20)}, {"root", someHash}, {"at", uv(4)}, {"sum", someHash},
		{"distance", uv(3)}, {"links", uv(2)},
		{"holeslen", uv(4)}, {"hole0", []byte{1, 2}}, {"hole1", []byte{1, 3}},
		{"xattrslen", uv(20)},
		{"xattr0", []byte("\x06user.a\x02vv")}, {"xattr1", []byte("\x06user.b\x02ww")},
	}
}

func rawDir() fields {
	return fields{
		{"namelen", []byte{3}}, {"name", []byte("abc")}, {"number", []byte{0}},
		{"word", le(0o755 | 1<<typeShift)}, {"sec", uv(10)},
		{"size", uv(100)}, {"root", someHash}, {"at", uv(4)},
		{"entries", uv(3)}, {"files", uv(2)}, {"bytes", uv(77)},
	}
}

func rawSymlink() fields {
	return fields{
		{"namelen", []byte{3}}, {"name", []byte("abc")}, {"number", []byte{0}},
		{"word", le(0o777 | 2<<typeShift | hasXattrs)}, {"sec", uv(10)},
		{"targetlen", uv(2)}, {"target", []byte("to")},
		{"xattrslen", uv(0)}, {"listsize", uv(1025)}, {"listroot", someHash}, {"listat", uv(9)},
	}
}

// rawPage returns an only leaf page of records.
func rawPage(first uint64, records ...[]byte) []byte {
	b := []byte{0, 0}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(records)))
	b = binary.LittleEndian.AppendUint64(b, first)
	at := len(b) + 2*len(records)
	for _, r := range records {
		b = binary.LittleEndian.AppendUint16(b, uint16(at))
		at += len(r)
	}
	return append(b, bytes.Join(records, nil)...)
}

// parseOnly parses data as the only page of directory 10 with these totals,
// in an address space of 16 MiB.
func parseOnly(data []byte, entries, files, sum uint64) (*Page, error) {
	dir := Entry{Number: 10, Type: Dir, Size: int64(len(data)), Entries: entries, Files: files, Bytes: sum}
	return ParsePage(chunkOf(data), &dir, 16<<20, RootBound(&dir))
}

func TestHostileRecordsAreRefused(t *testing.T) {
	file, dir, link := rawFile(), rawDir(), rawSymlink()
	huge := uv(math.MaxUint64)
	for _, c := range []struct {
		what    string
		record  fields
		refused string // "" if it must be accepted
	}{
		{"file", file, ""},
		{"directory", dir, ""},
		{"symlink", link, ""},

		{"no name", file.with("namelen", 0).without("name"), "name is empty"},
		{"name .", file.with("namelen", 1).with("name", '.'), "name is ."},
		{"name ..", file.with("namelen", 2).with("name", '.', '.'), "name is ."},
		{"name ...", file.with("namelen", 3).with("name", '.', '.', '.'), ""},
		{"name with slash", file.with("name", 'a', '/', 'b'), "'/' or NUL"},
		{"name with NUL", file.with("name", 'a', 0, 'b'), "'/' or NUL"},
		{"name of control bytes", file.with("name", '\n', 0x1b, 0xff), ""},
		{"name of 255 bytes", file.with("namelen", 255).with("name", bytes.Repeat([]byte{'n'}, 255)...), ""},
		{"name longer than the page", file.with("namelen", 255), ""}, // refused, see below

		{"number not the next", file.with("number", 1), "number"},
		{"number max", file.with("number", huge...), "number"},
		{"number not minimal", file.with("number", 0x80, 0), "shortest"},

		{"reserved bit", file.with("word", le(0o644|hasNsec|hasGroup|hasHoles|hasXattrs|reserved)...), "reserved"},
		{"type 3", file.with("word", le(0o644|3<<typeShift)...), "unknown type"},
		{"directory with group", dir.with("word", le(0o755|1<<typeShift|hasGroup)...), "no file"},
		{"directory with holes", dir.with("word", le(0o755|1<<typeShift|hasHoles)...), "no file"},
		{"symlink with group", link.with("word", le(0o777|2<<typeShift|hasXattrs|hasGroup)...), "no file"},

		{"second 2^40", file.with("sec", uv(zigzag(1<<40))...), ""},
		{"second -2^40", file.with("sec", uv(zigzag(-1<<40))...), ""},
		{"second 2^40+1", file.with("sec", uv(zigzag(1<<40+1))...), "2^40"},
		{"second -2^40-1", file.with("sec", uv(zigzag(-1<<40-1))...), "2^40"},
		{"second least", file.with("sec", huge...), "2^40"},
		{"no nanoseconds, but said so", file.with("nsec", 0, 0, 0, 0), "nanoseconds"},
		{"nanosecond 1e9", file.with("nsec", 0x00, 0xca, 0x9a, 0x3b), "nanoseconds"},
		{"nanosecond max", file.with("nsec", 0xff, 0xff, 0xff, 0xff), "nanoseconds"},

		{"size beyond", file.with("size", uv(MaxSize+1)...), "size"},
		{"size max", file.with("size", huge...), "size"},
		{"size 2^63", file.with("size", uv(1<<63)...), "size"},
		{"size most, space less", file.with("size", uv(MaxSize)...), "outside"},
		{"size 0 with root", file.with("size", 0), ""}, // refused, see below
		{"size over 64 bits", file.with("size", 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2), "shortest"},
		{"position beyond space", file.with("at", uv(16<<20/512)...), "outside"},
		{"position most", file.with("at", uv(math.MaxInt64/512)...), "outside"},
		{"position over 63 bits", file.with("at", uv(math.MaxInt64/512+1)...), "position"},
		{"position max", file.with("at", huge...), "position"},

		{"first link is the top directory", file.with("distance", uv(10)...), "hard link"},
		{"first link is 2", file.with("distance", uv(9)...), ""},
		{"first link is 0", file.with("distance", uv(11)...), "hard link"},
		{"first link far before", file.with("distance", huge...), "hard link"},
		{"one link", file.with("links", 1), "links"},
		{"no links", file.with("links", 0), "links"},
		{"2^32 links", file.with("links", uv(1<<32)...), "links"},
		{"2^32-1 links", file.with("links", uv(1<<32-1)...), ""},

		{"empty hole", file.with("hole0", 1, 0), "length of hole"},
		{"holes that touch", file.with("hole1", 0, 3), "touches"},
		{"hole beyond the end", file.with("hole1", 1, 5), "length of hole"},
		{"hole behind the end", file.with("hole1", 9, 1), "distance to hole"},
		{"holes to the end", file.with("hole1", 1, 4), ""},
		{"hole max", file.with("hole1", huge...).with("holeslen", 12), "distance to hole"},
		{"holes cut short", file.with("hole1", 1).with("holeslen", 3), "too early"},
		{"list of holes beyond the record", file.with("holeslen", uv(1000)...), "too early"},
		{"inline list over 1 KiB", file.with("holeslen", uv(1025)...), "inline list"},

		{"xattr of another namespace", file.with("xattr0", []byte("\x06root.a\x02vv")...), "user namespace"},
		{"xattr without a name", file.with("xattr0", []byte("\x05user.\x02vvv")...), "user namespace"},
		{"xattr of ours", file.with("xattr0", []byte("\x0buser.floe.x\x02vv")...).with("xattrslen", 25), "reserved"},
		{"xattr name with NUL", file.with("xattr0", []byte("\x06user.\x00\x02vv")...), "NUL"},
		{"xattrs repeat", file.with("xattr1", []byte("\x06user.a\x02ww")...), "repeats"},
		{"xattrs out of order", file.with("xattr1", []byte("\x06user.A\x02ww")...), "out of order"},
		{"xattr value beyond the list", file.with("xattr1", []byte("\x06user.b\x03ww")...), "too early"},
		{"xattr length not minimal", file.with("xattr1", []byte("\x06user.b\x82\x00w")...), "shortest"},

		{"table without entries", dir.with("entries", 0), "entries"},
		{"entries beyond", dir.with("entries", uv(1<<62+1)...), "entries"},
		{"entries max", dir.with("entries", huge...), "entries"},
		{"one entry more", dir.with("entries", 4), "reach beyond"},
		{"one entry less", dir.with("entries", 2), "numbers end"},
		{"files more than entries", dir.with("files", 4), "files"},
		{"files more than the directory", dir.with("files", 3), "more than the directory's"},
		{"files fewer than the directory", dir.with("files", 1), "must be"},
		{"bytes more than the directory", dir.with("bytes", 78), "more than the directory's"},
		{"bytes max", dir.with("bytes", huge...), "in 2 files"},
		{"bytes without files", dir.with("files", 0), "bytes in 0 files"},
		{"table too large for its entries", dir.with("size", uv(10<<20)...), "for 3 entries"},
		{"size of table max", dir.with("size", huge...), "size of table"},
		{"table outside", dir.with("at", uv(1<<40)...), "outside"},

		{"empty target", link.with("targetlen", 0).without("target"), "length of target"},
		{"target with NUL", link.with("target", 'x', 0), "NUL"},
		{"target of 4095", link.with("targetlen", uv(4095)...).with("target", bytes.Repeat([]byte{'t'}, 4095)...), ""},
		{"target of 4096", link.with("targetlen", uv(4096)...).with("target", bytes.Repeat([]byte{'t'}, 4096)...), "length of target"},
		{"list out of line that fits inline", link.with("listsize", uv(1024)...), "length of list"},
		{"list out of line too long", link.with("listsize", uv(64<<10+1)...), "length of list"},
		{"list out of line at most", link.with("listsize", uv(64<<10)...), ""},
		{"list outside", link.with("listat", uv(32768)...), "outside"},
	} {
		raw := c.record.bytes()
		entries, files, sum := uint64(1), uint64(1), uint64(8<<20)
		switch {
		case c.record[3].data[1]&6 == 2:
			entries, files, sum = 4, 2, 77
		case c.record[3].data[1]&6 == 4:
			files, sum = 0, 0
		}
		_, err := parseOnly(rawPage(1, raw), entries, files, sum)
		switch {
		case strings.Contains(c.what, "longer than the page"), strings.Contains(c.what, "size 0 with root"):
			// Everything behind is read at the wrong place; any reason will do.
			if err == nil {
				t.Errorf("%s: accepted", c.what)
			}
		case c.refused == "" && err != nil:
			t.Errorf("%s: %v, want it accepted", c.what, err)
		case c.refused != "" && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: error %v, want one about %q", c.what, err, c.refused)
		}
	}
}

// TestEveryFieldCorrupted damages each field of each kind of record in every
// simple way: what is accepted all the same must be a record of its own.
func TestEveryFieldCorrupted(t *testing.T) {
	accepted, refused := 0, 0
	for kind, f := range []fields{rawFile(), rawDir(), rawSymlink()} {
		totals := [][3]uint64{{1, 1, 8 << 20}, {4, 2, 77}, {1, 0, 0}}[kind]
		for i := range f {
			for _, v := range variants(f, i) {
				data := rawPage(1, v.bytes())
				p, err := parseOnly(data, totals[0], totals[1], totals[2])
				if err != nil {
					if !errors.Is(err, ErrMalformed) {
						t.Errorf("%s: %v is not ErrMalformed", f[i].name, err)
					}
					refused++
					continue
				}
				accepted++
				if again := reencode(t, p, false); !bytes.Equal(again, data) {
					t.Errorf("%s as %x: accepted, but encodes differently:\n%x\n%x", f[i].name, v[i].data, data, again)
				}
			}
		}
	}
	if accepted < 20 || refused < 200 {
		t.Errorf("%d accepted, %d refused: not what this test was made for", accepted, refused)
	}
}

func variants(f fields, i int) []fields {
	x := f[i].data
	put := func(b ...byte) fields { return f.with(f[i].name, b...) }
	vs := []fields{
		put(), put(make([]byte, len(x))...), put(bytes.Repeat([]byte{0xff}, len(x))...), put(bytes.Repeat([]byte{0x7f}, len(x))...),
		put(x[1:]...), put(x[:len(x)-1]...), put(append(slices.Clone(x), 0)...), put(append(slices.Clone(x), x...)...),
		put(append(bytes.Repeat([]byte{0x80}, 9), 1)...), put(append(bytes.Repeat([]byte{0xff}, 9), 1)...), put(append(bytes.Repeat([]byte{0xff}, 9), 2)...),
		put(bytes.Repeat([]byte{0x80}, 11)...), put(0x80, 0),
	}
	for _, d := range []byte{1, 0xff, 0x80, 0x40, 2} {
		for k := range x {
			y := slices.Clone(x)
			y[k] += d
			vs = append(vs, put(y...))
		}
	}
	if i+1 < len(f) {
		y := slices.Clone(f)
		y[i], y[i+1] = y[i+1], y[i]
		vs = append(vs, y)
	}
	cut := slices.Clone(f)
	for k := i; k < len(f); k++ {
		cut[k].data = nil
	}
	return append(vs, cut)
}

// reencode encodes what a page was parsed to.
func reencode(t testing.TB, p *Page, full bool) []byte {
	b := pageBuffer{level: p.level, child: p.child, first: p.bound.From}
	for i := range p.Len() {
		if !p.Leaf() {
			b.add(indexRecord{string(p.name(i)), p.Child(i).From}.append(nil, b.first))
			continue
		}
		e := p.Entry(i)
		rec, err := appendRecord(nil, &e, e.Number-p.dir-b.first, false)
		if err != nil {
			t.Fatalf("entry %d was accepted but cannot be encoded: %v", i, err)
		}
		b.add(rec)
	}
	return b.page(full)
}

// small returns a record for an empty file.
func small(name string, delta byte) []byte {
	return append([]byte{byte(len(name))}, append([]byte(name), delta, 0, 0, 0, 0)...)
}

func TestHostilePagesAreRefused(t *testing.T) {
	good := rawPage(1, small("a", 0), small("b", 1), small("c", 2))
	edit := func(at int, v ...byte) []byte {
		b := slices.Clone(good)
		copy(b[at:], v)
		return b
	}
	for _, c := range []struct {
		what    string
		data    []byte
		refused string
	}{
		{"good", good, ""},
		{"nothing", nil, "0 bytes"},
		{"only a header", good[:12], "3 records"},
		{"cut", good[:len(good)-1], "too early"},
		{"longer", append(slices.Clone(good), 0), "left over"},
		{"too long", make([]byte, PageSize+1), "bytes in a table"},
		{"level 1", edit(0, 1), "level"},
		{"level 255", edit(0, 255), "level"},
		{"reserved byte", edit(1, 1), "reserved"},
		{"no records", edit(2, 0, 0), "0 records"},
		{"one record less", edit(2, 2, 0), "first record at"},
		{"one record more", edit(2, 4, 0), "first record at"},
		{"65535 records", edit(2, 255, 255), "65535 records"},
		{"first number 0", edit(4, 0), "first number"},
		{"first number 2", edit(4, 2), "first number"},
		{"first number max", edit(4, 255, 255, 255, 255, 255, 255, 255, 255), "first number"},
		{"first offset off by one", edit(12, 19), "first record at"},
		{"offset off by one", edit(14, good[14]+1), "entry 0: 1 bytes left over"},
		{"offset repeats", edit(14, good[12]), "record 1 at byte"},
		{"offset goes back", edit(16, good[14]-1), "record 2 at byte"},
		{"offset outside", edit(16, 255, 255), "record 2 at byte"},
		{"names out of order", rawPage(1, small("b", 0), small("a", 1), small("c", 2)), "entry 1: name repeats or is out of order"},
		{"names repeat", rawPage(1, small("a", 0), small("b", 1), small("b", 2)), "entry 2: name repeats or is out of order"},
		{"names in order of text, not bytes", rawPage(1, small("a", 0), small("B", 1), small("c", 2)), "out of order"},
		{"numbers repeat", rawPage(1, small("a", 0), small("b", 1), small("c", 1)), "entry 2: number"},
		{"numbers leave a gap", rawPage(1, small("a", 0), small("b", 1), small("c", 3)), "entry 2: number"},
		{"an entry more than the directory has", rawPage(1, small("a", 0), small("b", 1), small("c", 2), small("d", 3)), "reach beyond"},
		{"an entry less than the directory has", rawPage(1, small("a", 0), small("b", 1)), "numbers end"},
	} {
		dir := Entry{Number: 1, Type: Dir, Size: int64(len(c.data)), Entries: 3, Files: 3}
		if len(c.data) == 0 {
			dir.Size = 100
		}
		_, err := ParsePage(chunkOf(c.data), &dir, 0, RootBound(&dir))
		if c.refused == "" && err != nil {
			t.Errorf("%s: %v, want it accepted", c.what, err)
		}
		if c.refused != "" && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: error %v, want one about %q", c.what, err, c.refused)
		}
	}
}

// TestHostileTotalsOverflow has two directories whose numbers, files or bytes
// only fit because a sum wraps around.
func TestHostileTotalsOverflow(t *testing.T) {
	record := func(name byte, delta, entries, files, sum uint64) []byte {
		return rawDir().with("name", 'a', 'b', name).with("number", uv(delta)...).
			with("entries", uv(entries)...).with("files", uv(files)...).with("bytes", uv(sum)...).bytes()
	}
	if _, err := parseOnly(rawPage(1, record('a', 0, 3, 2, 1<<63), record('b', 4, 3, 2, 1<<63)), 8, 4, 0); err == nil {
		t.Error("bytes that wrap around were accepted")
	}
	if _, err := parseOnly(rawPage(1, record('a', 0, 1<<62, 2, 1), record('b', 1<<62+1, 1<<62, 2, 1)), 1<<62, 4, 2); err == nil {
		t.Error("entries beyond the directory were accepted")
	}
	for _, dir := range []Entry{{Number: 0, Entries: 1}, {Number: 1, Entries: MaxEntries + 1}, {Number: MaxEntries + 2, Entries: 1}} {
		data := rawPage(1, small("a", 0))
		dir.Size = int64(len(data))
		if _, err := ParsePage(chunkOf(data), &dir, 0, Bound{From: 1, To: 2, Level: -1}); err == nil {
			t.Errorf("directory %d of %d entries was accepted", dir.Number, dir.Entries)
		}
	}
}

func TestHostileTablesAreRefused(t *testing.T) {
	good := longTable(t, 10_000)
	pages := Pages(good.Dir.Size)
	root := (pages - 1) * PageSize
	index1 := root // first page of level 1
	for good.data[index1-PageSize] == 1 {
		index1 -= PageSize
	}
	replace := func(b []byte, old, new string) { copy(b, bytes.Replace(b, []byte(old), []byte(new), 1)) }
	firstLeaf := int(binary.LittleEndian.Uint16(good.data[2:])) // entries of the first leaf
	second := fmt.Sprintf("name%07d", firstLeaf)                // the name the second begins with
	for _, c := range []struct {
		what    string
		edit    func(data []byte, dir *Entry)
		refused string
	}{
		{"good", func([]byte, *Entry) {}, ""},
		{"two leaves change places", func(d []byte, _ *Entry) {
			a := slices.Clone(d[:PageSize])
			copy(d, d[PageSize:2*PageSize])
			copy(d[PageSize:], a)
		}, "first number"},
		{"a leaf twice", func(d []byte, _ *Entry) { copy(d[PageSize:2*PageSize], d[:PageSize]) }, "first number"},
		{"a leaf where an index belongs", func(d []byte, _ *Entry) { copy(d[index1:index1+PageSize], d[:PageSize]) }, "level"},
		{"an index where a leaf belongs", func(d []byte, _ *Entry) { copy(d[:PageSize], d[index1:index1+PageSize]) }, "level"},
		{"the root's children elsewhere", func(d []byte, _ *Entry) { d[root+12]-- }, "children are"},
		{"the root its own child", func(d []byte, _ *Entry) { d[root+12]++ }, "children are"},
		{"children far away", func(d []byte, _ *Entry) { d[root+19] = 0xff }, "children are"},
		{"two parents of one leaf", func(d []byte, _ *Entry) { copy(d[index1+PageSize+12:], d[index1+12:index1+20]) }, "first n"},
		{"an index one page off", func(d []byte, _ *Entry) { d[index1+12]++ }, "first n"},
		{"a level too many", func(d []byte, _ *Entry) { d[root]++ }, "level"},
		{"level 9", func(d []byte, _ *Entry) { d[root] = 9 }, "level"},
		{"level 0 at the root", func(d []byte, _ *Entry) { d[root] = 0 }, "level"},
		{"a name in the root", func(d []byte, _ *Entry) {
			bytes.NewBuffer(d[root:root]).Write(bytes.Replace(d[root:], []byte("name0000000"), []byte("name000000."), 1))
		}, "first name"},
		{"a name in an index", func(d []byte, _ *Entry) {
			replace(d[index1:index1+PageSize], second, fmt.Sprintf("name%07d", firstLeaf-1))
		}, "next page's"},
		{"padding", func(d []byte, _ *Entry) { d[PageSize-1] = 1 }, "padding"},
		{"an entry more", func(_ []byte, dir *Entry) { dir.Entries++ }, "reach"},
		{"an entry less", func(_ []byte, dir *Entry) { dir.Entries-- }, "reach beyond"},
		{"a file more", func(_ []byte, dir *Entry) { dir.Files++ }, "files of"},
		{"a file less", func(_ []byte, dir *Entry) { dir.Files-- }, "more than"},
		{"a byte more", func(_ []byte, dir *Entry) { dir.Bytes++ }, "files of"},
		{"a byte less", func(_ []byte, dir *Entry) { dir.Bytes-- }, "more than"},
	} {
		data, dir := slices.Clone(good.data), good.Dir
		c.edit(data, &dir)
		m := newMemTable(dir, data)
		var err error
		for _, e := range m.Verify(t.Context()) {
			err = e
		}
		want := c.refused
		if c.what == "an entry more" {
			want = "numbers end"
		}
		if want == "" && err != nil {
			t.Errorf("%s: %v, want it accepted", c.what, err)
		}
		if want != "" && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v, want one about %q", c.what, err, want)
		}
	}
}

// TestUnusedPagesAreFoundByVerify has pages that no index page names, which
// readers do not come across.
func TestUnusedPagesAreFoundByVerify(t *testing.T) {
	m := bigTable(t, 1000)
	last := (Pages(m.Dir.Size) - 1) * PageSize
	data := slices.Clone(m.data[:last])
	data = append(data, make([]byte, PageSize)...)
	data = append(data, m.data[last:]...)
	// The root's children now end right before it, and so begin one later.
	copy(data[PageSize:], m.data[:last])
	data[int(last)+PageSize+12]++
	dir := m.Dir
	dir.Size += PageSize
	h := newMemTable(dir, data)
	if got := list(t, h.Table, 0); len(got) != 1000 {
		t.Errorf("%d entries", len(got))
	}
	var err error
	for _, err = range h.Verify(t.Context()) {
	}
	if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "not in use") {
		t.Errorf("Verify: %v", err)
	}
}

// TestCheckedPagesAreCheckedForEachParent has what is true of a page in one
// directory be false in another with the same bytes.
func TestCheckedPagesAreCheckedForEachParent(t *testing.T) {
	m := mustBuild(t, 10, Entry{Name: "a"}, Entry{Name: "l", First: 5, Links: 2})
	m.Checked = NewChecked(1 << 20)
	if got := list(t, m.Table, 0); len(got) != 2 {
		t.Fatal(got)
	}
	for what, edit := range map[string]func(*Entry){
		"entries": func(e *Entry) { e.Entries++ },
		"files":   func(e *Entry) { e.Files++ },
		"bytes":   func(e *Entry) { e.Bytes++ },
		"number":  func(e *Entry) { e.Number = 4 },
	} {
		other := m.Table
		edit(&other.Dir)
		if _, err := other.Lookup(t.Context(), "a"); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s differs: %v", what, err)
		}
	}
	other := m.Table
	other.Dir.Number = 100
	e, err := other.Lookup(t.Context(), "l")
	if err != nil || e.Number != 102 || e.First != 95 {
		t.Errorf("number %d, first %d, %v", e.Number, e.First, err)
	}
}

func TestBuilderRefusesWhatReadersWould(t *testing.T) {
	ok := Entry{Name: "m", Size: 1, Root: hashOf("m"), At: 512}
	for what, edit := range map[string]func(*Entry){
		"name":            func(e *Entry) { e.Name = "a/b" },
		"long name":       func(e *Entry) { e.Name = strings.Repeat("n", 256) },
		"order":           func(e *Entry) { e.Name = "a" },
		"repeat":          func(e *Entry) { e.Name = "b" },
		"type":            func(e *Entry) { e.Type = 3 },
		"mode":            func(e *Entry) { e.Mode = 0o1000 },
		"nsec":            func(e *Entry) { e.Nsec = 1e9 },
		"sec":             func(e *Entry) { e.Sec = MaxTime + 1 },
		"size":            func(e *Entry) { e.Size = -1 },
		"size too large":  func(e *Entry) { e.Size = MaxSize + 1 },
		"position":        func(e *Entry) { e.At = 513 },
		"negative":        func(e *Entry) { e.At = -512 },
		"root of nothing": func(e *Entry) { e.Size, e.At = 0, 0 },
		"sum":             func(e *Entry) { e.Sum = hashOf("other") },
		"target":          func(e *Entry) { e.Target = "t" },
		"no target":       func(e *Entry) { *e = Entry{Name: "m", Type: Symlink} },
		"first":           func(e *Entry) { e.First = 5 },
		"first later":     func(e *Entry) { e.First, e.Links = 99, 2 },
		"first is root":   func(e *Entry) { e.First, e.Links = 1, 2 },
		"number":          func(e *Entry) { e.Number = 99 },
		"totals":          func(e *Entry) { e.Files = 1 },
		"holes":           func(e *Entry) { e.Holes.Inline = []merkle.Hole{{Start: 0, Count: 1}} },
		"holes short":     func(e *Entry) { e.Size, e.Holes.Out = 2<<20, Extent{Size: 1024} },
		"holes nowhere":   func(e *Entry) { e.Holes.Out.At = 512 },
		"xattr":           func(e *Entry) { e.Xattrs.Inline = []Xattr{{"security.capability", nil}} },
		"xattrs twice":    func(e *Entry) { e.Xattrs.Inline = []Xattr{{"user.a", nil}, {"user.a", nil}} },
		"xattrs too long": func(e *Entry) { e.Xattrs.Inline = []Xattr{{"user.a", make([]byte, 1024)}} },
		"xattrs both": func(e *Entry) {
			e.Xattrs = Xattrs{Inline: []Xattr{{"user.a", nil}}, Out: Extent{Size: 2000}}
		},
		"directory's totals":  func(e *Entry) { *e = Entry{Name: "m", Type: Dir, Entries: 1} },
		"directory's files":   func(e *Entry) { *e = Entry{Name: "m", Type: Dir, Size: 50, Entries: 1, Files: 2} },
		"directory's entries": func(e *Entry) { *e = Entry{Name: "m", Type: Dir, Size: 50, Entries: MaxEntries} },
		"directory's sum":     func(e *Entry) { *e = Entry{Name: "m", Type: Dir, Sum: hashOf("x")} },
	} {
		b := NewTable(&bytes.Buffer{}, 10)
		if _, err := b.Add(Entry{Name: "b"}); err != nil {
			t.Fatal(err)
		}
		e := ok
		edit(&e)
		if _, err := b.Add(e); err == nil {
			t.Errorf("%s: accepted", what)
		}
		if _, err := b.Finish(); err == nil {
			t.Errorf("%s: Finish after an error succeeded", what)
		}
	}
	if n, err := NewTable(&bytes.Buffer{}, 10).Add(ok); err != nil || n != 11 {
		t.Errorf("the entry all of these are made of: %d, %v", n, err)
	}
}

func TestParsingAllocatesLittle(t *testing.T) {
	m := bigTable(t, 1000)
	c := chunkOf(m.data[:PageSize])
	root, err := ParsePage(chunkOf(m.data[(Pages(m.Dir.Size)-1)*PageSize:]), &m.Dir, testSpace, RootBound(&m.Dir))
	if err != nil {
		t.Fatal(err)
	}
	b := root.Child(0)
	if n := testing.AllocsPerRun(100, func() { ParsePage(c, &m.Dir, testSpace, b) }); n > 2 {
		t.Errorf("checking a page makes %v allocations", n)
	}
	// 2^62 holes or xattrs promised, none there.
	for _, data := range [][]byte{{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40}, bytes.Repeat([]byte{0}, 1000)} {
		if n := testing.AllocsPerRun(100, func() { ParseHoles(data, MaxSize); ParseXattrs(data) }); n > 20 {
			t.Errorf("%v allocations for %d bytes", n, len(data))
		}
	}
}
