package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A Builder writes the table of one directory: leaf pages as they fill up,
// the index at the end. It keeps one page and, for each page written, its
// first name. The same entries give the same bytes. Not safe for concurrent
// use.
type Builder struct {
	w      io.Writer
	dir    uint64
	next   uint64 // relative number of the next entry
	last   string // name of the latest
	totals Totals
	leaf   pageBuffer
	leaves []indexRecord // of the pages written
	err    error
}

// Totals are what a directory's entry says of its table and of everything
// below it.
type Totals struct {
	Size           int64 // bytes of the table
	Entries, Files uint64
	Bytes          uint64
}

// Fill sets the totals of a directory's entry.
func (t Totals) Fill(dir *Entry) {
	dir.Size, dir.Entries, dir.Files, dir.Bytes = t.Size, t.Entries, t.Files, t.Bytes
}

// NewTable starts the table of the directory with that absolute number. The
// table goes to w, front to back, without seeking back.
func NewTable(w io.Writer, number uint64) *Builder {
	return &Builder{w: w, dir: number, next: 1}
}

// Add appends an entry, whose name must follow the one before bytewise, and
// returns its absolute number, which follows from the entries before it; if
// e.Number is set it must be that. Lists that encode to more than MaxInline
// bytes must be given out of line. An entry that readers would refuse is
// refused here; whether positions lie within the dataset is not known yet.
// After an error the Builder is of no use.
func (b *Builder) Add(e Entry) (number uint64, err error) {
	if b.err != nil {
		return 0, b.err
	}
	number = b.dir + b.next
	if err := b.add(e, number); err != nil {
		b.err = fmt.Errorf("entry %d of the directory (%q): %w", len(b.leaf.at), e.Name, err)
		return 0, b.err
	}
	return number, nil
}

func (b *Builder) add(e Entry, number uint64) error {
	if e.Number != 0 && e.Number != number {
		return fmt.Errorf("number is %d, must be %d", e.Number, number)
	}
	e.Number = number
	switch {
	case e.Links > 1 && e.First <= RootNumber:
		return fmt.Errorf("first hard link is number %d", e.First)
	case b.next > 1 && e.Name <= b.last:
		return fmt.Errorf("name does not follow %q", b.last)
	case e.Entries > MaxEntries-b.dir-b.next:
		return errors.New("too many entries in the dataset")
	}
	rec, err := appendRecord(nil, &e, b.next-b.leaf.first, false)
	if err == nil && len(b.leaf.at) > 0 && !b.leaf.fits(leafHeader, len(rec)) {
		if err := b.flush(true); err != nil {
			return err
		}
	}
	if len(b.leaf.at) == 0 {
		b.leaf.first, b.leaf.name = b.next, e.Name
		rec, err = appendRecord(rec[:0], &e, 0, false)
	}
	if err != nil {
		return err
	}
	b.leaf.add(rec)

	files, bytes := e.totals()
	if b.totals.Bytes+bytes < bytes {
		return errors.New("more than 2^64 bytes in the directory")
	}
	b.totals.Entries += e.span()
	b.totals.Files += files
	b.totals.Bytes += bytes
	b.next += e.span()
	b.last = e.Name
	return nil
}

// Finish writes what is left of the table. The directory's entry takes the
// totals, root and position the publisher gives it.
func (b *Builder) Finish() (Totals, error) {
	if b.err != nil {
		return Totals{}, b.err
	}
	if b.err = b.finish(); b.err != nil {
		return Totals{}, b.err
	}
	b.err = errors.New("the table is finished")
	return b.totals, nil
}

func (b *Builder) finish() error {
	if b.totals.Entries == 0 {
		return nil
	}
	if err := b.flush(len(b.leaves) > 0); err != nil {
		return err
	}
	level := b.leaves
	for l, child := 1, int64(0); len(level) > 1; l++ {
		if l > maxLevel {
			return errors.New("too many entries in the directory")
		}
		above, err := b.index(l, level, child)
		if err != nil {
			return err
		}
		child += int64(len(level))
		level = above
	}
	return nil
}

// index writes the index pages over the pages of level, the first of which is
// page child, and returns their own records.
func (b *Builder) index(l int, level []indexRecord, child int64) ([]indexRecord, error) {
	var above []indexRecord
	p := pageBuffer{level: l, child: child, first: level[0].number, name: level[0].name}
	for _, r := range level {
		rec := r.append(nil, p.first)
		if !p.fits(indexHeader, len(rec)) {
			above = append(above, indexRecord{p.name, p.first})
			if err := b.write(&p, true); err != nil {
				return nil, err
			}
			p = pageBuffer{level: l, child: p.child + int64(len(p.at)), first: r.number, name: r.name}
			rec = r.append(nil, p.first)
		}
		p.add(rec)
	}
	full := len(above) > 0 // else it is the root, the last page
	above = append(above, indexRecord{p.name, p.first})
	return above, b.write(&p, full)
}

func (b *Builder) flush(full bool) error {
	b.leaves = append(b.leaves, indexRecord{b.leaf.name, b.leaf.first})
	err := b.write(&b.leaf, full)
	b.leaf = pageBuffer{data: b.leaf.data[:0], at: b.leaf.at[:0]}
	return err
}

func (b *Builder) write(p *pageBuffer, full bool) error {
	page := p.page(full)
	n, err := b.w.Write(page)
	if err == nil && n != len(page) {
		err = io.ErrShortWrite
	}
	b.totals.Size += int64(len(page))
	return err
}

// An indexRecord is what an index page says of a page.
type indexRecord struct {
	name   string
	number uint64
}

func (r indexRecord) append(b []byte, first uint64) []byte {
	b = append(b, byte(len(r.name)))
	b = append(b, r.name...)
	return binary.AppendUvarint(b, r.number-first)
}

// A pageBuffer is a page being filled.
type pageBuffer struct {
	level int
	child int64
	first uint64 // number and name of the first record
	name  string
	data  []byte // records
	at    []int  // where each begins in data
}

func (p *pageBuffer) fits(header, n int) bool {
	return header+2*(len(p.at)+1)+len(p.data)+n <= PageSize
}

func (p *pageBuffer) add(record []byte) {
	p.at = append(p.at, len(p.data))
	p.data = append(p.data, record...)
}

// page returns the page: full ones filled up with zeros.
func (p *pageBuffer) page(full bool) []byte {
	b := make([]byte, 0, PageSize)
	b = append(b, byte(p.level), 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p.at)))
	b = binary.LittleEndian.AppendUint64(b, p.first)
	if p.level > 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(p.child))
	}
	start := len(b) + 2*len(p.at)
	for _, at := range p.at {
		b = binary.LittleEndian.AppendUint16(b, uint16(start+at))
	}
	b = append(b, p.data...)
	if full {
		b = b[:PageSize]
	}
	return b
}
