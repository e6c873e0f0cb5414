package blob

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/erasure"
	"github.com/floefs/floe/engine/walrus"
)

const (
	fanout       = 4         // slivers of stores at hand read or proven at once
	remoteFanout = 16        // and of remote nodes
	stepSize     = 256 << 10 // bytes of a sliver decoded at a time: the same range of K1 slivers is in memory at once

	// wholeCells is from how many bytes on a read counts as one of many: the
	// symbols it touches are decoded whole, for all slivers that are down,
	// since the next reads will want them.
	wholeCells = 128 << 10
)

// A span is bytes [from, to) of a sliver.
type span struct{ from, to int }

// around fills p with bytes of primary sliver row without asking for it: from
// secondary slivers, and by decoding what they do not give.
func (c *Client) around(ctx context.Context, h *health, id walrus.BlobID, params walrus.Params, row int, p []byte, off int64) error {
	left, err := c.columns(ctx, h, id, params, row, p, off, false)
	if err != nil {
		return err
	}
	for _, s := range left {
		if err := c.decode(ctx, h, id, params, row, p[s.from-int(off):s.to-int(off)], s, len(p) >= wholeCells); err != nil {
			return err
		}
	}
	return nil
}

// columns fills what it can of p, bytes of primary sliver row from off on,
// from the secondary slivers of the columns they cover, and returns what is
// left, in order. If swift is set it does not ask nodes that lag. The error is
// the context's.
func (c *Client) columns(ctx context.Context, h *health, id walrus.BlobID, params walrus.Params, row int, p []byte, off int64, swift bool) (left []span, err error) {
	s, from, to := params.Symbol, int(off), int(off)+len(p)
	first, last := from/s, (to-1)/s
	// Many small cells are more requests than decoding takes, and secondary
	// slivers end with the last systematic row.
	if n := last - first + 1; n > params.K1 && len(p)/n < 4<<10 || row >= params.K1 || !c.hasColumns(params) {
		return []span{{from, to}}, nil
	}
	failed := make([]bool, last-first+1)
	var g errgroup.Group
	g.SetLimit(c.fanout())
	for col := first; col <= last; col++ {
		cell := span{max(from, col*s), min(to, (col+1)*s)}
		part := p[cell.from-from : cell.to-from]
		inCell := int64(cell.from - col*s)
		if c.stash.get(stashKey{id, row, col}, part, int(inCell)) {
			continue
		}
		holders := c.sound(h, id, params, secondary(col))
		if holders == nil || swift && c.lags(holders[0]) {
			failed[col-first] = true
			continue
		}
		g.Go(func() error {
			_, err := c.ask(ctx, h, holders, id, params, secondary(col), part, int64(row*s)+inCell)
			failed[col-first] = err != nil
			return nil
		})
	}
	g.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i, bad := range failed {
		cell := span{max(from, (first+i)*s), min(to, (first+i+1)*s)}
		switch {
		case !bad:
		case len(left) > 0 && left[len(left)-1].to == cell.from:
			left[len(left)-1].to = cell.to
		default:
			left = append(left, cell)
		}
	}
	return left, nil
}

// swift reports whether columns can have n bytes of a primary sliver from off
// on of nodes that neither fail nor lag.
func (c *Client) swift(h *health, id walrus.BlobID, params walrus.Params, row, n int, off int64) bool {
	if row >= params.K1 || !c.hasColumns(params) {
		return false
	}
	for col := int(off) / params.Symbol; col <= (int(off)+n-1)/params.Symbol; col++ {
		if holders := c.sound(h, id, params, secondary(col)); holders == nil || c.lags(holders[0]) {
			return false
		}
	}
	return true
}

// hasColumns reports whether any member holds secondary slivers.
func (c *Client) hasColumns(params walrus.Params) bool {
	for _, p := range c.peers {
		if p.Shards != nil && p.Shards.of == params.N {
			return true
		}
	}
	return false
}

func (c *Client) fanout() int {
	if c.remote() {
		return remoteFanout
	}
	return fanout
}

// decode fills p, the bytes want of primary sliver row, from the same bytes
// of K1 other primary slivers, proven ones first. If whole is set it decodes
// whole symbols, those of other slivers that are down too, and stashes them.
func (c *Client) decode(ctx context.Context, h *health, id walrus.BlobID, params walrus.Params, row int, p []byte, want span, whole bool) error {
	s := params.Symbol
	for len(p) > 0 {
		n := min(len(p), stepSize)
		wanted := []int{row}
		from, to := erasure.AlignRange(s, want.from, want.from+n)
		if whole && s <= stepSize && c.hasColumns(params) {
			from, to = want.from/s*s, (want.from+n+s-1)/s*s
			wanted = append(wanted, c.down(h, id, params, row)...)
		}
		got, err := c.decodeStep(ctx, h, id, params, wanted, from, to)
		if err != nil {
			return err
		}
		copy(p[:n], got[0][want.from-from:])
		for i, r := range wanted[1:] {
			for col := from / s; col < to/s; col++ {
				c.stash.put(stashKey{id, r, col}, got[i+1][col*s-from:(col+1)*s-from], false)
			}
		}
		p, want.from = p[n:], want.from+n
	}
	return nil
}

// down returns the systematic slivers but row that cannot be had directly.
func (c *Client) down(h *health, id walrus.BlobID, params walrus.Params, row int) []int {
	var rows []int
	for r := range params.DataRows() {
		if r == row {
			continue
		}
		if c.sound(h, id, params, primary(r)) == nil {
			rows = append(rows, r)
		}
	}
	return rows
}

// decodeStep computes bytes [from, to), which are aligned, of the wanted
// primary slivers.
func (c *Client) decodeStep(ctx context.Context, h *health, id walrus.BlobID, params walrus.Params, wanted []int, from, to int) ([][]byte, error) {
	var known []int
	var src [][]byte
	candidates := c.candidates(h, id, params, wanted)
	for len(known) < params.K1 {
		if len(candidates) == 0 {
			return nil, c.missing(id, params, len(known), wanted[0])
		}
		// Even if these cannot be enough: the error says how many there are.
		need := min(params.K1-len(known), len(candidates))
		bufs := make([][]byte, need)
		var g errgroup.Group
		g.SetLimit(c.fanout())
		for i, r := range candidates[:need] {
			g.Go(func() error {
				buf := make([]byte, to-from)
				if _, err := c.ask(ctx, h, c.holders(h, id, params, primary(r)), id, params, primary(r), buf, int64(from)); err == nil {
					bufs[i] = buf
				}
				return nil
			})
		}
		g.Wait()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		for i, r := range candidates[:need] {
			if bufs[i] != nil {
				known, src = append(known, r), append(src, bufs[i])
			}
		}
		candidates = candidates[need:]
	}
	plan, err := params.Code(walrus.Primary).Plan(known, wanted)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(wanted))
	for i := range out {
		out[i] = make([]byte, to-from)
	}
	return out, plan.Apply(params.Symbol, from, out, src)
}

// candidates returns the primary slivers that a decoder may ask for, but not
// those that are wanted: those known to be good first, those whose holders
// lag, fail or lie last, those known to be bad not at all.
func (c *Client) candidates(h *health, id walrus.BlobID, params walrus.Params, wanted []int) []int {
	skip := make([]bool, params.N)
	for _, r := range wanted {
		skip[r] = true
	}
	var order [8][]int // two for each: sound, lagging, failing, lying
	for r := range params.N {
		if skip[r] {
			continue
		}
		if holders := c.holders(h, id, params, primary(r)); len(holders) > 0 {
			rank := 2*holders[0].standing() + 3
			if rank == 3 && !c.lags(holders[0]) {
				rank = 1
			}
			if h.good(holders[0], primary(r)) {
				rank--
			}
			order[rank] = append(order[rank], r)
		}
	}
	return slices.Concat(order[:]...)
}

// missing returns the error of a sliver that too few others are there to
// rebuild, and names the nodes that have failed or lied of late.
func (c *Client) missing(id walrus.BlobID, params walrus.Params, have, row int) error {
	err := fmt.Errorf("%w: blob %s needs %d good primary slivers to rebuild sliver %d, %d can be read; %d more must be found",
		ErrUnavailable, id, params.K1, row, have, params.K1-have)
	if bad := c.troubled(time.Minute); bad != "" {
		err = fmt.Errorf("%w; nodes that fail: %s", err, bad)
	}
	return err
}
