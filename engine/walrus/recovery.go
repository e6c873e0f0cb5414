package walrus

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/floefs/floe/merkle"
)

// # FORMAT: recovery symbols
//
// The symbol in row r and column c of the extended matrix lies on primary
// sliver r and on secondary sliver c. It is taken from one of them, its source,
// to rebuild the other one, its target.
//
//	DecodingSymbol         u16   index of the source sliver
//	                       uleb  length, and the bytes of the symbol
//	EitherDecodingSymbol   00 or 01, primary or secondary: the TARGET's axis
//	                       DecodingSymbol
//	MerkleProof            uleb  length, and nodes from the leaves upwards; a
//	                       node as in the metadata, 00 for a missing sibling
//	RecoverySymbol         DecodingSymbol, MerkleProof
//	GeneralRecoverySymbol  EitherDecodingSymbol
//	                       u16   index of the target sliver
//	                       MerkleProof
//
// The proof leads from leaf number (index of the target) to the hash of the
// source sliver, so it belongs to the axis that the enum does not name. It has
// ceil(log2 n) nodes.
//
// Nodes answer the query recoverySymbols with a vector of
// GeneralRecoverySymbol, and decodingSymbols with a map from the u16 index of
// the target to a vector of EitherDecodingSymbol. The map's order is that of
// the bytes: 256, written 00 01, comes before 1, written 01 00.
//
// TestOfficialRecoverySymbols proves symbols and paths; the official packages
// hold no code for the structs around them, which the generator of the vectors
// assembled from Walrus' sources.

// maxProof is the length of the longest path: that on MaxShards shards.
const maxProof = 10

// A MerkleProof is the path from a leaf to the root, leaf level first. The
// zero hash stands for a missing sibling.
type MerkleProof []merkle.Hash

// A DecodingSymbol is a symbol and the index of the sliver it was taken from.
type DecodingSymbol struct {
	Source int
	Data   []byte
}

// An EitherDecodingSymbol is a DecodingSymbol that tells what it is for.
type EitherDecodingSymbol struct {
	Target Axis // of the sliver to be rebuilt; the source is of the other one
	DecodingSymbol
}

// A RecoverySymbol is a symbol with the proof that its source holds it.
type RecoverySymbol struct {
	DecodingSymbol
	Proof MerkleProof
}

// A GeneralRecoverySymbol is a RecoverySymbol that tells what it is for.
type GeneralRecoverySymbol struct {
	Target SliverID
	RecoverySymbol
}

// SourceID returns the sliver the symbol was taken from.
func (g GeneralRecoverySymbol) SourceID() SliverID {
	return SliverID{g.Target.Axis.Other(), g.Source}
}

// ID returns where in the extended matrix the symbol stands.
func (g GeneralRecoverySymbol) ID() SymbolID {
	if g.Target.Axis == Primary {
		return SymbolID{Row: g.Target.Index, Column: g.Source}
	}
	return SymbolID{Row: g.Source, Column: g.Target.Index}
}

// A SymbolID is a place in the extended matrix. URLs carry it.
type SymbolID struct {
	Row    int // primary sliver
	Column int // secondary sliver
}

func (s SymbolID) String() string { return fmt.Sprintf("%d-%d", s.Row, s.Column) }

// Compare orders symbols by row and then by column, as nodes sort them.
func (s SymbolID) Compare(t SymbolID) int {
	return cmp.Or(cmp.Compare(s.Row, t.Row), cmp.Compare(s.Column, t.Column))
}

// ParseSymbolID is the inverse of String for indices of 16 bits.
func ParseSymbolID(s string) (SymbolID, error) {
	row, column, _ := strings.Cut(s, "-")
	r, rerr := strconv.ParseUint(row, 10, 16)
	c, cerr := strconv.ParseUint(column, 10, 16)
	id := SymbolID{int(r), int(c)}
	if rerr != nil || cerr != nil || id.String() != s {
		return SymbolID{}, fmt.Errorf("%q is no symbol id: want row-column", s)
	}
	return id, nil
}

// RecoverySymbolLen returns the most bytes that any form of a symbol of this
// blob, proof included, takes.
func (p Params) RecoverySymbolLen() int {
	return 1 + 2 + len(uleb(nil, uint32(p.Symbol))) + p.Symbol + 2 + 1 + proofLen(p.N)*(1+merkle.HashSize)
}

// proofLen returns the nodes of a path in a tree over n leaves.
func proofLen(n int) int { return bits.Len(uint(n - 1)) }

// Append appends s to b.
func (s DecodingSymbol) Append(b []byte) []byte {
	return appendBytes(binary.LittleEndian.AppendUint16(b, uint16(s.Source)), s.Data)
}

// Append appends s to b.
func (s EitherDecodingSymbol) Append(b []byte) []byte {
	return s.DecodingSymbol.Append(append(b, byte(s.Target)))
}

// Append appends s to b.
func (s RecoverySymbol) Append(b []byte) []byte {
	return s.Proof.Append(s.DecodingSymbol.Append(b))
}

// Append appends g to b.
func (g GeneralRecoverySymbol) Append(b []byte) []byte {
	b = g.DecodingSymbol.Append(append(b, byte(g.Target.Axis)))
	return g.Proof.Append(binary.LittleEndian.AppendUint16(b, uint16(g.Target.Index)))
}

// Append appends m to b.
func (m MerkleProof) Append(b []byte) []byte {
	b = uleb(b, uint32(len(m)))
	for _, h := range m {
		b = appendNode(b, h)
	}
	return b
}

// AppendRecoverySymbols appends the answer to a query for recovery symbols.
func AppendRecoverySymbols(b []byte, symbols []GeneralRecoverySymbol) []byte {
	b = uleb(b, uint32(len(symbols)))
	for _, g := range symbols {
		b = g.Append(b)
	}
	return b
}

// AppendDecodingSymbols appends the answer to a query for decoding symbols, by
// index of the target.
func AppendDecodingSymbols(b []byte, symbols map[int][]EitherDecodingSymbol) []byte {
	targets := slices.SortedFunc(maps.Keys(symbols), func(x, y int) int {
		return cmp.Compare(bits.ReverseBytes16(uint16(x)), bits.ReverseBytes16(uint16(y)))
	})
	b = uleb(b, uint32(len(targets)))
	for _, t := range targets {
		b = uleb(binary.LittleEndian.AppendUint16(b, uint16(t)), uint32(len(symbols[t])))
		for _, s := range symbols[t] {
			b = s.Append(b)
		}
	}
	return b
}

func (d *decoder) decodingSymbol() DecodingSymbol {
	return DecodingSymbol{Source: d.u16(), Data: d.bytes(MaxSymbol)}
}

func (d *decoder) eitherDecodingSymbol() EitherDecodingSymbol {
	return EitherDecodingSymbol{Target: Axis(d.variant(2)), DecodingSymbol: d.decodingSymbol()}
}

func (d *decoder) recoverySymbol() RecoverySymbol {
	return RecoverySymbol{DecodingSymbol: d.decodingSymbol(), Proof: d.merkleProof()}
}

func (d *decoder) generalRecoverySymbol() GeneralRecoverySymbol {
	e := d.eitherDecodingSymbol()
	return GeneralRecoverySymbol{
		Target:         SliverID{e.Target, d.u16()},
		RecoverySymbol: RecoverySymbol{e.DecodingSymbol, d.merkleProof()},
	}
}

func (d *decoder) merkleProof() MerkleProof {
	proof := make(MerkleProof, d.count(maxProof, 1))
	for i := range proof {
		rest, err := parseNode(&proof[i], d.rest)
		if err != nil {
			d.fail("%w", err)
			return nil
		}
		d.rest = rest
	}
	return proof
}

// least is what the shortest symbol takes, in any form: its source, a length
// of 0 and a path of 0, or instead of the latter its axis.
const least = 4

// ParseRecoverySymbols parses the answer to a query for recovery symbols. Its
// symbols are parts of b, and claims: see Metadata.CheckSymbol.
func ParseRecoverySymbols(b []byte) ([]GeneralRecoverySymbol, error) {
	d := decoder{rest: b}
	symbols := make([]GeneralRecoverySymbol, d.count(len(b), least))
	for i := range symbols {
		symbols[i] = d.generalRecoverySymbol()
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("recovery symbols: %w", err)
	}
	return symbols, nil
}

// ParseDecodingSymbols parses the answer to a query for decoding symbols, by
// index of the target. Its symbols are parts of b. Nothing proves them but
// what is made of them.
func ParseDecodingSymbols(b []byte) (map[int][]EitherDecodingSymbol, error) {
	d := decoder{rest: b}
	all := map[int][]EitherDecodingSymbol{}
	var last []byte
	for range d.count(1<<16, 3) {
		key := d.take(2)
		if d.err == nil && last != nil && bytes.Compare(last, key) >= 0 {
			d.fail("targets %x and %x out of order", last, key)
		}
		symbols := make([]EitherDecodingSymbol, d.count(len(b), least))
		for i := range symbols {
			symbols[i] = d.eitherDecodingSymbol()
		}
		if d.err != nil {
			break
		}
		all[int(binary.LittleEndian.Uint16(key))] = symbols
		last = key
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("decoding symbols: %w", err)
	}
	return all, nil
}
