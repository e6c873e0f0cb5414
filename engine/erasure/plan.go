package erasure

import (
	"fmt"
	"slices"
)

// A Plan computes certain symbols from k certain others, for any number of
// codewords. It does not change, and its methods may be called concurrently.
type Plan struct {
	code          *Code
	known, wanted []int

	// weights[w*k+t] is what known symbol t contributes to wanted symbol w.
	// Interpolation needs it; transform does not.
	weights []uint16

	transform *transform // nil: interpolate
}

// Plan prepares computing the wanted symbols from the known ones. There are
// exactly K known ones, in the order in which Apply gets them; known and
// wanted are symbols as M describes them, no known one twice.
func (c *Code) Plan(known, wanted []int) (*Plan, error) {
	if len(known) != c.k {
		return nil, fmt.Errorf("%d symbols known, %d needed", len(known), c.k)
	}
	seen := make([]bool, c.k+c.m)
	for _, i := range known {
		if i < 0 || i >= len(seen) {
			return nil, fmt.Errorf("symbol %d of %d", i, len(seen))
		}
		if seen[i] {
			return nil, fmt.Errorf("symbol %d known twice", i)
		}
		seen[i] = true
	}
	for _, i := range wanted {
		if i < 0 || i >= len(seen) {
			return nil, fmt.Errorf("symbol %d of %d", i, len(seen))
		}
	}
	p := &Plan{code: c, known: slices.Clone(known), wanted: slices.Clone(wanted)}
	if p.transform = c.newTransform(p.known, p.wanted); p.transform == nil {
		p.interpolate()
	}
	return p, nil
}

// interpolate fills in weights by Lagrange's formula. The zeros that the code
// prescribes count as known points; they contribute nothing to the sums.
func (p *Plan) interpolate() {
	t, c := logs(), p.code
	set := make([]int, len(c.spectrum()))
	for _, i := range p.known {
		set[c.point(i)] = 1
	}
	for from, to := c.zeroPoints(); from < to; from++ {
		set[from] = 1
	}
	product := logProducts(set, c.spectrum())

	p.weights = make([]uint16, len(p.wanted)*c.k)
	for w, i := range p.wanted {
		row := p.weights[w*c.k:][:c.k]
		if at := slices.Index(p.known, i); at >= 0 {
			row[at] = 1
			continue
		}
		x := c.point(i)
		for at, j := range p.known {
			// For a known point, the product over the others is the
			// derivative's value.
			y := c.point(j)
			row[at] = t.exp[(product[x]-product[y]-int(t.log[x^y])+2*order)%order]
		}
	}
}

// Apply computes bytes of the wanted symbols, dst, from the same bytes of the
// known ones, src, both in the order given to Code.Plan. Each slice holds the
// bytes from offset from on of a string of symbols of size bytes, one of each
// codeword; all slices are equally long, their range is one that AlignRange
// leaves as it is, and dst does not overlap src.
func (p *Plan) Apply(size, from int, dst, src [][]byte) error {
	if len(dst) != len(p.wanted) || len(src) != len(p.known) {
		return fmt.Errorf("%d symbols from %d, planned %d from %d", len(dst), len(src), len(p.wanted), len(p.known))
	}
	if size <= 0 || size%2 != 0 || from < 0 {
		return fmt.Errorf("symbols of %d bytes at offset %d", size, from)
	}
	n := len(src[0])
	for _, s := range src {
		if len(s) != n {
			return fmt.Errorf("known symbols of %d and %d bytes", n, len(s))
		}
	}
	for _, d := range dst {
		if len(d) != n {
			return fmt.Errorf("wanted symbols of %d bytes, known ones of %d", len(d), n)
		}
	}
	if a, b := AlignRange(size, from, from+n); a != from || b != from+n {
		return fmt.Errorf("bytes %d to %d of symbols of %d bytes cannot be decoded by themselves", from, from+n, size)
	}
	if n == 0 || len(dst) == 0 {
		return nil
	}
	s := p.code.scratch.Get().(*scratch)
	defer p.code.scratch.Put(s)
	switch {
	case size%block == 0:
		p.run(s, dst, src, 0, n)
	case size >= inPlaceSize:
		whole := size / block * block
		for lo := 0; lo < n; {
			start := (from + lo) / size * size // of the symbol at lo
			if hi := min(start+whole-from, n); lo < hi {
				p.run(s, dst, src, lo, hi)
			}
			lo = start + size - from
		}
		p.runPacked(s, size, whole, from, dst, src)
	default:
		p.runPacked(s, size, 0, from, dst, src)
	}
	return nil
}

// stride returns how many bytes of each symbol are computed at a time.
func (p *Plan) stride() int {
	if p.transform != nil {
		return transformStride
	}
	return stride
}

// run computes dst[i][from:to], whole blocks, in place.
func (p *Plan) run(s *scratch, dst, src [][]byte, from, to int) {
	if p.transform != nil {
		for ; from < to; from += transformStride {
			p.transform.run(s, dst, src, from, min(from+transformStride, to))
		}
		return
	}
	for ; from < to; from += interpolateStride {
		end := min(from+interpolateStride, to)
		for w := 0; w < len(dst); w += lanes {
			p.accumulate(w, dst[w:min(w+lanes, len(dst))], src, from, end)
		}
	}
}

const (
	lanes = 8 // outputs of the library's wide kernel

	// interpolateStride bytes of eight outputs and one input stay in the
	// innermost cache.
	interpolateStride = 2 << 10
)

// accumulate computes dst[i][from:to] for wanted symbols first, first+1, ...,
// at most eight. The wide kernel costs as much as eight calls of the narrow
// one, but reads the input once; it pays when it is full.
func (p *Plan) accumulate(first int, dst, src [][]byte, from, to int) {
	for _, d := range dst {
		clear(d[from:to])
	}
	weights := p.weights[first*p.code.k:]
	if len(dst) < lanes {
		for t, in := range src {
			for w, d := range dst {
				kernel.GF16MulSliceXor(weights[w*p.code.k+t], in[from:to], d[from:to])
			}
		}
		return
	}
	var out [lanes][]byte
	for w, d := range dst {
		out[w] = d[from:to]
	}
	var scalars [lanes]uint16
	for t, in := range src {
		for w := range scalars {
			scalars[w] = weights[w*p.code.k+t]
		}
		kernel.GF16MulSliceXor8(&scalars, in[from:to], &out)
	}
}

// runPacked computes bytes [packFrom, size) of each symbol, as far as they are
// in the range that begins at offset from: they do not consist of whole blocks.
func (p *Plan) runPacked(s *scratch, size, packFrom, from int, dst, src [][]byte) {
	in, out := make([][]byte, len(src)), make([][]byte, len(dst))
	pieces := make([][2]int, 0, 64)
	limit := p.stride()
	s.grow(limit, len(src)+len(dst))
	for lo, n := 0, len(src[0]); lo < n; {
		total, full := 0, 0
		for pieces = pieces[:0]; lo < n; {
			start := (from + lo) / size * size
			a, b := max(lo, start+packFrom-from), min(start+size-from, n)
			if a < b && total+b-a > limit {
				break
			}
			if a < b {
				pieces = append(pieces, [2]int{a, b})
				total += b - a
				full += (b - a) / block * block
			}
			lo = b
		}
		if total == 0 {
			return
		}
		padded := packedLen(total)
		for i := range in {
			in[i] = s.buffer(i, padded)
			clear(in[i][padded-block:])
			pk := newPacker(full)
			for _, piece := range pieces {
				pk.pack(in[i], src[i][piece[0]:piece[1]])
			}
		}
		for i := range out {
			out[i] = s.buffer(len(in)+i, padded)
		}
		p.run(s, out, in, 0, padded)
		for i := range out {
			pk := newPacker(full)
			for _, piece := range pieces {
				pk.unpack(dst[i][piece[0]:piece[1]], out[i])
			}
		}
	}
}
