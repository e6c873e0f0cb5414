package engine

import (
	"container/list"
	"sync"

	"github.com/floefs/floe/merkle"
)

// recent keeps the proven chunks that were used last, by hash, within a
// number of bytes. A hash names the same bytes wherever they lie, so what a
// hostile catalog says of positions cannot confuse it.
type recent struct {
	limit int64

	mu    sync.Mutex // guards what follows
	size  int64
	order *list.List // of *keptChunk, latest first
	by    map[merkle.Hash]*list.Element
}

type keptChunk struct {
	hash  merkle.Hash
	chunk merkle.Chunk
}

const keptOverhead = 200 // bytes of bookkeeping per chunk, roughly

func newRecent(limit int64) *recent {
	return &recent{limit: limit, order: list.New(), by: make(map[merkle.Hash]*list.Element)}
}

func (r *recent) get(h merkle.Hash) (merkle.Chunk, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.by[h]
	if !ok {
		return merkle.Chunk{}, false
	}
	r.order.MoveToFront(e)
	return e.Value.(*keptChunk).chunk, true
}

// put keeps c, whose memory must be its own and which hashes to h.
func (r *recent) put(h merkle.Hash, c merkle.Chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.by[h]; ok {
		return
	}
	r.by[h] = r.order.PushFront(&keptChunk{h, c})
	r.size += int64(c.Len()) + keptOverhead
	for r.size > r.limit {
		e := r.order.Back()
		k := e.Value.(*keptChunk)
		r.order.Remove(e)
		delete(r.by, k.hash)
		r.size -= int64(k.chunk.Len()) + keptOverhead
	}
}
