package blob

import (
	"sync"

	"github.com/floefs/floe/engine/walrus"
)

// A stash keeps symbols until the reads come that want them: those that were
// decoded along with others, which are not proven, and those of slivers that
// were proven because something was false. The zero value is ready.
type stash struct {
	mu    sync.Mutex // guards what follows
	cells map[stashKey]cell
	order []stashKey // as they were put
	size  int
}

// A stashKey names the symbol of a primary sliver in a column.
type stashKey struct {
	id       walrus.BlobID
	row, col int
}

type cell struct {
	data   []byte
	proven bool
}

const stashSize = 32 << 20 // bytes

func (s *stash) put(k stashKey, data []byte, proven bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cells == nil {
		s.cells = make(map[stashKey]cell)
	}
	old, ok := s.cells[k]
	if ok && (old.proven || !proven) {
		return
	}
	s.cells[k] = cell{append([]byte(nil), data...), proven} // not the whole range it is a part of
	if ok {
		return
	}
	s.order = append(s.order, k)
	for s.size += len(data); s.size > stashSize; s.order = s.order[1:] {
		s.size -= len(s.cells[s.order[0]].data)
		delete(s.cells, s.order[0])
	}
}

// get fills p with bytes of a symbol from off on.
func (s *stash) get(k stashKey, p []byte, off int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.cells[k]
	if ok {
		copy(p, c.data[off:])
	}
	return ok
}

// proven fills what it can of the front of p, bytes of primary sliver row from
// off on, with proven symbols, and returns how much that is.
func (s *stash) proven(id walrus.BlobID, params walrus.Params, row int, p []byte, off int) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n < len(p) {
		at := off + n
		c := s.cells[stashKey{id, row, at / params.Symbol}]
		if !c.proven {
			break
		}
		n += copy(p[n:], c.data[at%params.Symbol:])
	}
	return n
}

// drop forgets all symbols of a blob that are not proven: one of them was
// false.
func (s *stash) drop(id walrus.BlobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.order[:0]
	for _, k := range s.order {
		if c := s.cells[k]; k.id == id && !c.proven {
			s.size -= len(c.data)
			delete(s.cells, k)
		} else {
			kept = append(kept, k)
		}
	}
	s.order = kept
}
