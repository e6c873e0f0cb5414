package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/floefs/floe/merkle"
)

// Bits of the word that holds mode and type.
const (
	typeShift = 9
	typeMask  = 3
	hasNsec   = 1 << 11
	hasGroup  = 1 << 12
	hasHoles  = 1 << 13
	hasXattrs = 1 << 14
	reserved  = 1 << 15
)

// A record is a leaf record taken apart, its numbers still relative and its
// slices still parts of the page. Taking one apart allocates nothing.
type record struct {
	Entry    // but for Name, Number, Target, First, inline holes and xattrs
	name     []byte
	delta    uint64 // own number less the page's
	distance uint64 // own number less the first link's
	target   []byte
	holes    []byte
	xattrs   []byte
}

// scan takes a record apart and checks all of it that can be checked without
// knowing the directory. The top directory's has no name and number.
func (r *record) scan(d *decoder, top bool) {
	*r = record{}
	if !top {
		r.name = d.bytes(uint64(d.u8()))
		r.delta = d.varint()
		if d.err == nil {
			d.check(checkName(r.name))
		}
	}
	word := d.u16()
	r.Type = Type(word >> typeShift & typeMask)
	r.Mode = word & MaxMode
	r.Links = 1
	r.Sec = unzigzag(d.varint())
	if r.Sec < -MaxTime || r.Sec > MaxTime {
		d.fail("modification time %d s is beyond 2^40", r.Sec)
	}
	if word&hasNsec != 0 {
		r.Nsec = d.u32()
		if r.Nsec == 0 || r.Nsec >= 1e9 {
			d.fail("%d nanoseconds are not within 1 to 999999999", r.Nsec)
		}
	}
	if word&reserved != 0 {
		d.fail("reserved bit is set")
	}
	if r.Type != File && word&(hasGroup|hasHoles) != 0 {
		d.fail("hard links or holes on an entry that is no file")
	}
	switch r.Type {
	case File:
		r.scanFile(d, word)
	case Dir:
		r.scanDir(d)
	case Symlink:
		r.target = d.bytes(d.limited("length of target", 1, MaxTarget))
		if bytes.IndexByte(r.target, 0) >= 0 {
			d.fail("target contains NUL")
		}
	default:
		d.fail("unknown type %d", r.Type)
	}
	if word&hasXattrs != 0 {
		r.xattrs, r.Xattrs.Out = d.list(MaxXattrs)
		d.check(checkXattrs(r.xattrs))
	}
}

func (r *record) scanFile(d *decoder, word uint16) {
	r.Size = int64(d.limited("size", 0, MaxSize))
	r.Root, r.Sum = merkle.EmptyRoot, merkle.EmptyRoot
	if r.Size > 0 {
		r.Root = d.hash()
		r.At = d.position()
		r.Sum = r.Root
	}
	if r.Size > merkle.ChunkSize {
		r.Sum = d.hash()
	}
	if word&hasGroup != 0 {
		r.distance = d.varint()
		r.Links = uint32(d.limited("number of links", 2, math.MaxUint32))
	}
	if word&hasHoles != 0 {
		r.holes, r.Holes.Out = d.list(MaxHoles)
		d.check(checkHoles(r.holes, r.Size))
		if d.err == nil && r.Size < merkle.HoleSize {
			d.fail("holes in a file of %d bytes", r.Size)
		}
	}
}

func (r *record) scanDir(d *decoder) {
	r.Root = merkle.EmptyRoot
	r.Size = int64(d.limited("size of table", 0, MaxSize))
	if r.Size == 0 {
		return
	}
	r.Root = d.hash()
	r.At = d.position()
	r.Entries = d.limited("entries", 1, MaxEntries)
	r.Files = d.limited("files", 0, r.Entries)
	r.Bytes = d.varint()
	// Each leaf page holds an entry, and no level has more pages than the one
	// below it.
	if d.err == nil && uint64(Pages(r.Size))/(maxLevel+1) > r.Entries {
		d.fail("table of %d bytes for %d entries", r.Size, r.Entries)
	}
	if d.err == nil && !plausibleBytes(r.Files, r.Bytes) {
		d.fail("%d bytes in %d files", r.Bytes, r.Files)
	}
}

// plausibleBytes reports whether so many files can hold so many bytes.
func plausibleBytes(files, bytes uint64) bool {
	hi, most := bits.Mul64(files, MaxSize)
	return hi > 0 || bytes <= most
}

// list takes a list that is inline or has a tree of its own.
func (d *decoder) list(most uint64) (inline []byte, out Extent) {
	n := d.limited("length of inline list", 0, MaxInline)
	if n > 0 || d.err != nil {
		return d.bytes(n), Extent{}
	}
	out.Size = int64(d.limited("length of list", MaxInline+1, most))
	out.Root = d.hash()
	out.At = d.position()
	return nil, out
}

func (d *decoder) check(err error) {
	if err != nil {
		d.failWith(err)
	}
}

// checkName says whether a directory can hold that name.
func checkName(name []byte) error {
	switch {
	case len(name) == 0:
		return errors.New("name is empty")
	case len(name) > MaxName:
		return fmt.Errorf("name of %d bytes is over %d", len(name), MaxName)
	case string(name) == "." || string(name) == "..":
		return errors.New("name is . or ..")
	case bytes.IndexByte(name, '/') >= 0 || bytes.IndexByte(name, 0) >= 0:
		return errors.New("name contains '/' or NUL")
	}
	return nil
}

// span is how many numbers the entry and everything below it take.
func (e *Entry) span() uint64 { return 1 + e.Entries }

// totals returns what the entry adds to the totals of its directory.
func (e *Entry) totals() (files, bytes uint64) {
	switch e.Type {
	case File:
		return 1, uint64(e.Size)
	case Dir:
		return e.Files, e.Bytes
	}
	return 0, 0
}

// checkSpace checks that everything the record names can lie within the
// address space [0, space). Whether a file with a list of holes out of line
// does is known once that list is read.
func (r *record) checkSpace(space int64) error {
	size := int64(0)
	switch {
	case r.Size == 0:
	case r.holes != nil:
		holes, err := ParseHoles(r.holes, r.Size)
		if err != nil {
			return err
		}
		lay, err := merkle.NewLayout(r.Size, holes)
		if err != nil {
			return err
		}
		size = lay.StoredSize()
	case r.Holes.Out.Size == 0:
		size = storedSize(r.Size)
	}
	return errors.Join(
		checkExtent("content", r.At, size, space),
		checkExtent("list of holes", r.Holes.Out.At, storedSize(r.Holes.Out.Size), space),
		checkExtent("list of xattrs", r.Xattrs.Out.At, storedSize(r.Xattrs.Out.Size), space))
}

// checkExtent checks that size bytes from at on lie within [0, space).
func checkExtent(what string, at, size, space int64) error {
	if at < 0 || size < 0 || at > space || size > space-at {
		return fmt.Errorf("%s of %d bytes at position %d is outside the dataset's %d bytes", what, size, at, space)
	}
	return nil
}

// storedSize is merkle.Layout.StoredSize of a tree without holes. It
// saturates.
func storedSize(size int64) int64 {
	end := uint64(size)
	shape := merkle.Shape{Size: size}
	for level, top := 1, shape.Top(); level <= top; level++ {
		end = (end+merkle.Align-1)/merkle.Align*merkle.Align + uint64(shape.LevelSize(level))
	}
	return int64(min(end, math.MaxInt64))
}

// entry returns the record as an Entry that refers to no page. The record
// must have been checked.
func (r *record) entry(number uint64) Entry {
	e := r.Entry
	e.Number = number
	e.First = number - r.distance
	e.Target = string(r.target)
	if r.holes != nil {
		e.Holes.Inline, _ = ParseHoles(r.holes, r.Size)
	}
	if r.xattrs != nil {
		e.Xattrs.Inline, _ = ParseXattrs(r.xattrs)
	}
	return e
}

// appendRecord appends e as a leaf record, or as the top directory's, which
// has no name and number. It refuses what a reader would.
func appendRecord(b []byte, e *Entry, delta uint64, top bool) ([]byte, error) {
	if err := e.fits(); err != nil {
		return nil, err
	}
	start := len(b)
	if !top {
		b = append(b, byte(len(e.Name)))
		b = append(b, e.Name...)
		b = binary.AppendUvarint(b, delta)
	}
	holes, err := EncodeHoles(e.Holes.Inline, e.Size)
	if err != nil {
		return nil, err
	}
	xattrs, err := EncodeXattrs(e.Xattrs.Inline)
	if err != nil {
		return nil, err
	}
	word := e.Mode | uint16(e.Type)<<typeShift
	word |= flag(e.Nsec != 0, hasNsec) | flag(e.Links > 1, hasGroup) |
		flag(len(holes) > 0 || e.Holes.Out.Size != 0, hasHoles) |
		flag(len(xattrs) > 0 || e.Xattrs.Out.Size != 0, hasXattrs)
	b = binary.LittleEndian.AppendUint16(b, word)
	b = binary.AppendUvarint(b, zigzag(e.Sec))
	if e.Nsec != 0 {
		b = binary.LittleEndian.AppendUint32(b, e.Nsec)
	}
	switch e.Type {
	case File, Dir:
		b = binary.AppendUvarint(b, uint64(e.Size))
		if e.Size > 0 {
			b = append(b, e.Root[:]...)
			b = binary.AppendUvarint(b, uint64(e.At/merkle.Align))
		}
	case Symlink:
		b = binary.AppendUvarint(b, uint64(len(e.Target)))
		b = append(b, e.Target...)
	}
	if e.Type == File && e.Size > merkle.ChunkSize {
		b = append(b, e.Sum[:]...)
	}
	if e.Type == Dir && e.Size > 0 {
		b = binary.AppendUvarint(b, e.Entries)
		b = binary.AppendUvarint(b, e.Files)
		b = binary.AppendUvarint(b, e.Bytes)
	}
	if word&hasGroup != 0 {
		b = binary.AppendUvarint(b, e.Number-e.First)
		b = binary.AppendUvarint(b, uint64(e.Links))
	}
	if word&hasHoles != 0 {
		b = appendList(b, holes, e.Holes.Out)
	}
	if word&hasXattrs != 0 {
		b = appendList(b, xattrs, e.Xattrs.Out)
	}
	// A reader's check is the one that counts.
	var r record
	d := decoder{b: b[start:]}
	r.scan(&d, top)
	d.end()
	return b, d.err
}

func flag(set bool, bit uint16) uint16 {
	if set {
		return bit
	}
	return 0
}

func appendList(b, inline []byte, out Extent) []byte {
	if len(inline) > 0 {
		b = binary.AppendUvarint(b, uint64(len(inline)))
		return append(b, inline...)
	}
	b = append(b, 0)
	b = binary.AppendUvarint(b, uint64(out.Size))
	b = append(b, out.Root[:]...)
	return binary.AppendUvarint(b, uint64(out.At/merkle.Align))
}

// fits says whether e can be encoded at all: whether it says anything that
// the format has no place for.
func (e *Entry) fits() error {
	bare := e.Size == 0
	group := e.Links > 1
	switch {
	case e.Type > Symlink:
		return fmt.Errorf("unknown type %d", e.Type)
	case len(e.Name) > MaxName:
		return checkName([]byte(e.Name))
	case e.Mode > MaxMode:
		return fmt.Errorf("mode %#o has bits beyond 0777", e.Mode)
	case e.At%merkle.Align != 0 || e.Holes.Out.At%merkle.Align != 0 || e.Xattrs.Out.At%merkle.Align != 0:
		return fmt.Errorf("position is not a multiple of %d", merkle.Align)
	case e.Type == Symlink && (!bare || e.At != 0 || !e.Root.IsZero() || !e.Sum.IsZero()):
		return errors.New("symlink with content")
	case bare && (e.At != 0 || !emptyOrZero(e.Root) || !emptyOrZero(e.Sum)):
		return errors.New("content of no bytes with a root or position")
	case e.Type != Symlink && e.Target != "":
		return errors.New("target on an entry that is no symlink")
	case e.Type != File && !e.Sum.IsZero():
		return errors.New("hash of a file on an entry that is no file")
	case e.Type == File && !bare && e.Size <= merkle.ChunkSize && !e.Sum.IsZero() && e.Sum != e.Root:
		return errors.New("hash of a file of one chunk is not its root")
	case e.Type != File && (group || len(e.Holes.Inline) > 0 || e.Holes.Out != Extent{}):
		return errors.New("hard links or holes on an entry that is no file")
	case e.First != 0 && e.First != e.Number && !group:
		return errors.New("hard link in a group of one")
	case group && e.First > e.Number:
		return errors.New("hard link before its group's first")
	case e.Type != Dir && (e.Entries != 0 || e.Files != 0 || e.Bytes != 0):
		return errors.New("totals on an entry that is no directory")
	case e.Type == Dir && bare && (e.Entries != 0 || e.Files != 0 || e.Bytes != 0):
		return errors.New("totals on an empty directory")
	case len(e.Holes.Inline) > 0 && e.Holes.Out.Size != 0 || len(e.Xattrs.Inline) > 0 && e.Xattrs.Out.Size != 0:
		return errors.New("list both inline and out of line")
	case e.Holes.Out.Size == 0 && e.Holes.Out != Extent{} || e.Xattrs.Out.Size == 0 && e.Xattrs.Out != Extent{}:
		return errors.New("list out of line without bytes")
	}
	return nil
}

func emptyOrZero(h merkle.Hash) bool { return h.IsZero() || h == merkle.EmptyRoot }
