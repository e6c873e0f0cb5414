package walrus

import (
	"fmt"
	"maps"
	"slices"

	"github.com/floefs/floe/merkle"
)

// Expanded is a proven sliver with all its n symbols and their hashes. It does
// not change, and may be used concurrently.
type Expanded struct {
	p        Params
	id       SliverID
	data     []byte // of the sliver: its first symbols
	recovery []byte // the other ones
	leaves   []merkle.Hash
}

// Expand proves data to be sliver s of the blob that m describes, as
// ProveSliver does, and extends it to all its symbols. It keeps data, which
// must not change from then on.
func (m *Metadata) Expand(s SliverID, data []byte) (*Expanded, error) {
	p, err := m.Params()
	if err != nil {
		return nil, err
	}
	if err := p.checkSliver(s); err != nil {
		return nil, err
	}
	if len(data) != p.SliverLen(s.Axis) {
		return nil, fmt.Errorf("%s: %w: %d bytes, want %d", s, merkle.ErrMismatch, len(data), p.SliverLen(s.Axis))
	}
	k := p.Symbols(s.Axis)
	x := &Expanded{p: p, id: s, data: data, recovery: make([]byte, (p.N-k)*p.Symbol), leaves: make([]merkle.Hash, p.N)}
	p.Code(s.Axis.Other()).Encode(p.Symbol, 1,
		func(i, _ int) []byte { return x.Symbol(i) },
		func(i, _ int) []byte { return x.Symbol(k + i) })
	symbols := make([][]byte, p.N)
	for i := range symbols {
		symbols[i] = x.Symbol(i)
	}
	hashSymbols(x.leaves, symbols)
	if got := merkle.Blake2bRoot(slices.Clone(x.leaves)); got != m.Hash(s) {
		return nil, fmt.Errorf("%s: %w: got %s, want %s", s, merkle.ErrMismatch, got, m.Hash(s))
	}
	return x, nil
}

// Symbol returns the bytes of symbol i, which must be below n.
func (x *Expanded) Symbol(i int) []byte {
	from, size := x.data, x.p.Symbol
	if k := x.p.Symbols(x.id.Axis); i >= k {
		from, i = x.recovery, i-k
	}
	return from[i*size : (i+1)*size : (i+1)*size]
}

// Decoding returns the symbol for sliver target of the other axis, whose index
// must be below n.
func (x *Expanded) Decoding(target int) EitherDecodingSymbol {
	return EitherDecodingSymbol{x.id.Axis.Other(), DecodingSymbol{x.id.Index, x.Symbol(target)}}
}

// Recovery returns the symbol for sliver target of the other axis, whose index
// must be below n, with its proof.
func (x *Expanded) Recovery(target int) GeneralRecoverySymbol {
	d := x.Decoding(target)
	return GeneralRecoverySymbol{
		Target:         SliverID{d.Target, target},
		RecoverySymbol: RecoverySymbol{d.DecodingSymbol, merkle.Blake2bPath(slices.Clone(x.leaves), target)},
	}
}

// checkSliver reports if there is no sliver s on these shards.
func (p Params) checkSliver(s SliverID) error {
	if s.Axis > Secondary || s.Index < 0 || s.Index >= p.N {
		return fmt.Errorf("%s of %d", s, p.N)
	}
	return nil
}

// CheckSymbol reports, with merkle.ErrMismatch, if g is not the symbol which
// its source sliver has for its target, according to m, which itself must have
// been verified. That the target has the same symbol does not follow: see
// InconsistencyProof.
func (m *Metadata) CheckSymbol(g GeneralRecoverySymbol) error {
	p, err := m.Params()
	if err != nil {
		return err
	}
	source := g.SourceID()
	if err := p.checkSliver(g.Target); err != nil {
		return fmt.Errorf("recovery symbol: %w: target %w", merkle.ErrMismatch, err)
	}
	if err := p.checkSliver(source); err != nil {
		return fmt.Errorf("recovery symbol: %w: source %w", merkle.ErrMismatch, err)
	}
	if len(g.Data) != p.Symbol {
		return fmt.Errorf("recovery symbol %s: %w: %d bytes, want %d", g.ID(), merkle.ErrMismatch, len(g.Data), p.Symbol)
	}
	err = merkle.CheckBlake2bPath(m.Hash(source), merkle.Blake2bLeaf(g.Data), g.Target.Index, p.N, g.Proof)
	if err != nil {
		return fmt.Errorf("recovery symbol %s of %s: %w", g.ID(), source, err)
	}
	return nil
}

// Join returns the bytes of sliver target from symbols of Symbols(target.Axis)
// different sources. It prefers systematic ones and ignores surplus ones. The
// symbols are taken as they are: prove them first, or what comes out.
func (p Params) Join(target SliverID, symbols []DecodingSymbol) ([]byte, error) {
	if err := p.checkSliver(target); err != nil {
		return nil, err
	}
	bySource := map[int][]byte{}
	for _, s := range symbols {
		source := SliverID{target.Axis.Other(), s.Source}
		if err := p.checkSliver(source); err != nil {
			return nil, err
		}
		if len(s.Data) != p.Symbol {
			return nil, fmt.Errorf("symbol of %s: %d bytes, want %d", source, len(s.Data), p.Symbol)
		}
		bySource[s.Source] = s.Data
	}
	k := p.Symbols(target.Axis)
	if len(bySource) < k {
		return nil, fmt.Errorf("%s: symbols of %d slivers, %d needed", target, len(bySource), k)
	}
	sliver := make([]byte, p.SliverLen(target.Axis))
	known := slices.Sorted(maps.Keys(bySource))[:k]
	src := make([][]byte, k)
	for i, source := range known {
		src[i] = bySource[source]
	}
	var missing []int
	var dst [][]byte
	for i, symbol := range split(sliver, p.Symbol) {
		if data, ok := bySource[i]; ok {
			copy(symbol, data)
		} else {
			missing, dst = append(missing, i), append(dst, symbol)
		}
	}
	if len(missing) == 0 {
		return sliver, nil
	}
	plan, err := p.Code(target.Axis.Other()).Plan(known, missing)
	if err != nil {
		return nil, err
	}
	return sliver, plan.Apply(p.Symbol, 0, dst, src)
}
