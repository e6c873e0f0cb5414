package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func someHeader() Header {
	return Header{BlobSize: 1 << 20, Shards: 1000, Blobs: 20, Root: Entry{
		Type: Dir, Mode: 0o755, Sec: 1700000000, Size: 100, Root: hashOf("root"), At: 512, Entries: 9, Files: 8, Bytes: 1000,
		Xattrs: Xattrs{Inline: []Xattr{{"user.note", bytes.Repeat([]byte{'x'}, 1000)}}},
	}}
}

func mustHeader(t testing.TB, h Header) []byte {
	t.Helper()
	data, err := AppendHeader(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestHostileHeadersAreRefused(t *testing.T) {
	good := mustHeader(t, someHeader())
	root := int(binary.LittleEndian.Uint16(good[48:]))
	for _, c := range []struct {
		what    string
		at      int
		v       []byte
		refused string
	}{
		{"good", 0, nil, ""},
		{"magic", 0, []byte("f"), "not a dataset"},
		{"version 0", 8, []byte{0}, "version 0"},
		{"version 2", 8, []byte{2}, "version 2"},
		{"version 257", 9, []byte{1}, "version 257"},
		{"header size", 12, []byte{1}, "header of 4097"},
		{"chunk size", 16, []byte{1}, "chunks of"},
		{"no shards", 20, []byte{0, 0}, "no shards"},
		{"reserved", 22, []byte{1}, "reserved"},
		{"no blob size", 24, make([]byte, 8), "blob size"},
		{"blob size off by one", 24, []byte{1}, "blob size"},
		{"blob size too large", 24, []byte{0, 0, 0, 0, 0, 2, 0, 0}, "blob size"},
		{"blob size max", 24, bytes.Repeat([]byte{255}, 8), "blob size"},
		{"no blobs", 32, []byte{0}, "outside"},
		{"other blobs", 32, []byte{21}, "for 21 records"},
		{"too many blobs", 32, []byte{0, 0, 0, 0, 0, 0, 0, 1}, "too many"},
		{"negative blobs", 32, bytes.Repeat([]byte{255}, 8), "too many"},
		{"blobs that need lists", 32, []byte{0, 0, 1}, "must be"},
		{"lists without need", 40, []byte{1}, "must be 0"},
		{"root empty", 48, []byte{0, 0}, "padding"},
		{"root cut", 48, []byte{byte(root - 1), byte((root - 1) >> 8)}, "padding"},
		{"root longer", 48, []byte{byte(root + 1), byte((root + 1) >> 8)}, "left over"},
		{"root beyond the header", 48, []byte{255, 255}, "too early"},
		{"root a file", 50, []byte{0, 0}, "top directory"},
		{"root outside", 50 + 2 + 5 + 1 + 32, []byte{0xff, 0xff, 0x7f}, "top directory"},
		{"padding", HeaderSize - 1, []byte{1}, "padding"},
	} {
		data := slices.Clone(good)
		copy(data[c.at:], c.v)
		_, err := ParseHeader(data, HeaderSize+20*RecordSize)
		if c.refused == "" && err != nil {
			t.Errorf("%s: %v, want it accepted", c.what, err)
		}
		if c.refused != "" && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: error %v, want one about %q", c.what, err, c.refused)
		}
	}
	for n := range int64(HeaderSize) {
		if _, err := ParseHeader(good[:n], HeaderSize+20*RecordSize); !errors.Is(err, ErrMalformed) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	for _, size := range []int64{-1, 0, HeaderSize, HeaderSize + 20*RecordSize - 1, HeaderSize + 20*RecordSize + 1, math.MaxInt64} {
		if _, err := ParseHeader(good, size); !errors.Is(err, ErrMalformed) {
			t.Errorf("in a blob of %d bytes: %v", size, err)
		}
	}
}

func TestHeaderOfAnEmptyDataset(t *testing.T) {
	h := Header{BlobSize: 64 << 20, Shards: 4, Root: Entry{Type: Dir, Mode: 0o700}}
	got, err := ParseHeader(mustHeader(t, h), HeaderSize)
	h.Root = filled(h.Root, RootNumber)
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("%+v, %v; want %+v", got, err, h)
	}
}

func TestAppendHeaderRefusesWhatReadersWould(t *testing.T) {
	for what, edit := range map[string]func(*Header){
		"blob size": func(h *Header) { h.BlobSize++ },
		"shards":    func(h *Header) { h.Shards = 0 },
		"2^16":      func(h *Header) { h.Shards = 1 << 16 },
		"blobs":     func(h *Header) { h.Blobs = -1 },
		"no blobs":  func(h *Header) { h.Blobs = 0 },
		"file":      func(h *Header) { h.Root = Entry{} },
		"name":      func(h *Header) { h.Root.Name = "x" },
		"number":    func(h *Header) { h.Root.Number = 2 },
		"mode":      func(h *Header) { h.Root.Mode = 0o7777 },
		"outside":   func(h *Header) { h.Root.At = 20 << 20 },
	} {
		h := someHeader()
		edit(&h)
		if _, err := AppendHeader(nil, h); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

// TestListsHoldEveryRecordOnce follows RecordAt through blob tables that
// just fit, just do not, and are as long as they can be.
func TestListsHoldEveryRecordOnce(t *testing.T) {
	const size = 1 << 14
	direct, each := int64((size-HeaderSize)/RecordSize), int64(size/RecordSize)
	for _, blobs := range []int64{0, 1, direct, direct + 1, each, each + 1, 3 * each, direct*each - 1, direct * each} {
		lists, err := ListsFor(blobs, size)
		if err != nil {
			t.Fatal(err)
		}
		if (lists == 0) != (blobs <= direct) {
			t.Errorf("%d blobs take %d lists", blobs, lists)
		}
		h := Header{BlobSize: size, Blobs: blobs, Lists: lists}
		if end := h.ListAt(h.Records()); end > size {
			t.Errorf("%d blobs: header blob of %d bytes", blobs, end)
		}
		var list, off, total int64 = -1, HeaderSize, 0
		if lists > 0 {
			list, off = 0, 0
			for i := range lists {
				if s := h.ListSize(i); s <= 0 || s > size {
					t.Errorf("%d blobs: list %d of %d bytes", blobs, i, s)
				}
				total += h.ListSize(i)
			}
			if total != blobs*RecordSize {
				t.Errorf("%d blobs: lists of %d bytes", blobs, total)
			}
		}
		for i := range blobs {
			if lists > 0 && off == h.ListSize(list) {
				list, off = list+1, 0
			}
			if l, o := h.RecordAt(i); l != list || o != off {
				t.Fatalf("record %d of %d is at %d of list %d, want %d of %d", i, blobs, o, l, off, list)
			}
			off += RecordSize
		}
	}
	if n, err := ListsFor(direct*each+1, size); err == nil {
		t.Errorf("one blob too many takes %d lists", n)
	}
	if n, err := ListsFor(math.MaxInt64/(64<<20)+1, 64<<20); err == nil {
		t.Errorf("more blobs than positions take %d lists", n)
	}
}

func TestBlobRecords(t *testing.T) {
	h := Header{BlobSize: 1 << 14, Blobs: 1000, Lists: 3}
	r := BlobRecord{ID: hashOf("id"), Size: 1 << 14}
	data := AppendRecord(nil, r)
	if got, err := ParseRecord(data); err != nil || got != r || h.CheckBlob(got) != nil {
		t.Errorf("%v, %v; want %v", got, err, r)
	}
	for _, size := range []int64{0, -1, 1<<14 + 1, MaxBlobSize + 1} {
		r.Size = size
		got, err := ParseRecord(AppendRecord(nil, r))
		if err == nil {
			err = h.CheckBlob(got)
		}
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("blob of %d bytes: %v", size, err)
		}
	}
	for _, data := range [][]byte{nil, data[:39], append(data, 0)} {
		if _, err := ParseRecord(data); !errors.Is(err, ErrMalformed) {
			t.Errorf("record of %d bytes: %v", len(data), err)
		}
	}
	for i, size := range []int64{409 * 40, 409 * 40, 182 * 40} {
		if err := h.CheckList(int64(i), BlobRecord{Size: size}); err != nil {
			t.Error(err)
		}
		if err := h.CheckList(int64(i), BlobRecord{Size: size - 40}); !errors.Is(err, ErrMalformed) {
			t.Errorf("list %d cut: %v", i, err)
		}
	}
}

func TestExtentsLieInTheAddressSpace(t *testing.T) {
	h := Header{BlobSize: 1 << 20, Blobs: 3}
	for _, x := range [][2]int64{{0, 0}, {0, 3 << 20}, {512, 1}, {3 << 20, 0}, {3<<20 - 512, 512}} {
		if err := h.CheckExtent(x[0], x[1]); err != nil {
			t.Error(err)
		}
	}
	for _, x := range [][2]int64{{-512, 1}, {1, 1}, {0, -1}, {0, 3<<20 + 1}, {3 << 20, 1}, {3<<20 + 512, 0}, {512, math.MaxInt64}, {math.MaxInt64 - 511, 1 << 20}} {
		if err := h.CheckExtent(x[0], x[1]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes at %d: %v", x[1], x[0], err)
		}
	}
}
