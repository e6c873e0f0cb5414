package walrus

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/floefs/floe/engine/erasure"
)

// Decode restores a blob from slivers of one axis, by index. It needs
// Params.Needed of them, prefers systematic ones and ignores surplus ones.
// The slivers are taken as they are: prove them first, or what comes out.
func (p Params) Decode(ctx context.Context, a Axis, slivers map[int][]byte) ([]byte, error) {
	known, err := p.choose(a, slivers)
	if err != nil {
		return nil, err
	}
	matrix := make([]byte, p.K1*p.K2*p.Symbol)
	data := matrix[:p.Size:p.Size]
	if a == Primary {
		n := p.SliverLen(Primary)
		var missing []int
		var dst [][]byte
		for r := range p.DataRows() {
			row := matrix[r*n : (r+1)*n]
			if s, ok := slivers[r]; ok {
				copy(row, s)
			} else {
				missing, dst = append(missing, r), append(dst, row)
			}
		}
		return data, p.restore(ctx, a, known, slivers, missing, dst)
	}
	var missing []int
	for c := range p.K2 {
		if _, ok := slivers[c]; !ok {
			missing = append(missing, c)
		}
	}
	dst := buffers(len(missing), p.SliverLen(Secondary))
	if err := p.restore(ctx, a, known, slivers, missing, dst); err != nil {
		return nil, err
	}
	columns := make([][]byte, p.K2)
	for c := range columns {
		columns[c] = slivers[c]
	}
	for i, c := range missing {
		columns[c] = dst[i]
	}
	for r := range p.DataRows() {
		for c, column := range columns {
			copy(matrix[(r*p.K2+c)*p.Symbol:], column[r*p.Symbol:(r+1)*p.Symbol])
		}
	}
	return data, nil
}

// Rebuild returns sliver want, of either axis, from slivers of axis a, by
// index. As to these, it is like Decode.
func (p Params) Rebuild(ctx context.Context, want SliverID, a Axis, slivers map[int][]byte) ([]byte, error) {
	if want.Index < 0 || want.Index >= p.N {
		return nil, fmt.Errorf("%s of %d", want, p.N)
	}
	known, err := p.choose(a, slivers)
	if err != nil {
		return nil, err
	}
	if want.Axis == a {
		dst := make([]byte, p.SliverLen(a))
		return dst, p.restore(ctx, a, known, slivers, []int{want.Index}, [][]byte{dst})
	}
	// The wanted sliver crosses the known ones: one symbol of each, extended
	// if it lies beyond their end, and then the originals from these.
	size, crossing := p.Symbol, want.Index
	src := make([][]byte, len(known))
	for t, i := range known {
		if s := slivers[i]; crossing < p.Symbols(a) {
			src[t] = s[crossing*size : (crossing+1)*size]
		}
	}
	if crossing >= p.Symbols(a) {
		extend, err := p.Code(a.Other()).Plan(upTo(p.Symbols(a)), []int{crossing})
		if err != nil {
			return nil, err
		}
		err = parallel(ctx, cores(), len(known), func(_, t int) error {
			src[t] = make([]byte, size)
			return extend.Apply(size, 0, src[t:t+1], split(slivers[known[t]], size))
		})
		if err != nil {
			return nil, err
		}
	}
	originals, err := p.Code(a).Plan(known, upTo(p.Needed(a)))
	if err != nil {
		return nil, err
	}
	dst := make([]byte, p.SliverLen(want.Axis))
	return dst, originals.Apply(size, 0, split(dst, size), src)
}

// choose returns the indices of Needed slivers, systematic ones first.
func (p Params) choose(a Axis, slivers map[int][]byte) ([]int, error) {
	known := slices.Sorted(maps.Keys(slivers))
	if len(known) < p.Needed(a) {
		return nil, fmt.Errorf("%d %s slivers, %d needed", len(known), a, p.Needed(a))
	}
	for _, i := range known {
		if i < 0 || i >= p.N {
			return nil, fmt.Errorf("%s of %d", SliverID{a, i}, p.N)
		}
		if len(slivers[i]) != p.SliverLen(a) {
			return nil, fmt.Errorf("%s: %d bytes, want %d", SliverID{a, i}, len(slivers[i]), p.SliverLen(a))
		}
	}
	return known[:p.Needed(a)], nil
}

// restore computes the missing slivers of an axis from the known ones.
func (p Params) restore(ctx context.Context, a Axis, known []int, slivers map[int][]byte, missing []int, dst [][]byte) error {
	if len(missing) == 0 {
		return nil
	}
	plan, err := p.Code(a).Plan(known, missing)
	if err != nil {
		return err
	}
	src := make([][]byte, len(known))
	for t, i := range known {
		src[t] = slivers[i]
	}
	return p.apply(ctx, plan, p.SliverLen(a), dst, src)
}

// apply is plan.Apply on slivers of n bytes, on all cores.
func (p Params) apply(ctx context.Context, plan *erasure.Plan, n int, dst, src [][]byte) error {
	// A transform has a fixed cost for each call, so the pieces are large.
	const least = 32 << 10
	piece := max(n/(2*cores()), least)
	return parallel(ctx, cores(), (n+piece-1)/piece, func(_, i int) error {
		from, _ := erasure.AlignRange(p.Symbol, i*piece, i*piece)
		to := n
		if next := (i + 1) * piece; next < n {
			to, _ = erasure.AlignRange(p.Symbol, next, next)
		}
		return plan.Apply(p.Symbol, from, cut(dst, from, to), cut(src, from, to))
	})
}

// cut returns bytes [from, to) of each slice.
func cut(b [][]byte, from, to int) [][]byte {
	out := make([][]byte, len(b))
	for i := range b {
		out[i] = b[i][from:to]
	}
	return out
}

// split cuts b into slices of n bytes.
func split(b []byte, n int) [][]byte { return slices.Collect(slices.Chunk(b, n)) }

// buffers returns count slices of n bytes.
func buffers(count, n int) [][]byte {
	if count == 0 {
		return nil
	}
	return split(make([]byte, count*n), n)
}

// upTo returns the numbers below n.
func upTo(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}
