package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/floefs/floe/merkle"
)

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
