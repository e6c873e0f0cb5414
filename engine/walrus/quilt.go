package walrus

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// # FORMAT: quilt, version 1
//
// A quilt is a blob of exactly K1*K2*s bytes in which files occupy whole
// columns of the matrix, that is secondary slivers. What is written to a column
// continues in the next one; the rest of the last one is zero. From column 0
// on:
//
//	01    version
//	u32   bytes of the index
//	uleb  number of patches, each a file, and for each
//	      u16   end: the column after its last
//	      uleb  length, and its identifier in UTF-8
//	      map   of its tags, strings to strings
//
// The first patch starts at the column after the index, every other one where
// the one before it ends. From its first column on:
//
//	01    version
//	u32   bytes that follow the next one
//	u8    mask: bit 0 says that there are tags
//	u16   bytes of the identifier as it is written here
//	uleb  length, and the identifier
//	u16   bytes of the tags as they are written here, and the map of tags; if
//	      there are any
//	      data of the file
//
// Encoders write patches sorted by the bytes of their identifiers, at most
// K2-1 of them, and an index of at most 10 columns. The official TypeScript
// encoder sorts by UTF-16 units instead, so no order is demanded of others.
//
// A patch id is the 32-byte blob id of the quilt, 01, u16 first column and u16
// end; as text, unpadded base64url of 50 characters.
//
// TestOfficialQuilts proves encoder, index and ids.

const (
	quiltVersion    = 1
	quiltPrefix     = 5 // bytes before the index
	quiltMaxIndex   = 10
	patchPrefix     = 6 // bytes before the size of the identifier
	patchHasTags    = 1
	leastPatchEntry = 4 // bytes of the shortest patch in an index
)

// A Patch is a file of a quilt: where it lies, and how it is called.
type Patch struct {
	Identifier string
	Tags       map[string]string
	Start, End int // columns [Start, End)
}

// CheckIdentifier reports if no file of a quilt may be called s. Encoders ask
// for that; readers meet other identifiers too.
func CheckIdentifier(s string) error {
	switch {
	case s == "":
		return errors.New("identifier is empty")
	case len(appendBytes(nil, s)) >= math.MaxUint16:
		return fmt.Errorf("identifier of %d bytes is too long", len(s))
	case !utf8.ValidString(s):
		return fmt.Errorf("identifier %q is not UTF-8", s)
	case strings.TrimRightFunc(s, unicode.IsSpace) != s:
		return fmt.Errorf("identifier %q ends in white space", s)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("identifier %q contains control characters", s)
	}
	return nil
}

// QuiltIndexLen returns how many bytes and columns the index of a quilt takes,
// from the front of column 0. The error says that the blob is no quilt.
func (p Params) QuiltIndexLen(column []byte) (size, columns int, err error) {
	if p.Size != p.capacity(p.Symbol) {
		return 0, 0, fmt.Errorf("no quilt: %d bytes do not fill the matrix", p.Size)
	}
	if len(column) < quiltPrefix || column[0] != quiltVersion {
		return 0, 0, errors.New("no quilt: it does not start with version 1")
	}
	n := quiltPrefix + uint64(binary.LittleEndian.Uint32(column[1:]))
	if limit := min(quiltMaxIndex, p.K2) * p.SliverLen(Secondary); n > uint64(limit) {
		return 0, 0, fmt.Errorf("no quilt: index of %d bytes, at most %d", n, limit)
	}
	return int(n), ceilDiv(int(n), p.SliverLen(Secondary)), nil
}

// ParseQuiltIndex returns the patches of a quilt in their order, from the
// columns that hold its index, joined. Identifiers are unique, but perhaps none
// that CheckIdentifier accepts.
func (p Params) ParseQuiltIndex(columns []byte) ([]Patch, error) {
	size, start, err := p.QuiltIndexLen(columns)
	if err != nil {
		return nil, err
	}
	if len(columns) < size {
		return nil, fmt.Errorf("index of a quilt: %d bytes of %d", len(columns), size)
	}
	d := decoder{rest: columns[quiltPrefix:size]}
	patches := make([]Patch, d.count(p.K2-1, leastPatchEntry))
	seen := make(map[string]bool, len(patches))
	for i := range patches {
		// The sizes of both are u16 in the patch's header.
		x := Patch{Start: start, End: d.u16()}
		d.atMost(math.MaxUint16, func() { x.Identifier = d.string() })
		d.atMost(math.MaxUint16, func() { x.Tags = d.tags() })
		switch {
		case d.err != nil:
		case x.End <= x.Start || x.End > p.K2:
			d.fail("%q in columns %d to %d of %d", x.Identifier, x.Start, x.End, p.K2)
		case seen[x.Identifier]:
			d.fail("two patches are called %q", x.Identifier)
		}
		seen[x.Identifier] = true
		patches[i], start = x, x.End
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("index of a quilt: %w", err)
	}
	return patches, nil
}

// atMost fails if what read takes is longer than n bytes.
func (d *decoder) atMost(n int, read func()) {
	before := len(d.rest)
	read()
	if taken := before - len(d.rest); taken > n && d.err == nil {
		d.fail("%d bytes where at most %d may be", taken, n)
	}
}

// string returns a string of a quilt, where no longer ones may be.
func (d *decoder) string() string {
	b := d.bytes(math.MaxUint16)
	if !utf8.Valid(b) {
		d.fail("string %q is not UTF-8", b)
		return ""
	}
	return string(b)
}

// tags returns nil if there are none.
func (d *decoder) tags() map[string]string {
	n := d.count(math.MaxUint16/2, 2)
	if n == 0 {
		return nil
	}
	tags := make(map[string]string, n)
	var last []byte
	for range n {
		k, v := d.string(), d.string()
		key := appendBytes(nil, k)
		if d.err == nil && last != nil && bytes.Compare(last, key) >= 0 {
			d.fail("tag %q out of order", k)
		}
		if d.err != nil {
			return nil
		}
		tags[k], last = v, key
	}
	return tags
}

func appendTags(b []byte, tags map[string]string) []byte {
	keys := slices.SortedFunc(maps.Keys(tags), func(x, y string) int {
		return bytes.Compare(appendBytes(nil, x), appendBytes(nil, y))
	})
	b = uleb(b, uint32(len(keys)))
	for _, k := range keys {
		b = appendBytes(appendBytes(b, k), tags[k])
	}
	return b
}

// appendQuiltIndex appends the index that starts column 0.
func appendQuiltIndex(b []byte, patches []Patch) []byte {
	index := uleb(nil, uint32(len(patches)))
	for _, x := range patches {
		index = binary.LittleEndian.AppendUint16(index, uint16(x.End))
		index = appendTags(appendBytes(index, x.Identifier), x.Tags)
	}
	b = binary.LittleEndian.AppendUint32(append(b, quiltVersion), uint32(len(index)))
	return append(b, index...)
}

// header returns what the columns of x start with. Its length has room for
// size bytes of data.
func (x Patch) header(size int) []byte {
	identifier := appendBytes(nil, x.Identifier)
	b := []byte{quiltVersion, 0, 0, 0, 0, 0}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(identifier)))
	b = append(b, identifier...)
	if len(x.Tags) > 0 {
		tags := appendTags(nil, x.Tags)
		b[5] = patchHasTags
		b = binary.LittleEndian.AppendUint16(b, uint16(len(tags)))
		b = append(b, tags...)
	}
	binary.LittleEndian.PutUint32(b[1:], uint32(len(b)-patchPrefix+size))
	return b
}

// HeaderLen returns how many bytes of the patch's columns precede its data.
func (x Patch) HeaderLen() int { return len(x.header(0)) }

// DataSize returns the bytes of the file, which follow the header in the
// patch's columns. It takes the header, which must agree with the index.
func (x Patch) DataSize(p Params, header []byte) (int, error) {
	want := x.header(0)
	if len(header) < len(want) {
		return 0, fmt.Errorf("patch %q: %d bytes of its header, %d needed", x.Identifier, len(header), len(want))
	}
	header = header[:len(want)]
	n := int64(binary.LittleEndian.Uint32(header[1:])) - int64(len(want)-patchPrefix)
	if room := (x.End-x.Start)*p.SliverLen(Secondary) - len(want); n < 0 || n > int64(room) {
		return 0, fmt.Errorf("patch %q: %d bytes of data in room for %d", x.Identifier, n, room)
	}
	if !bytes.Equal(header, x.header(int(n))) {
		return 0, fmt.Errorf("patch %q: its header does not agree with the index", x.Identifier)
	}
	return int(n), nil
}

// InColumn returns where byte at of column c is in the blob: the inverse of
// Column. The column's bytes follow one another there for count bytes, to the
// end of the symbol.
func (p Params) InColumn(c, at int) (off uint64, count int) {
	row, inSymbol := at/p.Symbol, at%p.Symbol
	return uint64(row*p.K2+c)*uint64(p.Symbol) + uint64(inSymbol), p.Symbol - inSymbol
}

// A PatchID names a file of a quilt.
type PatchID struct {
	Quilt      BlobID
	Start, End int // columns [Start, End)
}

// String returns id in unpadded base64url, 50 characters.
func (id PatchID) String() string {
	b := append(id.Quilt[:], quiltVersion)
	b = binary.LittleEndian.AppendUint16(b, uint16(id.Start))
	b = binary.LittleEndian.AppendUint16(b, uint16(id.End))
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParsePatchID is the inverse of String for columns that a patch may have, and
// accepts nothing else.
func ParsePatchID(s string) (PatchID, error) {
	var id PatchID
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil && len(b) == 37 {
		d := decoder{rest: b[copy(id.Quilt[:], b)+1:]}
		id.Start, id.End = d.u16(), d.u16()
		if id.Start < id.End && id.String() == s {
			return id, nil
		}
	}
	return PatchID{}, fmt.Errorf("%q is no quilt patch id: want 50 characters of base64url", s)
}

// ID returns the name of patch x of a quilt.
func (x Patch) ID(quilt BlobID) PatchID { return PatchID{quilt, x.Start, x.End} }

func ceilDiv(a, b int) int { return (a + b - 1) / b }
