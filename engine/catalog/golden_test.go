package catalog

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/floefs/floe/merkle"
)

// goldenEntries are few and short enough to be read in hex.
func goldenEntries() []Entry {
	h := func(c byte) (h merkle.Hash) { copy(h[:], bytes.Repeat([]byte{c}, 32)); return h }
	return []Entry{
		{Name: "a", Mode: 0o644, Sec: 1, Size: 5, Root: h(0xaa), At: 512},
		{Name: "b", Mode: 0o600, Sec: -1, Nsec: 2, Size: 2 << 20, Root: h(0xbb), At: 1 << 20, Sum: h(0xb5), First: 2, Links: 2,
			Holes: Holes{Inline: []merkle.Hole{{Start: 1, Count: 1}}}},
		{Name: "c", Type: Dir, Mode: 0o755, Size: 100, Root: h(0xcc), At: 0, Entries: 3, Files: 2, Bytes: 300,
			Xattrs: Xattrs{Inline: []Xattr{{"user.k", []byte("v")}}}},
		{Name: "d", Type: Symlink, Mode: 0o777, Target: "a"},
		{Name: "e", Type: Dir, Mode: 0o700},
		{Name: "f", Mode: 0o444, Size: 3 << 20, Root: h(0xff), At: 1024, Sum: h(0xf5),
			Holes:  Holes{Out: Extent{Size: 1025, Root: h(0xf0), At: 2048}},
			Xattrs: Xattrs{Out: Extent{Size: 1026, Root: h(0xf1), At: 4096}}},
		{Name: "g"},
	}
}

const goldenPage = "" +
	"00" + "00" + "0700" + "0100000000000000" + // leaf, 7 records, the first has number 1
	"1a00" + "4200" + "9700" + "cd00" + "d500" + "dc00" + "6f01" + // where they begin
	"0161" + "00" + "a401" + "02" + // a: number +0, file 0644, second 1
	"05" + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" + "01" +
	"0162" + "01" + "8039" + "01" + "02000000" + // b: nanoseconds, group, holes; 0600; second -1
	"80808001" + "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" + "8010" +
	"b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5" + "01" + "02" + "02" + "0101" +
	"0163" + "02" + "ed43" + "00" + // c: directory 0755, xattrs
	"64" + "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc" + "00" + "03" + "02" + "ac02" +
	"09" + "06757365722e6b" + "0176" +
	"0164" + "06" + "ff05" + "00" + "01" + "61" + // d: number +6, symlink 0777
	"0165" + "07" + "c003" + "00" + "00" + // e: directory 0700, empty
	"0166" + "08" + "2461" + "00" + // f: holes and xattrs out of line
	"8080c001" + "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff" + "02" +
	"f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5" +
	"00" + "8108" + "f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0" + "04" +
	"00" + "8208" + "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1" + "08" +
	"0167" + "09" + "0000" + "00" + "00" // g: empty file 0000

// goldenIndex is the root of the table of 1000 entries of bigTable.
const goldenIndex = "" +
	"01" + "00" + "0400" + "0100000000000000" + "0000000000000000" + // level 1, 4 children from page 0 on
	"1c00" + "2900" + "3700" + "4500" + // where their records begin
	"0b" + "66696c6530303030303030" + "00" + // file0000000, number +0
	"0b" + "66696c6530303030323638" + "8c02" + // file0000268, number +268
	"0b" + "66696c6530303030353334" + "9604" +
	"0b" + "66696c6530303030383030" + "a006"

const goldenHeader = "" +
	"464c4f4544415441" + "01000000" + "00100000" + "00400000" + // FLOEDATA, version 1, 4096, 16384
	"6400" + "0000" + // 100 shards
	"0000000400000000" + "0300000000000000" + "0000000000000000" + // B 64 MiB, 3 blobs, no lists
	"3b00" + "ed4b" + "80c49fd50c" + "07000000" + // root of 59 bytes: directory 0755 with xattrs; time
	"64" + "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc" + "00" + "03" + "02" + "ac02" +
	"09" + "06757365722e6b" + "0176"

// goldenTable is the BLAKE3 of that whole table.
const goldenTable = "75c823373d0a8d08abbbbcc381820045f11b6356abbbb9111b18f99a8e1fb297"

func TestGolden(t *testing.T) {
	m := mustBuild(t, 1, goldenEntries()...)
	if got := hex.EncodeToString(m.data); got != goldenPage {
		t.Errorf("page is\n%s, must stay\n%s", got, goldenPage)
	}
	want := goldenEntries()
	number := uint64(2)
	for i, e := range list(t, m.Table, 0) {
		if want[i] = filled(want[i], number); !reflect.DeepEqual(e, want[i]) {
			t.Errorf("entry %d is %+v, want %+v", i, e, want[i])
		}
		number += e.span()
	}
}

func TestGoldenIndex(t *testing.T) {
	m := bigTable(t, 1000)
	if got := hashOf(string(m.data)).String(); got != goldenTable {
		t.Errorf("table hashes to %s, must stay %s", got, goldenTable)
	}
	if got := hex.EncodeToString(m.data[(Pages(m.Dir.Size)-1)*PageSize:]); got != goldenIndex {
		t.Errorf("index is\n%s, must stay\n%s", got, goldenIndex)
	}
}

func TestGoldenHeader(t *testing.T) {
	root := goldenEntries()[2]
	root.Name, root.Sec, root.Nsec = "", 1700000000, 7
	h := Header{BlobSize: 64 << 20, Shards: 100, Blobs: 3, Root: root}
	data, err := AppendHeader(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	used := bytes.TrimRight(data, "\x00")
	if got := hex.EncodeToString(used); got != goldenHeader {
		t.Errorf("header is\n%s, must stay\n%s", got, goldenHeader)
	}
	h.Root = filled(root, RootNumber)
	if got, err := ParseHeader(data, HeaderSize+3*RecordSize); err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("header is %+v, %v; want %+v", got, err, h)
	}
}
