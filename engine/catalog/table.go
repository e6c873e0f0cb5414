package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sort"

	"github.com/floefs/floe/merkle"
)

// A Table is the content of a directory. Every page is checked before
// anything in it is used; what breaks the format is ErrMalformed. Safe for
// concurrent use if Page is.
type Table struct {
	Dir Entry

	// Page returns page i of the directory, which is chunk i of its content
	// tree. The chunk must stay as it is until the method that asked returns;
	// a Table keeps copies. What it fails with is passed on, wrapped.
	Page func(ctx context.Context, i int64) (merkle.Chunk, error)

	Space   int64    // end of the dataset's address space: Header.Space
	Checked *Checked // pages checked before; nil: check at every access
}

// Lookup returns the entry of that name, or fs.ErrNotExist.
func (t Table) Lookup(ctx context.Context, name string) (Entry, error) {
	if t.Dir.Entries == 0 {
		return Entry{}, fs.ErrNotExist
	}
	for b := RootBound(&t.Dir); ; {
		p, err := t.page(ctx, &b)
		if err != nil {
			return Entry{}, err
		}
		ok := true
		if p.Leaf() {
			if e, ok := p.Find(name); ok {
				return e, nil
			}
			return Entry{}, fs.ErrNotExist
		}
		if b, ok = p.ChildByName(name); !ok {
			return Entry{}, fs.ErrNotExist
		}
	}
}

// ByNumber returns the entry of the directory that has the absolute number
// or, a directory, contains it below; fs.ErrNotExist if the number is not
// below this directory.
func (t Table) ByNumber(ctx context.Context, number uint64) (Entry, error) {
	if number <= t.Dir.Number || number-t.Dir.Number > t.Dir.Entries {
		return Entry{}, fs.ErrNotExist
	}
	n := number - t.Dir.Number
	for b := RootBound(&t.Dir); ; {
		p, err := t.page(ctx, &b)
		if err != nil {
			return Entry{}, err
		}
		if p.Leaf() {
			e, _ := p.FindNumber(n)
			return e, nil
		}
		b, _ = p.ChildByNumber(n)
	}
}

// List returns the entries in order, from the first one on whose number
// relative to the directory is at least from (0 and 1: from the first on).
// After an entry with relative number n a listing continues with List(n+1).
// Pages are asked for one at a time. After an error it ends.
func (t Table) List(ctx context.Context, from uint64) iter.Seq2[Entry, error] {
	return t.walk(ctx, max(from, 1), nil)
}

// Verify lists all entries like List and checks what can only be seen of the
// whole table: that its pages are all in use, and in order, and that files
// and bytes add up to the directory's totals.
func (t Table) Verify(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var files, sum uint64
		var order pageOrder
		for e, err := range t.walk(ctx, 1, &order) {
			if err == nil && !addTotals(&files, &sum, &e, &t.Dir) {
				err = t.malformed("files or bytes are more than the directory's %d and %d", t.Dir.Files, t.Dir.Bytes)
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if files != t.Dir.Files || sum != t.Dir.Bytes {
			yield(Entry{}, t.malformed("%d files of %d bytes, must be %d of %d", files, sum, t.Dir.Files, t.Dir.Bytes))
		} else if !order.complete(Pages(t.Dir.Size)) {
			yield(Entry{}, t.malformed("pages that are not in use or not in order"))
		}
	}
}

func (t *Table) malformed(format string, args ...any) error {
	return fmt.Errorf("directory %d: %w table: %w", t.Dir.Number, ErrMalformed, fmt.Errorf(format, args...))
}

// page returns a page, checked against b.
func (t *Table) page(ctx context.Context, b *Bound) (*Page, error) {
	if p := t.Checked.get(&t.Dir, b); p != nil {
		return p, nil
	}
	if t.Dir.Size <= 0 {
		return nil, t.malformed("%d entries in no pages", t.Dir.Entries)
	}
	chunk, err := t.Page(ctx, b.Page)
	if err != nil {
		return nil, fmt.Errorf("page %d of directory %d: %w", b.Page, t.Dir.Number, err)
	}
	p, err := ParsePage(chunk, &t.Dir, t.Space, *b)
	if err != nil {
		return nil, fmt.Errorf("directory %d: %w", t.Dir.Number, err)
	}
	t.Checked.put(&t.Dir, p)
	return p, nil
}

var errStopped = errors.New("the caller has seen enough")

// walk yields the entries from a relative number on; order, if not nil,
// learns of every page.
func (t Table) walk(ctx context.Context, from uint64, order *pageOrder) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if from > t.Dir.Entries {
			return
		}
		if err := t.descend(ctx, RootBound(&t.Dir), from, order, yield); err != nil && err != errStopped {
			yield(Entry{}, err)
		}
	}
}

// descend is walk below one page. Levels decrease from at most maxLevel, and
// so the recursion ends.
func (t *Table) descend(ctx context.Context, b Bound, from uint64, order *pageOrder, yield func(Entry, error) bool) error {
	p, err := t.page(ctx, &b)
	if err != nil {
		return err
	}
	order.add(p)
	first := 0
	if from > p.bound.From {
		first = p.holder(min(from, p.bound.To-1))
	}
	if !p.Leaf() {
		for i := first; i < p.n; i++ {
			if err := t.descend(ctx, p.Child(i), from, order, yield); err != nil {
				return err
			}
		}
		return nil
	}
	if first < p.n && p.bound.From+p.delta(first) < from {
		first++ // a directory that from lies in
	}
	for i := first; i < p.n; i++ {
		if !yield(p.Entry(i), nil) {
			return errStopped
		}
	}
	return nil
}

// A pageOrder checks that the pages of a whole walk are those of the table,
// once each: leaf pages from 0 on, then level after level.
type pageOrder struct {
	first, next [maxLevel + 1]int64 // pages of a level seen: [first, next)
	broken      bool
}

func (o *pageOrder) add(p *Page) {
	if o == nil {
		return
	}
	if o.next[p.level] == 0 {
		o.first[p.level] = p.bound.Page
	} else if o.next[p.level] != p.bound.Page {
		o.broken = true
	}
	o.next[p.level] = p.bound.Page + 1
}

func (o *pageOrder) complete(pages int64) bool {
	top := sort.Search(maxLevel+1, func(l int) bool { return o.next[l] == 0 })
	end := int64(0)
	for l := range top {
		if o.first[l] != end {
			return false
		}
		end = o.next[l]
	}
	return !o.broken && end == pages
}
