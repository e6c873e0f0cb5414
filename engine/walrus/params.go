// Package walrus holds every format that must match Walrus byte for byte, and
// nothing else: how a blob becomes slivers, metadata and a blob id, how these
// are written, and how they are read back and proven.
//
// # FORMAT: encoding RS2
//
// A committee of n shards, 4 to 1000, tolerates f = (n-1)/3 faulty ones. With
// K1 = n-2f and K2 = n-f, a blob is written row by row into a matrix of K1
// rows and K2 columns of symbols, all of s bytes; zeros follow its end. s is
// the smallest even number for which the blob fits, at least 2 and at most
// 65534.
//
// Every row is extended from K2 to n symbols and every column, old and new,
// from K1 to n, with the codes of package erasure. Primary sliver r is the
// first K2 symbols of row r, secondary sliver c the first K1 symbols of column
// c. So both are systematic: primary slivers below K1 are consecutive slices
// of the blob, secondary slivers below K2 are the columns of the matrix.
//
// Sliver pair i is primary sliver i and secondary sliver n-1-i. It lies on
// shard (i+R) mod n, R being the blob id read as a big-endian number, mod n.
//
// The hash of a sliver is the root of the Walrus tree (package merkle) over
// the n symbols of its whole row or column. The root over the n pairs, each a
// leaf of 64 bytes (primary hash, secondary hash), is the blob's root, and
//
//	blob id = H(0x01 || size of the blob as u64, little-endian || root).
//
// tests/vectors/walrus.json holds what the official encoder makes of 90 blobs;
// TestOfficialVectors compares every one.
package walrus

import (
	"fmt"
	"sync"

	"github.com/floefs/floe/engine/erasure"
)

const (
	MinShards = 4 // fewer have no recovery symbols
	MaxShards = 1000
	MaxSymbol = 65534 // bytes
)

// Params is the geometry of one blob: pure arithmetic on its two first
// fields. Only NewParams makes valid ones.
type Params struct {
	N    int    // shards
	Size uint64 // bytes of the blob

	F      int // shards that may be faulty
	K1     int // rows of the matrix; primary slivers that restore the blob
	K2     int // columns of the matrix; secondary slivers that restore the blob
	Symbol int // bytes of a symbol, even
}

// NewParams returns the geometry of a blob of size bytes on n shards.
func NewParams(n int, size uint64) (Params, error) {
	if n < MinShards || n > MaxShards {
		return Params{}, fmt.Errorf("%d shards: the number must be from %d to %d", n, MinShards, MaxShards)
	}
	f := (n - 1) / 3
	p := Params{N: n, Size: size, F: f, K1: n - 2*f, K2: n - f}
	if size > p.capacity(MaxSymbol) {
		return Params{}, fmt.Errorf("blob of %d bytes: %d shards hold at most %d", size, n, p.capacity(MaxSymbol))
	}
	cells := p.capacity(1)
	s := (max(size, 1) + cells - 1) / cells
	p.Symbol = int(s + s%2)
	return p, nil
}

// MaxBlob returns the size of the largest blob n shards hold, which must be a
// number NewParams accepts.
func MaxBlob(n int) uint64 {
	p, err := NewParams(n, 0)
	if err != nil {
		return 0
	}
	return p.capacity(MaxSymbol)
}

func (p Params) capacity(symbol int) uint64 {
	return uint64(p.K1) * uint64(p.K2) * uint64(symbol)
}

// Needed returns how many slivers of an axis restore the blob.
func (p Params) Needed(a Axis) int {
	if a == Primary {
		return p.K1
	}
	return p.K2
}

// Symbols returns how many symbols a sliver of an axis has.
func (p Params) Symbols(a Axis) int { return p.Needed(a.Other()) }

// SliverLen returns the bytes of a sliver of an axis.
func (p Params) SliverLen(a Axis) int { return p.Symbols(a) * p.Symbol }

// DataRows returns how many rows hold bytes of the blob, at least 0. The rows
// from there to K1 are zero.
func (p Params) DataRows() int {
	row := uint64(p.SliverLen(Primary))
	return int((p.Size + row - 1) / row)
}

// Row returns where byte off of the blob is on the primary axis: the sliver
// and the offset within it. Up to the sliver's end the blob's bytes follow one
// another.
func (p Params) Row(off uint64) (sliver, at int) {
	row := uint64(p.SliverLen(Primary))
	return int(off / row), int(off % row)
}

// Column returns where byte off of the blob is on the secondary axis. The
// blob's bytes follow one another to the end of the symbol, count bytes from
// off on; then the next column continues at the same symbol.
func (p Params) Column(off uint64) (sliver, at, count int) {
	row, inRow := p.Row(off)
	column, inSymbol := inRow/p.Symbol, inRow%p.Symbol
	return column, row*p.Symbol + inSymbol, p.Symbol - inSymbol
}

// Code returns the code whose symbols are the slivers of an axis: symbol i of
// every codeword lies in sliver i, symbol j of each sliver belongs to codeword
// j.
func (p Params) Code(a Axis) *erasure.Code { return codesOf(p.N)[a] }

// codesOf returns, by axis, the codes of a committee of n shards.
func codesOf(n int) [2]*erasure.Code {
	if c, ok := codes.Load(n); ok {
		return c.([2]*erasure.Code)
	}
	var c [2]*erasure.Code
	p, err := NewParams(n, 0)
	for _, a := range []Axis{Primary, Secondary} {
		if err == nil {
			c[a], err = erasure.New(p.Needed(a), n-p.Needed(a))
		}
	}
	if err != nil {
		panic("internal error: " + err.Error())
	}
	codes.Store(n, c)
	return c
}

var codes sync.Map // number of shards -> [2]*erasure.Code
