package walrus

import (
	"context"
	"fmt"
	"io"
)

// Hash returns the metadata, and with it the id, of the blob of size bytes
// that r holds, without keeping the blob in memory: it needs the Encoder's
// memory but for about memory bytes instead of half the blob's. The price is
// reading the blob once for its columns and once for each batch of memory
// bytes of its recovery columns, half the blob in all. r is read concurrently.
func (e *Encoder) Hash(ctx context.Context, r io.ReaderAt, size uint64, memory int) (*Metadata, error) {
	p, err := NewParams(e.n, size)
	if err != nil {
		return nil, err
	}
	e.leaves = grow(e.leaves, p.N*p.N)
	preparePairs(p.Symbol, p.N*p.N)
	m := &Metadata{Size: p.Size, Hashes: make([]PairHashes, p.N)}
	if err := e.hashColumns(ctx, p, r, m); err != nil {
		return nil, err
	}
	batch := min(p.F, max(1, memory/p.SliverLen(Secondary)))
	for first := p.K2; first < p.N; first += batch {
		if err := e.hashRecoveryColumns(ctx, p, r, m, first, min(first+batch, p.N)); err != nil {
			return nil, err
		}
	}
	if err := e.hashRows(ctx, p, m); err != nil {
		return nil, err
	}
	return m, nil
}

// hashColumns sets leaves and secondary hashes of columns 0 to K2.
func (e *Encoder) hashColumns(ctx context.Context, p Params, r io.ReaderAt, m *Metadata) error {
	per := min(columnsAtATime(p), p.K2)
	read := make([][]byte, len(e.columns)) // by core
	return parallel(ctx, len(e.columns), (p.K2+per-1)/per, func(core, group int) error {
		first := group * per
		count := min(per, p.K2-first)
		run := count * p.Symbol // what each row has of these columns
		read[core] = grow(read[core], p.K1*run)
		buf := read[core]
		for row := range p.DataRows() {
			if err := readBlob(p, r, buf[row*run:(row+1)*run], row, first); err != nil {
				return err
			}
		}
		e.columns[core].run(p, first, count, e.leaves, m, func(row, c int) []byte {
			if (row*p.K2+c)*p.Symbol >= int(p.Size) {
				return nil
			}
			return buf[row*run+(c-first)*p.Symbol:][:p.Symbol]
		}, keepNone)
		return nil
	})
}

// hashRecoveryColumns sets leaves and secondary hashes of columns from to to,
// which are not below K2.
func (e *Encoder) hashRecoveryColumns(ctx context.Context, p Params, r io.ReaderAt, m *Metadata, from, to int) error {
	code, size, rows := p.Code(Secondary), p.Symbol, p.DataRows()
	e.right = grow(e.right, (to-from)*p.SliverLen(Secondary))
	at := func(row, c int) []byte { return e.right[((c-from)*p.K1+row)*size:][:size] }

	perRow := rowsAtATime(p)
	read := make([][]byte, len(e.columns)) // by core
	err := parallel(ctx, len(e.columns), (rows+perRow-1)/perRow, func(core, group int) error {
		first := group * perRow
		count, n := min(perRow, rows-first), p.SliverLen(Primary)
		read[core] = grow(read[core], count*n)
		buf := read[core]
		for j := range count {
			if err := readBlob(p, r, buf[j*n:(j+1)*n], first+j, 0); err != nil {
				return err
			}
		}
		code.Encode(size, count,
			func(c, j int) []byte { return buf[j*n+c*size:][:size] },
			func(i, j int) []byte {
				if c := p.K2 + i; c >= from && c < to {
					return at(first+j, c)
				}
				return nil
			})
		return nil
	})
	if err != nil {
		return err
	}
	per := columnsAtATime(p)
	return parallel(ctx, len(e.columns), (to-from+per-1)/per, func(core, group int) error {
		first := from + group*per
		e.columns[core].run(p, first, min(per, to-first), e.leaves, m, func(row, c int) []byte {
			if row >= rows {
				return nil
			}
			return at(row, c)
		}, keepNone)
		return nil
	})
}

func keepNone(r, c int) []byte { return nil }

// readBlob fills buf with the matrix from row and column on, zeros behind the
// blob's end.
func readBlob(p Params, r io.ReaderAt, buf []byte, row, column int) error {
	off := (int64(row)*int64(p.K2) + int64(column)) * int64(p.Symbol)
	n := int(max(0, min(int64(len(buf)), int64(p.Size)-off)))
	clear(buf[n:])
	if n == 0 {
		return nil
	}
	if got, err := r.ReadAt(buf[:n], off); got < n {
		return fmt.Errorf("reading %d bytes of the blob at %d: %w", n, off, err)
	}
	return nil
}
