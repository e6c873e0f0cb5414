package walrus

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// What the official TypeScript encoder makes of files.
type quiltVector struct {
	N     int `json:"n_shards"`
	Files []struct {
		Identifier string
		Seed       uint32
		Size       int
		Tags       map[string]string
	}
	Len         int    `json:"quilt_len"`
	SHA256      string `json:"quilt_sha256"`
	IndexLen    int    `json:"index_bcs_len"`
	IndexSHA256 string `json:"index_bcs_sha256"`
	Index       string `json:"index_bcs_hex"`
	Patches     []struct {
		Identifier string
		Start, End int
		ID         string `json:"patch_id"`
	}
	Blob blobVector
}

func (v quiltVector) files() []QuiltFile {
	var files []QuiltFile
	for _, f := range v.Files {
		files = append(files, QuiltFile{f.Identifier, f.Tags, vectorBlob(f.Seed, f.Size)})
	}
	return files
}

func TestOfficialQuilts(t *testing.T) {
	for _, v := range mustVectors(t).Quilts {
		t.Run(fmt.Sprintf("%d files on %d shards", len(v.Files), v.N), func(t *testing.T) {
			files := v.files()
			quilt, patches, err := EncodeQuilt(v.N, files)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "bytes", len(quilt), v.Len)
			equal(t, "quilt", sha(quilt), v.SHA256)
			index := appendQuiltIndex(nil, patches)[quiltPrefix:]
			equal(t, "bytes of the index", len(index), v.IndexLen)
			equal(t, "index", sha(index), v.IndexSHA256)
			if v.Index != "" {
				equal(t, "index", hex.EncodeToString(index), v.Index)
			}

			enc, err := mustEncoder(t, v.N).Encode(t.Context(), quilt, v.N)
			if err != nil {
				t.Fatal(err)
			}
			compareGeometry(t, v.Blob, enc.Params)
			compareID(t, v.Blob, enc.ID)
			compareMetadata(t, v.Blob, enc)
			compareSlivers(t, v.Blob, enc)

			equal(t, "patches", len(patches), len(v.Patches))
			for i, x := range patches {
				want := v.Patches[i]
				equal(t, "identifier", x.Identifier, want.Identifier)
				equal(t, "start of "+x.Identifier, x.Start, want.Start)
				equal(t, "end of "+x.Identifier, x.End, want.End)
				equal(t, "id of "+x.Identifier, x.ID(enc.ID).String(), want.ID)
				if id, err := ParsePatchID(want.ID); err != nil || id != x.ID(enc.ID) {
					t.Errorf("parsing %s: %v, %v", want.ID, id, err)
				}
			}
			readBack(t, enc, files)
		})
	}
}

// readBack reads all files as a reader does: from secondary slivers.
func readBack(t *testing.T, enc *Encoded, files []QuiltFile) {
	t.Helper()
	p := enc.Params
	columns := func(from, to int) []byte {
		var b []byte
		for c := from; c < to; c++ {
			b = append(b, enc.Sliver(SliverID{Secondary, c})...)
		}
		return b
	}
	_, n, err := p.QuiltIndexLen(columns(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	patches, err := p.ParseQuiltIndex(columns(0, n))
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Patch{}
	for _, x := range patches {
		byName[x.Identifier] = x
	}
	equal(t, "patches", len(patches), len(files))
	for _, f := range files {
		x, ok := byName[f.Identifier]
		if !ok {
			t.Fatalf("no patch is called %q", f.Identifier)
		}
		if !maps.Equal(x.Tags, f.Tags) {
			t.Errorf("tags of %q: %v, want %v", x.Identifier, x.Tags, f.Tags)
		}
		b := columns(x.Start, x.End)
		size, err := x.DataSize(p, b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b[x.HeaderLen():][:size], f.Data) {
			t.Errorf("%q: wrong bytes", x.Identifier)
		}
	}
}

func TestRandomQuiltsAreReadBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 60 {
		n := 4 + r.IntN(40)
		p := mustParams(t, n, 0)
		var files []QuiltFile
		for i := range 1 + r.IntN(p.K2-1) {
			f := QuiltFile{Identifier: fmt.Sprintf("%s%d", strings.Repeat("ä", r.IntN(70)), i), Data: vectorBlob(uint32(i+1), r.IntN(1<<r.IntN(14)))}
			for j := range r.IntN(4) {
				if f.Tags == nil {
					f.Tags = map[string]string{}
				}
				f.Tags[strings.Repeat("k", j*50)] = strings.Repeat("v", r.IntN(200))
			}
			files = append(files, f)
		}
		quilt, _, err := EncodeQuilt(n, files)
		if err != nil {
			t.Fatal(err)
		}
		enc, err := mustEncoder(t, n).Encode(t.Context(), quilt, 0)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "bytes", uint64(len(quilt)), enc.Params.capacity(enc.Params.Symbol))
		readBack(t, enc, files)
	}
}

func TestEncodeQuiltRefusesWhatReadersCannotRead(t *testing.T) {
	file := func(identifier string) QuiltFile { return QuiltFile{Identifier: identifier, Data: []byte("x")} }
	for name, files := range map[string][]QuiltFile{
		"no files":        nil,
		"too many":        {file("a"), file("b"), file("c")},
		"twice":           {file("a"), file("a")},
		"empty":           {file("")},
		"white space":     {file("a\u2003")},
		"control":         {file("a\x7fb")},
		"C1 control":      {file("a\u0081b")},
		"not UTF-8":       {file("a\xff")},
		"too long":        {file(strings.Repeat("a", 65532))},
		"too many tags":   {{Identifier: "a", Tags: map[string]string{"k": strings.Repeat("v", 65530)}}},
		"tag not UTF-8":   {{Identifier: "a", Tags: map[string]string{"k": "\xff"}}},
		"too large":       {{Identifier: "a", Data: make([]byte, 4*MaxSymbol)}},
		"identifier long": {file(strings.Repeat("a", 65535))},
	} {
		if _, _, err := EncodeQuilt(4, files); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
	for _, good := range []string{"a", " a", "über uns.txt", ".x", "a/b", strings.Repeat("a", 65531)} {
		if err := CheckIdentifier(good); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := EncodeQuilt(3, []QuiltFile{file("a")}); err == nil {
		t.Error("quilt for 3 shards encoded")
	}
}

func TestHostileQuiltsAreRefused(t *testing.T) {
	p := mustParams(t, 7, 3*5*100) // K1 = 3, K2 = 5
	entry := func(end int, rest string) string { return fmt.Sprintf("%02x%02x", end&255, end>>8) + rest }
	index := func(s string) []byte {
		b := mustHex(t, s)
		return append([]byte{1, byte(len(b)), byte(len(b) >> 8), 0, 0}, b...)
	}
	const a, b = "0161" + "00", "0162" + "00" // without tags
	if got, err := p.ParseQuiltIndex(index("02" + entry(3, b) + entry(5, a))); err != nil || len(got) != 2 || got[1].Start != 3 {
		t.Fatalf("got %v, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"empty":          {},
		"version":        {0, 1, 0, 0, 0, 0},
		"longer index":   {1, 0xFF, 0xFF, 0xFF, 0xFF, 0},
		"cut off":        index("02" + entry(3, b))[:8],
		"too many":       index("05" + entry(1, a) + entry(2, a) + entry(3, a) + entry(4, a) + entry(5, a)),
		"no columns":     index("01" + entry(1, a)),
		"backwards":      index("02" + entry(4, a) + entry(3, b)),
		"beyond the end": index("01" + entry(6, a)),
		"twice":          index("02" + entry(2, a) + entry(3, a)),
		"not UTF-8":      index("01" + entry(2, "01ff00")),
		"long count":     index("8100" + entry(2, a)),
		"bytes follow":   index("01" + entry(2, a) + "00"),
		"tags unsorted":  index("01" + entry(2, "0161"+"02"+"0162"+"00"+"0161"+"00")),
		"tag twice":      index("01" + entry(2, "0161"+"02"+"0161"+"00"+"0161"+"00")),
		"tags missing":   index("01" + entry(2, "0161"+"02"+"0161"+"00")),
	} {
		if got, err := p.ParseQuiltIndex(bad); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	large, long := mustParams(t, 7, 3*5*60000), strings.Repeat("a", 65533)
	for name, x := range map[string]Patch{
		"identifier": {Identifier: long, End: 5},
		"tags":       {Identifier: "a", Tags: map[string]string{"k": long[:40000], "l": long[:30000]}, End: 5},
	} {
		if _, err := large.ParseQuiltIndex(appendQuiltIndex(nil, []Patch{x})); err == nil {
			t.Errorf("%s longer than a header can say", name)
		}
	}
	odd := mustParams(t, 7, 3*5*100-1)
	if _, _, err := odd.QuiltIndexLen(index("00")); err == nil {
		t.Error("a blob that does not fill its matrix is a quilt")
	}

	x := Patch{Identifier: "a", Tags: map[string]string{"k": "v"}, Start: 1, End: 2}
	good := x.header(280)
	if n, err := x.DataSize(p, good); err != nil || n != 280 {
		t.Fatalf("got %d, %v", n, err)
	}
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 0x80
		if n, err := x.DataSize(p, bad); err == nil && (at < 1 || at > 4 || n > 300-len(good)) {
			t.Errorf("byte %d of a header altered: %d bytes of data", at, n)
		}
	}
	for _, bad := range [][]byte{good[:len(good)-1], nil, x.header(300 - len(good) + 1), x.header(-1)} {
		if n, err := x.DataSize(p, bad); err == nil {
			t.Errorf("%x: %d bytes of data", bad, n)
		}
	}
}

func TestColumnsLeadBackToTheBlob(t *testing.T) {
	p := mustParams(t, 13, 4097)
	for off := range uint64(4097) {
		c, at, count := p.Column(off)
		if back, n := p.InColumn(c, at); back != off || n != count {
			t.Fatalf("byte %d is byte %d of column %d, which is byte %d", off, at, c, back)
		}
	}
}

func TestPatchIDsHaveOneSpelling(t *testing.T) {
	const good = "nfm76HBBycqDqaP9eXBhWCm00d3UV2j0IxD-qT54nYYBAQADAA"
	id, err := ParsePatchID(good)
	if err != nil || id.String() != good {
		t.Fatalf("got %v, %v", id, err)
	}
	backwards, empty := PatchID{id.Quilt, 3, 1}, PatchID{id.Quilt, 3, 3}
	for _, bad := range []string{"", good[1:], good + "A", good + "==", good[:49] + "B", good[:43], good[:25] + "\n" + good[25:],
		good[:42] + "YC" + good[44:], strings.Replace(good, "-", "+", 1), backwards.String(), empty.String()} {
		if id, err := ParsePatchID(bad); err == nil {
			t.Errorf("%q parsed as %v", bad, id)
		}
	}
}

func FuzzParseQuiltIndex(f *testing.F) {
	_, patches, err := EncodeQuilt(10, []QuiltFile{
		{Identifier: "z"}, {"a", map[string]string{"b": "1", "aa": "2", "": ""}, []byte("x")}, {Identifier: "über"},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendQuiltIndex(nil, patches))
	f.Add(appendQuiltIndex(nil, nil))
	f.Add([]byte{1, 5, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F})
	f.Add([]byte{1, 9, 0, 0, 0, 1, 2, 0, 1, 'a', 0xFF, 0xFF, 3, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := mustParams(t, 10, 4*7*1000)
		patches, err := p.ParseQuiltIndex(b)
		if err != nil {
			return
		}
		again := appendQuiltIndex(nil, patches)
		if !bytes.HasPrefix(b, again) {
			t.Fatalf("%x parsed, but is written as %x", b, again)
		}
		for _, x := range patches {
			if x.Start < 1 || x.End <= x.Start || x.End > p.K2 {
				t.Fatalf("%q in columns %d to %d", x.Identifier, x.Start, x.End)
			}
			room := (x.End-x.Start)*p.SliverLen(Secondary) - x.HeaderLen()
			if n, err := x.DataSize(p, x.header(max(room, 0))); (err == nil) != (room >= 0) || err == nil && n != room {
				t.Fatalf("%q: %d of %d bytes, %v", x.Identifier, n, room, err)
			}
		}
		if back, err := p.ParseQuiltIndex(again); err != nil || !reflect.DeepEqual(back, patches) {
			t.Fatalf("%v, then %v, %v", patches, back, err)
		}
	})
}

func FuzzParsePatchID(f *testing.F) {
	f.Add("nfm76HBBycqDqaP9eXBhWCm00d3UV2j0IxD-qT54nYYBAQADAA")
	f.Add(PatchID{Start: 1, End: 1}.String())
	f.Add(PatchID{Start: 0, End: 65535}.String())
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParsePatchID(s)
		if err == nil && (id.String() != s || len(s) != 50 || id.Start >= id.End) {
			t.Fatalf("%q parsed as %v, written as %q", s, id, id)
		}
	})
}
