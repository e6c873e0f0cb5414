package walrus

import (
	"errors"
	"fmt"
	"sync"

	"github.com/floefs/floe/merkle"
)

// ProveSliver returns data as proven bytes if they are sliver s of the blob
// that m describes; m itself must have been verified. It keeps data, which
// must not change from then on. The error wraps merkle.ErrMismatch.
func (m *Metadata) ProveSliver(s SliverID, data []byte) (merkle.Chunk, error) {
	p, err := m.Params()
	if err != nil {
		return merkle.Chunk{}, err
	}
	if len(data) != p.SliverLen(s.Axis) {
		return merkle.Chunk{}, fmt.Errorf("%s: %w: %d bytes, want %d", s, merkle.ErrMismatch, len(data), p.SliverLen(s.Axis))
	}
	c, err := merkle.Prove(m.Hash(s), data, p.SliverSum(s.Axis))
	if err != nil {
		return merkle.Chunk{}, fmt.Errorf("%s: %w", s, err)
	}
	return c, nil
}

// SliverSum returns the function that computes the hash of a sliver of an
// axis: it extends the sliver to n symbols and hashes the tree over them. It
// may be called concurrently. Data that is not as long as a sliver gets a sum
// which no sliver has.
func (p Params) SliverSum(a Axis) merkle.Sum {
	// A sliver runs across those of the other axis, and is coded with it.
	code, k := p.Code(a.Other()), p.Symbols(a)
	return func(data []byte) merkle.Hash {
		if len(data) != p.SliverLen(a) {
			return merkle.Blake2b(append([]byte{2}, data...))
		}
		v := verifiers.Get().(*verifier)
		defer verifiers.Put(v)
		v.grow(p, p.N-k)
		size := p.Symbol
		for i := range p.N {
			if i < k {
				v.symbols[i] = data[i*size : (i+1)*size]
			} else {
				v.symbols[i] = v.recovery[(i-k)*size : (i-k+1)*size]
			}
		}
		code.Encode(size, 1,
			func(i, _ int) []byte { return v.symbols[i] },
			func(i, _ int) []byte { return v.symbols[k+i] })
		hashSymbols(v.leaves, v.symbols)
		return merkle.Blake2bRoot(v.leaves)
	}
}

// A verifier is the memory of one running SliverSum.
type verifier struct {
	symbols  [][]byte
	recovery []byte
	leaves   []merkle.Hash
}

var verifiers = sync.Pool{New: func() any { return new(verifier) }}

// grow makes room for a sliver's n symbols, of which recovery are computed.
func (v *verifier) grow(p Params, recovery int) {
	if cap(v.leaves) < p.N {
		v.symbols, v.leaves = make([][]byte, p.N), make([]merkle.Hash, p.N)
	}
	v.symbols, v.leaves = v.symbols[:p.N], v.leaves[:p.N]
	if len(v.recovery) < recovery*p.Symbol {
		v.recovery = make([]byte, recovery*p.Symbol)
	}
}

// ZeroHash returns the hash of a sliver of zeros, which is the same for both
// axes.
func (p Params) ZeroHash() merkle.Hash {
	leaves := make([]merkle.Hash, p.N)
	zero := merkle.Blake2bLeaf(make([]byte, p.Symbol))
	for i := range leaves {
		leaves[i] = zero
	}
	return merkle.Blake2bRoot(leaves)
}

// ErrInconsistent says that the slivers a blob's metadata names do not belong
// to one blob: its writer was dishonest.
var ErrInconsistent = errors.New("blob is inconsistent")

// CheckZeroRows reports, with ErrInconsistent, if a row that lies beyond the
// end of the blob is not that of zeros.
//
// This is half of Walrus' default consistency check, which demands that the
// primary slivers below K1 hash to their metadata entries and so makes all
// readers see the same bytes. Whoever has proven the DataRows primary slivers
// that hold data and calls this has done the whole check without decoding.
func (m *Metadata) CheckZeroRows() error {
	p, err := m.Params()
	if err != nil {
		return err
	}
	zero := p.ZeroHash()
	for r := p.DataRows(); r < p.K1; r++ {
		if m.Hashes[r].Primary != zero {
			return fmt.Errorf("%w: row %d of %d lies beyond its end, but is not zero", ErrInconsistent, r, p.K1)
		}
	}
	return nil
}
