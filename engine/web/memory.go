package web

import (
	"container/list"
	"context"
	"sync"
)

// A memory keeps the values that were used last, within a limit on their
// sizes, and has each made by one request at a time.
type memory[K comparable, V any] struct {
	limit int64

	mu     sync.Mutex // guards what follows
	size   int64
	order  *list.List // of *kept, latest first
	by     map[K]*list.Element
	making map[K]*making[V]
}

type kept[K comparable, V any] struct {
	key   K
	value V
	size  int64
}

// making is a value that a request is at work to get. Its fields are set
// before done is closed.
type making[V any] struct {
	done   chan struct{} // closed when it is there, or has failed
	value  V
	err    error
	gaveUp bool // whoever made it has gone: no fault of the value's
}

func newMemory[K comparable, V any](limit int64) *memory[K, V] {
	return &memory[K, V]{limit: limit, order: list.New(), by: make(map[K]*list.Element), making: make(map[K]*making[V])}
}

// get returns the value of k, which produce makes if it is not there. Size is
// what the value counts.
func (m *memory[K, V]) get(ctx context.Context, k K, produce func(context.Context) (value V, size int64, err error)) (V, error) {
	for {
		m.mu.Lock()
		if e, ok := m.by[k]; ok {
			m.order.MoveToFront(e)
			m.mu.Unlock()
			return e.Value.(*kept[K, V]).value, nil
		}
		f := m.making[k]
		if f == nil {
			f = &making[V]{done: make(chan struct{}), gaveUp: true}
			m.making[k] = f
			m.mu.Unlock()
			return m.make(ctx, k, f, produce)
		}
		m.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			var none V
			return none, context.Cause(ctx)
		}
		if !f.gaveUp {
			return f.value, f.err
		}
	}
}

func (m *memory[K, V]) make(ctx context.Context, k K, f *making[V], produce func(context.Context) (V, int64, error)) (V, error) {
	var size int64
	defer func() { // also if produce panics
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.making, k)
		if f.err == nil && !f.gaveUp {
			m.put(k, f.value, size)
		}
		close(f.done)
	}()
	f.value, size, f.err = produce(ctx)
	f.gaveUp = f.err != nil && ctx.Err() != nil
	return f.value, f.err
}

// put keeps a value that is not there. mu is held.
func (m *memory[K, V]) put(k K, v V, size int64) {
	if size > m.limit {
		return
	}
	m.by[k] = m.order.PushFront(&kept[K, V]{k, v, size})
	for m.size += size; m.size > m.limit; {
		e := m.order.Back()
		old := e.Value.(*kept[K, V])
		m.order.Remove(e)
		delete(m.by, old.key)
		m.size -= old.size
	}
}
