package catalog

import (
	"bytes"
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
		return errors.New("name is . or .., which name directories")
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
	if err := checkExtent("content", r.At, size, space); err != nil {
		return err
	}
	if out := r.Holes.Out; out.Size > 0 {
		if err := checkExtent("list of holes", out.At, storedSize(out.Size), space); err != nil {
			return err
		}
	}
	if out := r.Xattrs.Out; out.Size > 0 {
		return checkExtent("list of xattrs", out.At, storedSize(out.Size), space)
	}
	return nil
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
