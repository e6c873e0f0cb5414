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
func (b *budget) acquire(ctx context.Context, n int64) error {
	if n == 0 || b.sem == nil {
		return nil // the semaphore would queue nothing behind others
	}
	return b.sem.Acquire(ctx, n)
}

func (b *budget) release(n int64) {
	if b.sem != nil {
		b.sem.Release(n)
	}
}

// A buffer is pooled memory that several readers may hold; the last to let go
// returns it and its share of the budget.
type buffer struct {
	b    []byte // nil: it is only a share, of memory that others have made
	from *budget
	cost int64 // of a share
	refs atomic.Int32
}

// pools hold buffers by their size in steps of an eighth of a power of two: a
// read of 1 MiB that begins within a chunk is a little more than 1 MiB.
var pools [64 * 8]sync.Pool

// sized returns the size of the buffer that n bytes take, and its pool.
func sized(n int) (size int, pool *sync.Pool) {
	exp := max(14, bits.Len(uint(n-1))) // at most 1<<exp
	step := max(1<<14, 1<<exp/16)
	size = (n + step - 1) / step * step
	return size, &pools[exp*8+(size*16>>exp-1)%8]
}

// bufferCost returns what a buffer of n bytes takes of the budget.
func bufferCost(n int) int64 {
	size, _ := sized(n)
	return int64(size)
}

// newBuffer returns a buffer of n bytes that its caller holds, whose cost has
// been acquired from b.
func (b *budget) newBuffer(n int) *buffer {
	size, pool := sized(n)
	buf, _ := pool.Get().(*buffer)
	if buf == nil {
		buf = &buffer{b: make([]byte, size)}
	}
	buf.b, buf.from = buf.b[:n], b
	buf.refs.Store(1)
	return buf
}

// newShare returns a buffer without memory, for what else takes n bytes of b.
func (b *budget) newShare(n int64) *buffer {
	buf := &buffer{from: b, cost: n}
	buf.refs.Store(1)
	return buf
}

func (b *buffer) hold() { b.refs.Add(1) }

func (b *buffer) release() {
	if b.refs.Add(-1) > 0 {
		return
	}
	if b.b == nil {
		b.from.release(b.cost)
		return
	}
	size, pool := sized(len(b.b))
	b.from.release(int64(size))
	b.b = b.b[:size]
	pool.Put(b)
}
