package catalog

import (
	"sync"

	"github.com/floefs/floe/merkle"
)

// pageOverhead is about what a page kept costs beside its bytes.
const pageOverhead = 512

// A Checked keeps pages that have been checked, so that a lookup in one of
// them is a binary search. It forgets the least recently used beyond its
// budget. One serves all tables of a dataset. Safe for concurrent use; a nil
// Checked keeps nothing.
type Checked struct {
	budget int

	mu    sync.Mutex
	used  int               // guarded by mu, like all below
	pages map[pageKey]*kept // each also in the ring
	ring  kept              // of all pages; ring.next is the latest used
}

// A pageKey is all that the check of a page depends on but for its Bound,
// which is compared, and the address space, one per dataset.
type pageKey struct {
	root           merkle.Hash
	size           int64
	number         uint64
	entries, files uint64
	bytes          uint64
	page           int64
}

type kept struct {
	key        pageKey
	page       *Page
	cost       int
	prev, next *kept
}

// NewChecked returns a Checked that keeps up to budget bytes of memory.
func NewChecked(budget int) *Checked {
	c := &Checked{budget: budget, pages: make(map[pageKey]*kept)}
	c.ring.prev, c.ring.next = &c.ring, &c.ring
	return c
}

func keyOf(dir *Entry, page int64) pageKey {
	return pageKey{dir.Root, dir.Size, dir.Number, dir.Entries, dir.Files, dir.Bytes, page}
}

// get returns the page if it was checked against the very same bound. A page
// with two parents, as a hostile publisher may make, is thus checked for each.
func (c *Checked) get(dir *Entry, bound *Bound) *Page {
	if c == nil {
		return nil
	}
	key := keyOf(dir, bound.Page)
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.pages[key]
	if k == nil || !k.page.bound.equal(bound) {
		return nil
	}
	k.unlink()
	c.front(k)
	return k.page
}

// put keeps a copy of a checked page: what it was checked from may be part
// of a larger buffer.
func (c *Checked) put(dir *Entry, p *Page) {
	if c == nil {
		return
	}
	own := *p
	own.data = append([]byte(nil), p.data...)
	own.bound.lo = append([]byte(nil), p.bound.lo...)
	own.bound.hi = append([]byte(nil), p.bound.hi...)
	k := &kept{key: keyOf(dir, p.bound.Page), page: &own}
	k.cost = len(own.data) + len(own.bound.lo) + len(own.bound.hi) + pageOverhead
	if k.cost > c.budget {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.pages[k.key]; old != nil {
		c.drop(old)
	}
	for c.used+k.cost > c.budget {
		c.drop(c.ring.prev)
	}
	c.pages[k.key] = k
	c.used += k.cost
	c.front(k)
}

// Used returns how many bytes of memory the pages kept take, about.
func (c *Checked) Used() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// front and drop are called with mu held.
func (c *Checked) front(k *kept) {
	k.prev, k.next = &c.ring, c.ring.next
	k.prev.next, k.next.prev = k, k
}

func (c *Checked) drop(k *kept) {
	k.unlink()
	delete(c.pages, k.key)
	c.used -= k.cost
}

func (k *kept) unlink() { k.prev.next, k.next.prev = k.next, k.prev }
