package walrus

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/floefs/floe/merkle"
)

// Short symbols are worked on in groups: the code is fastest on runs of some
// kilobytes, and calls cost more than they do.
const runLength = 4 << 10 // bytes

// rowsAtATime returns how many rows are extended together.
func rowsAtATime(p Params) int {
	return max(1, min(runLength/p.Symbol, (p.DataRows()+4*cores()-1)/(4*cores())))
}

// columnsAtATime returns how many columns are extended together.
func columnsAtATime(p Params) int {
	return max(1, min(runLength/p.Symbol, (p.N+4*cores()-1)/(4*cores())))
}

// A columnWorker is the memory in which one core extends and hashes columns.
type columnWorker struct {
	bottom  []byte   // computed symbols that are not kept
	padded  []byte   // the symbol in which the blob ends
	symbols [][]byte // of one column
	leaves  []merkle.Hash
	tree    []merkle.Hash
}

// run extends columns first to first+count from K1 to n symbols and sets their
// leaves, in rows of n, and the secondary hashes of m. original returns a
// symbol of rows 0 to K1, perhaps short or nil; keep returns where to keep a
// symbol of rows K1 to n, or nil. Both take the row and the column.
func (w *columnWorker) run(p Params, first, count int, leaves []merkle.Hash, m *Metadata, original, keep func(r, c int) []byte) {
	size, below := p.Symbol, p.N-p.K1
	w.bottom = grow(w.bottom, below*count*size)
	w.padded = grow(w.padded, size)
	w.symbols = grow(w.symbols, p.N)
	w.leaves = grow(w.leaves, count*p.N)
	w.tree = grow(w.tree, p.N)

	recovery := func(i, j int) []byte {
		if b := keep(p.K1+i, first+j); b != nil {
			return b
		}
		return w.bottom[(j*below+i)*size:][:size]
	}
	p.Code(Primary).Encode(size, count, func(r, j int) []byte { return original(r, first+j) }, recovery)

	zero := merkle.Blake2bLeaf(make([]byte, size))
	for j := range count {
		column := w.leaves[j*p.N : (j+1)*p.N]
		rows := 0 // with bytes of the blob
		for ; rows < p.K1; rows++ {
			s := original(rows, first+j)
			if s == nil {
				break
			}
			if len(s) < size {
				clear(w.padded[copy(w.padded, s):])
				s = w.padded
			}
			w.symbols[rows] = s
		}
		for i := range below {
			w.symbols[rows+i] = recovery(i, j)
		}
		hashSymbols(column[:rows+below], w.symbols[:rows+below])
		copy(column[p.K1:], column[rows:rows+below])
		for r := rows; r < p.K1; r++ {
			column[r] = zero
		}
		copy(w.tree, column)
		m.Hashes[Secondary.OfPair(first+j, p.N).Index].Secondary = merkle.Blake2bRoot(w.tree)
	}
	// Row by row, because leaves is too large for the cache.
	for r := range p.N {
		row := leaves[r*p.N+first:][:count]
		for j := range row {
			row[j] = w.leaves[j*p.N+r]
		}
	}
}

// cores returns how many goroutines work at a time.
func cores() int { return runtime.GOMAXPROCS(0) }

// parallel calls f for all items below n, on as many goroutines as workers
// says, and returns when all calls have returned. core, below workers, tells
// the goroutines apart. After an error, or when ctx is done, no further item is begun; the
// first error is returned.
func parallel(ctx context.Context, workers, n int, f func(core, item int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	var once sync.Once
	var failed error
	for core := range min(workers, n) {
		wg.Go(func() {
			for {
				item := int(next.Add(1)) - 1
				if item >= n {
					return
				}
				err := ctx.Err()
				if err == nil {
					err = f(core, item)
				}
				if err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(n))
					return
				}
			}
		})
	}
	wg.Wait()
	return failed
}
