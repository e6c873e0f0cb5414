package catalog

import (
	"iter"
	"sort"
)

// Leaf reports whether the page holds entries; other pages hold children.
func (p *Page) Leaf() bool { return p.level == 0 }

// Len returns how many entries or children the page has.
func (p *Page) Len() int { return p.n }

// Bound returns what the page was checked against.
func (p *Page) Bound() Bound { return p.bound }

// Entry returns entry i of a leaf page. It shares no memory with the page.
func (p *Page) Entry(i int) Entry {
	var r record
	p.scan(i, &r)
	e := r.entry(p.dir + p.bound.From + r.delta)
	e.Name = string(r.name)
	return e
}

// Entries returns the entries of a leaf page in order.
func (p *Page) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range p.n {
			if !yield(p.Entry(i)) {
				return
			}
		}
	}
}

// Find returns the entry of that name in a leaf page.
func (p *Page) Find(name string) (Entry, bool) {
	i := sort.Search(p.n, func(i int) bool { return string(p.name(i)) >= name })
	if i == p.n || string(p.name(i)) != name {
		return Entry{}, false
	}
	var r record
	p.scan(i, &r)
	e := r.entry(p.dir + p.bound.From + r.delta)
	e.Name = name
	return e, true
}

// FindNumber returns the entry of a leaf page that has the relative number n
// or, a directory, contains it.
func (p *Page) FindNumber(n uint64) (Entry, bool) {
	if n < p.bound.From || n >= p.bound.To {
		return Entry{}, false
	}
	return p.Entry(p.holder(n)), true
}

// Child returns what an index page says of its child i.
func (p *Page) Child(i int) Bound {
	b := Bound{Page: p.child + int64(i), Level: p.level - 1, From: p.bound.From + p.delta(i), To: p.bound.To, lo: p.name(i), hi: p.bound.hi}
	if i+1 < p.n {
		b.To, b.hi = p.bound.From+p.delta(i+1), p.name(i+1)
	}
	return b
}

// ChildByName returns the child that holds a name if any does.
func (p *Page) ChildByName(name string) (Bound, bool) {
	i := sort.Search(p.n, func(i int) bool { return string(p.name(i)) > name })
	if i == 0 {
		return Bound{}, false
	}
	return p.Child(i - 1), true
}

// ChildByNumber returns the child that holds a relative number.
func (p *Page) ChildByNumber(n uint64) (Bound, bool) {
	if n < p.bound.From || n >= p.bound.To {
		return Bound{}, false
	}
	return p.Child(p.holder(n)), true
}

// holder returns the last record whose number is at most n, which must be
// within the page.
func (p *Page) holder(n uint64) int {
	return sort.Search(p.n, func(i int) bool { return p.bound.From+p.delta(i) > n }) - 1
}
