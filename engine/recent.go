package engine

import (
	"container/list"
	"sync"

	"github.com/floefs/floe/merkle"
)

// recent keeps what was used last, within a number of bytes.
type recent[K comparable, V any] struct {
	limit  int64
	sizeOf func(V) int

	mu    sync.Mutex // guards what follows
	size  int64
	order *list.List // of *keptValue, latest first
	by    map[K]*list.Element
}

type keptValue[K comparable, V any] struct {
	key   K
	value V
}

const keptOverhead = 200 // bytes of bookkeeping per value, roughly

// newRecent returns a recent of values that have the length that size returns.
func newRecent[K comparable, V any](limit int64, size func(V) int) *recent[K, V] {
	return &recent[K, V]{limit: limit, sizeOf: size, order: list.New(), by: make(map[K]*list.Element)}
}

// newRecentChunks returns a recent of proven chunks, by hash. A hash names the
// same bytes wherever they lie, so what a hostile catalog says of positions
// cannot confuse it.
func newRecentChunks(limit int64) *recent[merkle.Hash, merkle.Chunk] {
	return newRecent[merkle.Hash](limit, merkle.Chunk.Len)
}

func (r *recent[K, V]) get(k K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.by[k]
	if !ok {
		var none V
		return none, false
	}
	r.order.MoveToFront(e)
	return e.Value.(*keptValue[K, V]).value, true
}

// put keeps v, whose memory must be its own. What is kept under k already
// stays: there is but one value of it.
func (r *recent[K, V]) put(k K, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.by[k]; ok {
		return
	}
	r.by[k] = r.order.PushFront(&keptValue[K, V]{k, v})
	r.size += int64(r.sizeOf(v)) + keptOverhead
	for r.size > r.limit {
		e := r.order.Back()
		old := e.Value.(*keptValue[K, V])
		r.order.Remove(e)
		delete(r.by, old.key)
		r.size -= int64(r.sizeOf(old.value)) + keptOverhead
	}
}
