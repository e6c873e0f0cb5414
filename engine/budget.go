package engine

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// budget bounds the bytes of all buffers in flight. The zero budget bounds
// nothing.
type budget struct {
	limit int64
	sem   *semaphore.Weighted // nil: without a limit
}

func newBudget(limit int64) *budget { return &budget{limit, semaphore.NewWeighted(limit)} }

// acquire waits until n bytes are free. A reader acquires all it needs at
// once and holds nothing while it waits, so readers cannot block each other
// for good.
func (b *budget) acquire(ctx context.Context, n int64) error { return b.sem.Acquire(ctx, n) }

func (b *budget) release(n int64) {
	if b.sem != nil {
		b.sem.Release(n)
	}
}

// A buffer is pooled memory that several readers may hold; the last to let go
// returns it and its share of the budget.
type buffer struct {
	b     []byte
	class int
	from  *budget
	refs  atomic.Int32
}

// pools hold buffers of 1<<class bytes.
var pools [64]sync.Pool

// bufferCost returns what a buffer of n bytes takes of the budget.
func bufferCost(n int) int64 { return 1 << bufferClass(n) }

func bufferClass(n int) int { return max(14, bits.Len(uint(n-1))) }

// newBuffer returns a buffer of n bytes that its caller holds, whose cost has
// been acquired from b.
func (b *budget) newBuffer(n int) *buffer {
	class := bufferClass(n)
	buf, _ := pools[class].Get().(*buffer)
	if buf == nil {
		buf = &buffer{b: make([]byte, 1<<class), class: class}
	}
	buf.b, buf.from = buf.b[:n], b
	buf.refs.Store(1)
	return buf
}

func (b *buffer) hold() { b.refs.Add(1) }

func (b *buffer) release() {
	if b.refs.Add(-1) > 0 {
		return
	}
	b.from.release(1 << b.class)
	b.b = b.b[:cap(b.b)]
	pools[b.class].Put(b)
}
