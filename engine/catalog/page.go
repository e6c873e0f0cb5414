package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/floefs/floe/merkle"
)

const (
	// PageSize is the size of a page, which is a chunk of the directory's
	// content tree, so that a proven chunk is a page.
	PageSize = merkle.ChunkSize

	maxLevel    = 8
	leafHeader  = 12
	indexHeader = 20
	minRecord   = 2 + 2 // offset, and the least an index record can be
)

// Pages returns how many pages a table of size bytes has.
func Pages(size int64) int64 {
	n := size / PageSize
	if size%PageSize != 0 {
		n++
	}
	return n
}

// A Bound is what an index page says of a page below it, all of which must
// hold: where it lies, its level, the name it begins with and the one that
// its names stay below, the numbers it covers.
type Bound struct {
	Page     int64  // its number
	Level    int    // -1: the root of a table
	From, To uint64 // relative numbers, from the first record's up to To less one
	lo, hi   []byte // nil: not known; parts of the page that says so
}

// RootBound returns what a directory's entry says of the root of its table,
// which is its last page. The table must not be empty.
func RootBound(dir *Entry) Bound {
	return Bound{Page: Pages(dir.Size) - 1, Level: -1, From: 1, To: dir.Entries + 1}
}

func (b *Bound) equal(o *Bound) bool {
	return b.Page == o.Page && b.Level == o.Level && b.From == o.From && b.To == o.To &&
		bytes.Equal(b.lo, o.lo) && bytes.Equal(b.hi, o.hi)
}

// A Page is a page of a table that has been checked against its Bound.
// Read-only, safe for concurrent use.
type Page struct {
	data   []byte
	bound  Bound
	dir    uint64 // number of the directory
	level  int
	header int
	n      int
	end    int   // of the records
	child  int64 // index: page of the first child
}

// ParsePage checks chunk as the page of dir that bound says it is. Positions
// must lie below space, the end of the dataset's address space. The Page
// keeps chunk. Errors are ErrMalformed.
func ParsePage(chunk merkle.Chunk, dir *Entry, space int64, bound Bound) (*Page, error) {
	p := &Page{data: chunk.Bytes(), bound: bound, dir: dir.Number}
	if dir.Entries > MaxEntries || dir.Number == 0 || dir.Number > MaxEntries+1 {
		return nil, fmt.Errorf("%w directory: number %d, %d entries", ErrMalformed, dir.Number, dir.Entries)
	}
	err := p.parseHeader(dir)
	if err == nil && p.level == 0 {
		err = p.checkLeaf(dir, space)
	} else if err == nil {
		err = p.checkIndex(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w table: page %d: %w", ErrMalformed, bound.Page, err)
	}
	return p, nil
}

// parseHeader checks everything before the records and behind them.
func (p *Page) parseHeader(dir *Entry) error {
	pages := Pages(dir.Size)
	last, root := p.bound.Page == pages-1, p.bound.Level < 0
	size := int64(PageSize)
	if last {
		size = dir.Size - (pages-1)*PageSize
	}
	if p.bound.Page < 0 || p.bound.Page >= pages || int64(len(p.data)) != size {
		return fmt.Errorf("%d bytes in a table of %d", len(p.data), dir.Size)
	}
	if p.bound.From < 1 || p.bound.To <= p.bound.From || p.bound.To > dir.Entries+1 {
		return fmt.Errorf("numbers from %d up to %d in a directory of %d entries", p.bound.From, p.bound.To, dir.Entries)
	}
	d := decoder{b: p.data}
	p.level, p.header = int(d.u8()), leafHeader
	if root && (p.level == 0) != (pages == 1) || p.level > maxLevel || !root && p.level != p.bound.Level {
		d.fail("level %d in a table of %d pages", p.level, pages)
	}
	if zero := d.u8(); zero != 0 {
		d.fail("reserved byte is %d", zero)
	}
	p.n = int(d.u16())
	if first := d.u64(); first != p.bound.From {
		d.fail("first number is %d, must be %d", first, p.bound.From)
	}
	least := 1
	if p.level > 0 {
		child := d.u64()
		p.header = indexHeader
		p.child = int64(min(child, uint64(p.bound.Page)))
		if root {
			least = 2
		}
		// Children come before their parent, so descent ends whatever the
		// levels say; those of the root come right before it.
		if end := p.child + int64(p.n); end > p.bound.Page || root && end != p.bound.Page {
			d.fail("children are %d pages from %d on", p.n, child)
		}
	}
	if d.err == nil && (p.n < least || p.n > len(d.b)/minRecord) {
		d.fail("%d records", p.n)
	}
	if d.err != nil {
		return d.err
	}
	d.bytes(uint64(2 * p.n))
	if at, start := p.offset(0), p.header+2*p.n; at != start {
		return fmt.Errorf("first record at byte %d, must be %d", at, start)
	}
	for i := 1; i < p.n; i++ {
		if p.offset(i) <= p.offset(i-1) || p.offset(i) >= len(p.data) {
			return fmt.Errorf("record %d at byte %d", i, p.offset(i))
		}
	}
	// The last record ends where it does by itself; see finish.
	p.end = len(p.data)
	return nil
}

// finish takes what follows the last record: zeros in a full page, nothing
// in the last.
func (p *Page) finish(rest []byte, size int64) error {
	p.end = len(p.data) - len(rest)
	d := decoder{b: rest}
	if p.bound.Page == Pages(size)-1 {
		d.end()
	}
	d.zeros()
	return d.err
}

func (p *Page) checkLeaf(dir *Entry, space int64) error {
	var r record
	var last []byte
	var files, sum uint64
	next := p.bound.From // the number the record must have
	for i := range p.n {
		d := decoder{b: p.record(i)}
		r.scan(&d, false)
		switch {
		case d.err != nil:
		case i == 0 && p.bound.lo != nil && !bytes.Equal(r.name, p.bound.lo):
			d.fail("first name is not the one in the index")
		case i > 0 && bytes.Compare(r.name, last) <= 0:
			d.fail("name repeats or is out of order")
		case r.delta != next-p.bound.From:
			d.fail("number is %d behind the page's, must be %d", r.delta, next-p.bound.From)
		case r.Entries >= p.bound.To-next:
			d.fail("number %d and %d entries below it reach beyond %d", next, r.Entries, p.bound.To-1)
		case dir.Number+next-RootNumber <= r.distance:
			d.fail("first hard link is %d before number %d", r.distance, dir.Number+next)
		default:
			d.check(r.checkSpace(space))
		}
		if d.err == nil && i == p.n-1 {
			d.check(p.finish(d.b, dir.Size))
		} else {
			d.end()
		}
		if d.err == nil && !addTotals(&files, &sum, &r.Entry, dir) {
			d.fail("files or bytes up to here are more than the directory's %d and %d", dir.Files, dir.Bytes)
		}
		if d.err != nil {
			return fmt.Errorf("entry %d: %w", i, d.err)
		}
		last, next = r.name, next+r.span()
	}
	if next != p.bound.To {
		return fmt.Errorf("numbers end before %d, must before %d", next, p.bound.To)
	}
	if p.bound.hi != nil && bytes.Compare(last, p.bound.hi) >= 0 {
		return errors.New("last name is not before the next page's")
	}
	if p.bound.Level < 0 && (files != dir.Files || sum != dir.Bytes) {
		return fmt.Errorf("%d files of %d bytes, must be %d of %d", files, sum, dir.Files, dir.Bytes)
	}
	return nil
}

// addTotals adds e to totals of files and bytes and reports whether they stay
// within the directory's.
func addTotals(files, sum *uint64, e, dir *Entry) bool {
	f, b := e.totals()
	if f > dir.Files-*files || b > dir.Bytes-*sum {
		return false
	}
	*files += f
	*sum += b
	return true
}

func (p *Page) checkIndex(dir *Entry) error {
	var last []byte
	for i := range p.n {
		d := decoder{b: p.record(i)}
		name := d.bytes(uint64(d.u8()))
		delta := d.varint()
		switch {
		case d.err != nil:
		case i == 0 && p.bound.lo != nil && !bytes.Equal(name, p.bound.lo):
			d.fail("first name is not the one in the index above")
		case i > 0 && bytes.Compare(name, last) <= 0:
			d.fail("name repeats or is out of order")
		case p.bound.hi != nil && bytes.Compare(name, p.bound.hi) >= 0:
			d.fail("name is not before the next page's")
		case i == 0 && delta != 0 || i > 0 && delta <= p.delta(i-1):
			d.fail("number is %d behind the page's", delta)
		case delta >= p.bound.To-p.bound.From:
			d.fail("number is %d behind the page's, which covers %d", delta, p.bound.To-p.bound.From)
		default:
			d.check(checkName(name))
		}
		if d.err == nil && i == p.n-1 {
			d.check(p.finish(d.b, dir.Size))
		} else {
			d.end()
		}
		if d.err != nil {
			return fmt.Errorf("index record %d: %w", i, d.err)
		}
		last = name
	}
	return nil
}

func (p *Page) offset(i int) int {
	return int(binary.LittleEndian.Uint16(p.data[p.header+2*i:]))
}

// record returns the bytes of record i; the last one's includes what follows
// until the page is checked.
func (p *Page) record(i int) []byte {
	if i+1 < p.n {
		return p.data[p.offset(i):p.offset(i+1)]
	}
	return p.data[p.offset(i):p.end]
}

// scan takes apart record i of a checked leaf page.
func (p *Page) scan(i int, r *record) {
	d := decoder{b: p.record(i)}
	r.scan(&d, false)
}

// name and delta read a record that has been checked.
func (p *Page) name(i int) []byte {
	at := p.offset(i)
	end := at + 1 + int(p.data[at])
	return p.data[at+1 : end : end]
}

func (p *Page) delta(i int) uint64 {
	at := p.offset(i)
	d := decoder{b: p.data[at+1+int(p.data[at]):]}
	return d.varint()
}
