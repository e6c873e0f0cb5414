// Package erasure is the Reed-Solomon code: symbols in, symbols out.
//
// A code over GF(2^16) turns k original symbols into m recovery symbols such
// that any k of the k+m restore the rest. Symbols are strings of an even
// number of bytes, all of one size; this package hides how bytes become field
// elements. The bytes are those of Walrus' encoding RS2, that is of the Rust
// crate reed-solomon-simd, version 3.
//
// # FORMAT: field and points
//
// Elements are 16-bit words: coordinates in the Cantor basis 0001 ACCA 3C0E
// 163E C582 ED2E 914C 4012 6C98 10D8 6A72 B900 FDB8 FB34 FF38 991E (hex, bit i
// for entry i) of polynomials modulo 0x1002D. Evaluation point i is the word i.
// With P(v) the smallest power of two that is at least v:
//
//   - High rate, P(k) >= P(m): original i sits at point P(m)+i, recovery
//     symbol j at point j, and zeros at the points from P(m)+k up to the next
//     power of two N. Their polynomial has a degree below N-P(m).
//   - Low rate, P(k) < P(m): original i sits at point i, recovery symbol j at
//     point P(k)+j, and zeros at the points from k up to P(k), which bounds
//     the degree.
//
// The test TestFastCodeEqualsItsDefinition holds this against polynomial
// arithmetic, and the vectors of package walrus against the official encoder.
package erasure

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// A Code is one choice of k and m. Its methods may be called concurrently.
type Code struct {
	k, m    int
	lowRate bool
	chunk   int // P(k) at low rate, P(m) at high rate

	// parts computes the recovery symbols: all of them at high rate, chunk by
	// chunk at low rate. See part.
	parts []part

	spectrum func() []int // of as many logarithms as there may be points
	scratch  sync.Pool    // of *scratch
}

// A part computes consecutive recovery symbols with a high-rate encoder, the
// only kind the library has.
//
// At low rate, recovery symbols i*chunk... are what the high-rate code with
// chunk parities yields for i*chunk zero shards followed by the originals: in
// characteristic 2 the transform from the block of points that holds the
// originals to the block of points that is wanted depends on the difference
// of the two blocks alone, and the roles may be swapped. The library rounds
// the number of parities up to a power of two, so more than chunk/2 must be
// asked for; the surplus is thrown away.
type part struct {
	first, count int // recovery symbols
	zeros        int // zero shards in front of the originals
	parities     int // asked of the library, at least count
	enc          reedsolomon.Encoder

	plan *Plan // interpolates the recovery symbols, if that is cheaper
}

// New returns the code with k originals and m recovery symbols. Both are at
// least 1, and the evaluation points must fit the field: k+m up to 32768
// always do.
func New(k, m int) (*Code, error) {
	if k < 1 || m < 1 || k > 1<<16 || m > 1<<16 {
		return nil, fmt.Errorf("no code with %d original and %d recovery symbols", k, m)
	}
	c := &Code{k: k, m: m, lowRate: pow2(k) < pow2(m), chunk: pow2(m)}
	if c.lowRate {
		c.chunk = pow2(k)
		for first := 0; first < m; first += c.chunk {
			count := min(c.chunk, m-first)
			c.parts = append(c.parts, part{first: first, count: count, zeros: first, parities: max(count, c.chunk/2+1)})
		}
	} else {
		c.parts = []part{{count: m, parities: m}}
	}
	c.spectrum = sync.OnceValue(func() []int {
		if c.lowRate {
			return logSpectrum(pow2(c.chunk + m))
		}
		return logSpectrum(pow2(c.chunk + k))
	})
	for i := range c.parts {
		p := &c.parts[i]
		enc, err := reedsolomon.New(p.zeros+k, p.parities, reedsolomon.WithLeopardGF16(true))
		if err != nil {
			return nil, fmt.Errorf("code with %d original and %d recovery symbols: %w", k, m, err)
		}
		p.enc = enc
		// 34+66 has a second part of two symbols. The library does two
		// transforms there and back for it, of chunk*log(chunk)/2 steps each.
		if steps := 3 * c.chunk * bits.Len(uint(c.chunk)) / 2; p.count*k < steps && len(c.parts) > 1 {
			if p.plan, err = c.Plan(upTo(k), upTo(k + p.first + p.count)[k+p.first:]); err != nil {
				return nil, err
			}
		}
	}
	c.scratch.New = func() any { return newScratch(c) }
	return c, nil
}

// K returns the number of original symbols.
func (c *Code) K() int { return c.k }

// M returns the number of recovery symbols. Symbol i is original i below K
// and recovery symbol i-K from there to K+M.
func (c *Code) M() int { return c.m }

// point returns the evaluation point of symbol i.
func (c *Code) point(i int) int {
	switch {
	case c.lowRate && i < c.k:
		return i
	case c.lowRate:
		return c.chunk + i - c.k
	case i < c.k:
		return c.chunk + i
	default:
		return i - c.k
	}
}

// zeroPoints returns the points [from, to) at which the polynomial is zero by
// definition.
func (c *Code) zeroPoints() (from, to int) {
	if c.lowRate {
		return c.k, c.chunk
	}
	return c.chunk + c.k, pow2(c.chunk + c.k)
}

// upTo returns the numbers below n.
func upTo(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// pow2 returns the smallest power of two that is at least v.
func pow2(v int) int {
	p := 1
	for p < v {
		p *= 2
	}
	return p
}
