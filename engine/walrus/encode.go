package walrus

import (
	"context"
	"fmt"
	"slices"

	"github.com/floefs/floe/merkle"
)

// An Encoder turns blobs into slivers, metadata and ids, on all cores. It
// keeps its memory from one blob to the next: about half the blob, the recovery
// slivers asked for, and 32 n² bytes. It is not safe for concurrent use.
type Encoder struct {
	n int

	// right holds the symbols of rows 0 to K1 in columns K2 to n, column after
	// column: the secondary slivers from K2 on.
	right []byte
	// bottom holds the symbols of columns 0 to K2 in the kept rows from K1 on,
	// row after row: the primary slivers from K1 on.
	bottom []byte
	// leaves[r*n+c] is the hash of the symbol in row r and column c.
	leaves []merkle.Hash

	columns []columnWorker // one for each core
}

// NewEncoder returns an Encoder for n shards.
func NewEncoder(n int) (*Encoder, error) {
	if _, err := NewParams(n, 0); err != nil {
		return nil, err
	}
	return &Encoder{n: n, columns: make([]columnWorker, cores())}, nil
}

// Shards returns for how many shards the Encoder encodes.
func (e *Encoder) Shards() int { return e.n }

// Encoded is an encoded blob. What it holds is part of the blob's bytes and of
// the Encoder's memory, and valid until either is changed, the latter by the
// next Encode.
type Encoded struct {
	Params   Params
	ID       BlobID
	Metadata *Metadata // belongs to the caller

	data          []byte
	rows          int
	right, bottom []byte
}

// Encode encodes data, which it keeps, but does not change. Of the primary
// slivers the first rows ones can be had from the result, and at least the
// systematic ones, which cost nothing; of the secondary ones all.
func (e *Encoder) Encode(ctx context.Context, data []byte, rows int) (*Encoded, error) {
	p, err := NewParams(e.n, uint64(len(data)))
	if err != nil {
		return nil, err
	}
	if rows > p.N {
		return nil, fmt.Errorf("%d primary slivers asked for of %d", rows, p.N)
	}
	rows = max(rows, p.K1)
	e.right = grow(e.right, p.F*p.SliverLen(Secondary))
	e.bottom = grow(e.bottom, (rows-p.K1)*p.SliverLen(Primary))
	e.leaves = grow(e.leaves, p.N*p.N)
	preparePairs(p.Symbol, p.N*p.N)

	if err := e.extendRows(ctx, p, data); err != nil {
		return nil, err
	}
	m := &Metadata{Size: p.Size, Hashes: make([]PairHashes, p.N)}
	if err := e.extendColumns(ctx, p, data, m); err != nil {
		return nil, err
	}
	if err := e.hashRows(ctx, p, m); err != nil {
		return nil, err
	}
	return &Encoded{Params: p, ID: m.BlobID(), Metadata: m, data: data, rows: rows, right: e.right, bottom: e.bottom}, nil
}

// extendRows fills right.
func (e *Encoder) extendRows(ctx context.Context, p Params, data []byte) error {
	code, size, rows := p.Code(Secondary), p.Symbol, p.DataRows()
	for c := range p.F { // the last blob's bytes
		clear(e.right[(c*p.K1+rows)*size : (c+1)*p.K1*size])
	}
	per := rowsAtATime(p)
	return parallel(ctx, len(e.columns), (rows+per-1)/per, func(_, group int) error {
		first := group * per
		code.Encode(size, min(per, rows-first),
			func(c, r int) []byte { return symbol(p, data, first+r, c) },
			func(c, r int) []byte { return e.right[(c*p.K1+first+r)*size:][:size] })
		return nil
	})
}

// symbol returns the symbol in row r and column c of the matrix, shorter than
// it is where the blob ends.
func symbol(p Params, data []byte, r, c int) []byte {
	at := (r*p.K2 + c) * p.Symbol
	if at >= len(data) {
		return nil
	}
	return data[at:min(at+p.Symbol, len(data))]
}

// extendColumns fills bottom, leaves and the secondary hashes of m.
func (e *Encoder) extendColumns(ctx context.Context, p Params, data []byte, m *Metadata) error {
	per := columnsAtATime(p)
	return parallel(ctx, len(e.columns), (p.N+per-1)/per, func(core, group int) error {
		first := group * per
		w := &e.columns[core]
		w.run(p, first, min(per, p.N-first), e.leaves, m,
			func(r, c int) []byte {
				if c < p.K2 {
					return symbol(p, data, r, c)
				}
				if r >= p.DataRows() {
					return nil
				}
				return e.right[((c-p.K2)*p.K1+r)*p.Symbol:][:p.Symbol]
			},
			func(r, c int) []byte {
				at := ((r-p.K1)*p.K2 + c) * p.Symbol
				if c >= p.K2 || at >= len(e.bottom) {
					return nil
				}
				return e.bottom[at:][:p.Symbol]
			})
		return nil
	})
}

// hashRows sets the primary hashes of m. It uses up leaves.
func (e *Encoder) hashRows(ctx context.Context, p Params, m *Metadata) error {
	zero := p.ZeroHash()
	return parallel(ctx, len(e.columns), p.N, func(_, r int) error {
		if r >= p.DataRows() && r < p.K1 {
			m.Hashes[r].Primary = zero
		} else {
			m.Hashes[r].Primary = merkle.Blake2bRoot(e.leaves[r*p.N : (r+1)*p.N])
		}
		return nil
	})
}

// Sliver returns the bytes of a sliver, copying only systematic secondary ones
// and primary ones that are not wholly within the blob.
func (e *Encoded) Sliver(s SliverID) []byte {
	p := e.Params
	n := p.SliverLen(s.Axis)
	if s.Axis == Primary && s.Index >= e.rows {
		panic("internal error: " + s.String() + " was not asked for")
	}
	switch i := s.Index - p.Needed(s.Axis); {
	case i >= 0 && s.Axis == Primary:
		return e.bottom[i*n : (i+1)*n : (i+1)*n]
	case i >= 0:
		return e.right[i*n : (i+1)*n : (i+1)*n]
	case s.Axis == Primary:
		if end := (s.Index + 1) * n; end <= len(e.data) {
			return e.data[s.Index*n : end : end]
		}
		sliver := make([]byte, n)
		copy(sliver, e.data[min(s.Index*n, len(e.data)):])
		return sliver
	default:
		sliver := make([]byte, n)
		for r := range p.DataRows() {
			copy(sliver[r*p.Symbol:], symbol(p, e.data, r, s.Index))
		}
		return sliver
	}
}

// grow returns a slice of n elements, b's memory if it suffices. What the
// elements are is not defined.
func grow[T any](b []T, n int) []T { return slices.Grow(b[:0], n)[:n] }
