package walrus

import (
	"encoding/binary"
	"fmt"
)

// An Axis is the direction a sliver runs in.
type Axis uint8

const (
	Primary   Axis = 0 // rows
	Secondary Axis = 1 // columns
)

// String returns the axis as it stands in URLs: primary or secondary.
func (a Axis) String() string {
	switch a {
	case Primary:
		return "primary"
	case Secondary:
		return "secondary"
	}
	return fmt.Sprintf("axis %d", uint8(a))
}

// ParseAxis is the inverse of String.
func ParseAxis(s string) (Axis, error) {
	for _, a := range []Axis{Primary, Secondary} {
		if s == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%q is no sliver type: want primary or secondary", s)
}

// Other returns the axis that crosses a.
func (a Axis) Other() Axis { return 1 - a }

// OfPair returns the sliver of this axis in sliver pair pair of n.
func (a Axis) OfPair(pair, n int) SliverID {
	if a == Secondary {
		pair = n - 1 - pair
	}
	return SliverID{a, pair}
}

// A SliverID names a sliver of a blob by its own index, which for secondary
// slivers is not the index of the pair.
type SliverID struct {
	Axis  Axis
	Index int
}

func (s SliverID) String() string { return fmt.Sprintf("%s sliver %d", s.Axis, s.Index) }

// Pair returns the index of the sliver pair, of n, that s belongs to. URLs
// carry it, bodies carry Index.
func (s SliverID) Pair(n int) int { return s.Axis.OfPair(s.Index, n).Index }

// # FORMAT: SliverData, the body in which slivers travel
//
//	uleb  length of data
//	      data
//	u16   bytes of a symbol
//	u16   index of the sliver, not of the pair
//
// TestOfficialVectors proves it.

// SliverData is a parsed body. What it says is a node's claim until Check and
// the hash confirm it.
type SliverData struct {
	Data   []byte
	Symbol int // bytes
	Index  int
}

// Frame returns what surrounds a sliver's bytes in its body, so that the
// bytes can be streamed.
func (p Params) Frame(s SliverID) (header, footer []byte) {
	header = uleb(nil, uint32(p.SliverLen(s.Axis)))
	footer = binary.LittleEndian.AppendUint16(nil, uint16(p.Symbol))
	footer = binary.LittleEndian.AppendUint16(footer, uint16(s.Index))
	return header, footer
}

// BodyLen returns the bytes of the body of a sliver of an axis.
func (p Params) BodyLen(a Axis) int {
	header, footer := p.Frame(SliverID{Axis: a})
	return len(header) + p.SliverLen(a) + len(footer)
}

// MaxBodyLen returns the bytes of the longest body of any sliver on n shards.
func MaxBodyLen(n int) int {
	p, err := NewParams(n, MaxBlob(n))
	if err != nil {
		return 0
	}
	return p.BodyLen(Primary)
}

// AppendSliver appends the body of sliver s with the given bytes to b.
func (p Params) AppendSliver(b []byte, s SliverID, data []byte) []byte {
	header, footer := p.Frame(s)
	return append(append(append(b, header...), data...), footer...)
}

// ParseSliver parses a body. Data is a part of b.
func ParseSliver(b []byte) (SliverData, error) {
	n, rest, err := parseULEB(b)
	if err != nil {
		return SliverData{}, fmt.Errorf("sliver: %w", err)
	}
	if uint64(len(rest)) != uint64(n)+4 {
		return SliverData{}, fmt.Errorf("sliver: body of %d bytes for %d bytes of data", len(b), n)
	}
	data, footer := rest[:n:n], rest[n:]
	return SliverData{
		Data:   data,
		Symbol: int(binary.LittleEndian.Uint16(footer)),
		Index:  int(binary.LittleEndian.Uint16(footer[2:])),
	}, nil
}

// Check reports if d is not shaped like sliver s of the blob. It does not
// look at the bytes.
func (d SliverData) Check(p Params, s SliverID) error {
	if d.Index != s.Index || d.Symbol != p.Symbol || len(d.Data) != p.SliverLen(s.Axis) {
		return fmt.Errorf("%s: got index %d, %d bytes in symbols of %d, want index %d, %d bytes in symbols of %d",
			s, d.Index, len(d.Data), d.Symbol, s.Index, p.SliverLen(s.Axis), p.Symbol)
	}
	return nil
}
