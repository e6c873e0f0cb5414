package walrus

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/floefs/floe/merkle"
)

// # FORMAT: inconsistency proof
//
//	u16   index of the target sliver
//	uleb  length, and RecoverySymbols
//
// The axis of the target stands in the URL. There are exactly as many symbols
// as rebuild the target, all of different sources, and each proof leads to the
// hash of its source in the metadata. If the sliver they make has another hash
// than the target has in the metadata, the slivers do not belong to one blob.
//
// TestOfficialRecoverySymbols proves the symbols, and
// TestInconsistencyIsProvenExactlyWhenThereIsOne the rest.

// An InconsistencyProof convinces whoever has a blob's metadata that no blob
// has these slivers.
type InconsistencyProof struct {
	Target  SliverID
	Symbols []RecoverySymbol
}

// Append appends i to b, without the axis.
func (i *InconsistencyProof) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(i.Target.Index))
	b = uleb(b, uint32(len(i.Symbols)))
	for _, s := range i.Symbols {
		b = s.Append(b)
	}
	return b
}

// ParseInconsistencyProof parses a proof for a sliver of axis a. The symbols
// are parts of b. See Metadata.CheckInconsistency.
func ParseInconsistencyProof(a Axis, b []byte) (*InconsistencyProof, error) {
	d := decoder{rest: b}
	i := &InconsistencyProof{Target: SliverID{a, d.u16()}}
	i.Symbols = make([]RecoverySymbol, d.count(MaxShards, least))
	for j := range i.Symbols {
		i.Symbols[j] = d.recoverySymbol()
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("inconsistency proof: %w", err)
	}
	return i, nil
}

// CheckInconsistency returns nil if i proves that the blob which m describes
// is inconsistent; m itself must have been verified.
func (m *Metadata) CheckInconsistency(i *InconsistencyProof) error {
	p, err := m.Params()
	if err != nil {
		return err
	}
	if err := p.checkSliver(i.Target); err != nil {
		return fmt.Errorf("inconsistency proof: %w", err)
	}
	if k := p.Symbols(i.Target.Axis); len(i.Symbols) != k {
		return fmt.Errorf("inconsistency proof: %d symbols, want %d", len(i.Symbols), k)
	}
	for _, s := range i.Symbols {
		if err := m.CheckSymbol(GeneralRecoverySymbol{i.Target, s}); err != nil {
			return fmt.Errorf("inconsistency proof: %w", err)
		}
	}
	// Join wants as many different sources as there are symbols.
	sliver, err := p.Join(i.Target, decodingSymbols(i.Symbols))
	if err != nil {
		return fmt.Errorf("inconsistency proof: %w", err)
	}
	if p.SliverSum(i.Target.Axis)(sliver) == m.Hash(i.Target) {
		return fmt.Errorf("inconsistency proof: %s is what the metadata says", i.Target)
	}
	return nil
}

// Recover returns sliver target of the blob that m describes, proven, from
// symbols of other slivers; m itself must have been verified. Symbols that are
// false it leaves out. If enough are true and yet do not make the sliver, the
// error wraps ErrInconsistent and comes with the proof of that.
func (m *Metadata) Recover(target SliverID, symbols []RecoverySymbol) (merkle.Chunk, *InconsistencyProof, error) {
	p, err := m.Params()
	if err != nil {
		return merkle.Chunk{}, nil, err
	}
	bySource := map[int]RecoverySymbol{}
	for _, s := range symbols {
		if err := m.CheckSymbol(GeneralRecoverySymbol{target, s}); err == nil {
			bySource[s.Source] = s
		}
	}
	var used []RecoverySymbol
	for _, source := range slices.Sorted(maps.Keys(bySource)) {
		used = append(used, bySource[source])
	}
	used = used[:min(len(used), p.Symbols(target.Axis))]
	sliver, err := p.Join(target, decodingSymbols(used))
	if err != nil {
		return merkle.Chunk{}, nil, err
	}
	chunk, err := m.ProveSliver(target, sliver)
	if err != nil {
		return merkle.Chunk{}, &InconsistencyProof{target, used}, fmt.Errorf("%w: %w", ErrInconsistent, err)
	}
	return chunk, nil, nil
}

func decodingSymbols(symbols []RecoverySymbol) []DecodingSymbol {
	d := make([]DecodingSymbol, len(symbols))
	for i, s := range symbols {
		d[i] = s.DecodingSymbol
	}
	return d
}
