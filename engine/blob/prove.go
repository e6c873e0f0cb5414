package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// row returns a primary sliver, proven against meta: as a node has it, or
// rebuilt from proven others.
func (c *Client) row(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, row int) (merkle.Chunk, error) {
	n := params.SliverLen(walrus.Primary)
	for range 2 {
		// First as it comes; after proving others, again without the false.
		buf := make([]byte, n)
		if _, err := c.readPatiently(ctx, h, id, params, row, buf, 0); err != nil {
			return merkle.Chunk{}, c.late(err)
		}
		c.stash.proven(id, params, row, buf, 0)
		if chunk, err := meta.ProveSliver(primary(row), buf); err == nil {
			return chunk, nil
		}
		if err := c.recheck(ctx, h, id, meta, params, row, span{0, n}); err != nil {
			return merkle.Chunk{}, err
		}
	}
	return merkle.Chunk{}, fmt.Errorf("%w: primary sliver %d of blob %s, rebuilt from proven slivers, is not what the metadata says; its publisher encoded it falsely", merkle.ErrMismatch, row, id)
}

// Recheck implements engine.Blobs: it proves the slivers that bytes
// [off, off+n) can be read from, until they can be read from proven ones
// only. Those that are false it remembers, and who served them.
func (c *Client) Recheck(ctx context.Context, id walrus.BlobID, params walrus.Params, off, n int64) error {
	h := c.healthOf(id)
	meta, err := h.metadata(ctx, c, id)
	if err != nil {
		return err
	}
	if meta.Size != params.Size || meta.N() != params.N {
		return fmt.Errorf("%w: the dataset says blob %s has %d bytes on %d shards, its metadata %d on %d", merkle.ErrMismatch, id, params.Size, params.N, meta.Size, meta.N())
	}
	width := int64(params.SliverLen(walrus.Primary))
	for row := int(off / width); int64(row)*width < off+n; row++ {
		start := int64(row) * width
		want := span{int(max(off, start) - start), int(min(off+n, start+width) - start)}
		if err := c.recheck(ctx, h, id, meta, params, row, want); err != nil {
			return err
		}
	}
	return nil
}

// recheck proves primary sliver row; if that is false or gone, the secondary
// slivers that hold the same bytes; and if one of these is, enough primary
// ones to decode from. What the bytes want of it are by then goes to the stash:
// a node may send another thing the next time it is asked.
func (c *Client) recheck(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, row int, want span) error {
	c.stash.drop(id)
	c.relist(ctx, id, params)
	s := params.Symbol
	cells := span{want.from / s * s, (want.to + s - 1) / s * s}
	if chunk, p := c.proveSliver(ctx, h, id, meta, params, primary(row), false); p != nil {
		c.stashRow(id, params, row, cells, chunk.Bytes()[cells.from:cells.to])
		if !c.examine(ctx, h, p, id, meta, params, primary(row), want, chunk) && c.hasColumns(params) {
			c.examineColumns(ctx, h, id, meta, params, row, want, chunk)
		}
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.hasColumns(params) && row < params.K1 {
		all := true
		for col := cells.from / s; col < cells.to/s && all; col++ {
			chunk, p := c.proveSliver(ctx, h, id, meta, params, secondary(col), false)
			if all = p != nil; all {
				c.stashRow(id, params, row, span{col * s, (col + 1) * s}, chunk.Bytes()[row*s:(row+1)*s])
				c.examine(ctx, h, p, id, meta, params, secondary(col), span{row * s, (row + 1) * s}, chunk)
			}
		}
		if all || ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return c.proveEnough(ctx, h, id, meta, params, row, cells)
}

// stashRow stashes symbols of a primary sliver that have been proven.
func (c *Client) stashRow(id walrus.BlobID, params walrus.Params, row int, cells span, data []byte) {
	s := params.Symbol
	for off := 0; off < cells.to-cells.from; off += s {
		c.stash.put(stashKey{id, row, (cells.from + off) / s}, data[off:off+s], true)
	}
}

// proveEnough proves primary slivers other than row until K1 are good, also
// those that were good before: they may have rotted since. If the cells are
// few it decodes them from what it proved.
func (c *Client) proveEnough(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, row int, cells span) error {
	candidates := c.candidates(h, id, params, []int{row})
	few := cells.to-cells.from <= stepSize
	var known []int
	var src [][]byte
	for good := 0; good < params.K1; {
		if len(candidates) == 0 {
			return c.missing(id, params, good, row)
		}
		need := min(params.K1-good, len(candidates))
		ok, parts := make([]bool, need), make([][]byte, need)
		var g errgroup.Group
		g.SetLimit(c.fanout())
		for i, r := range candidates[:need] {
			g.Go(func() error {
				chunk, p := c.proveSliver(ctx, h, id, meta, params, primary(r), true)
				if ok[i] = p != nil; ok[i] && few {
					parts[i] = bytes.Clone(chunk.Bytes()[cells.from:cells.to])
					c.examine(ctx, h, p, id, meta, params, primary(r), cells, chunk)
				}
				return nil
			})
		}
		g.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for i, r := range candidates[:need] {
			if ok[i] {
				good++
				known, src = append(known, r), append(src, parts[i])
			}
		}
		candidates = candidates[need:]
	}
	if !few {
		return nil
	}
	plan, err := params.Code(walrus.Primary).Plan(known, []int{row})
	if err != nil {
		return err
	}
	out := make([]byte, cells.to-cells.from)
	if err := plan.Apply(params.Symbol, cells.from, [][]byte{out}, src); err != nil {
		return err
	}
	c.stashRow(id, params, row, cells, out)
	return nil
}

// proveSliver reads a sliver whole and returns it, and the first of its
// holders that has it as the metadata wants it; nil if none has. Whoever has
// it otherwise has lied. Those who are in quarantine for that are asked only
// if it cannot be helped.
func (c *Client) proveSliver(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, at walrus.SliverID, helpless bool) (merkle.Chunk, *peer) {
	for _, p := range c.holders(h, id, params, at) {
		if p.standing() == 2 && !helpless {
			break
		}
		if chunk, err := c.proveOn(ctx, h, p, id, meta, params, at); err == nil {
			return chunk, p
		}
		if ctx.Err() != nil {
			break
		}
	}
	return merkle.Chunk{}, nil
}

// proveOn reads a sliver whole from one node and returns it, proven. A false
// one is logged, counted, and kept as evidence; the error wraps
// merkle.ErrMismatch.
func (c *Client) proveOn(ctx context.Context, h *health, p *peer, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, at walrus.SliverID) (merkle.Chunk, error) {
	c.wholes.drop(wholeKey{onNode{p, at}, id})
	buf := make([]byte, params.SliverLen(at.Axis))
	err := p.read(ctx, id, params, at, buf, 0)
	if ctx.Err() != nil {
		return merkle.Chunk{}, context.Cause(ctx)
	}
	var chunk merkle.Chunk
	if err == nil {
		if chunk, err = meta.ProveSliver(at, buf); err != nil {
			c.convict(p, id, meta, at, buf, err)
		}
	}
	if err == nil || errors.Is(err, merkle.ErrMismatch) || p.settled(err) {
		h.set(p, at, err == nil)
	}
	return chunk, err
}

// convict notes that p served data as a sliver, which it is not.
func (c *Client) convict(p *peer, id walrus.BlobID, meta *walrus.Metadata, at walrus.SliverID, data []byte, lie error) {
	p.lied(lie)
	c.log.Warn("node served a false sliver", "node", p.Name, "blob", id.String(), "sliver", at.String(),
		"evidence", c.accuse(p, id, meta, at, data, lie), "error", lie)
}

// examine asks a node that sent a sliver rightly for a part of it again, and
// reports whether that is false: such a node would never be found out by
// proving what it sends whole.
func (c *Client) examine(ctx context.Context, h *health, p *peer, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, at walrus.SliverID, part span, whole merkle.Chunk) bool {
	if !p.Remote || part.to-part.from == whole.Len() {
		return false
	}
	got := make([]byte, part.to-part.from)
	if p.read(ctx, id, params, at, got, int64(part.from)) != nil || bytes.Equal(got, whole.Bytes()[part.from:part.to]) {
		return false
	}
	sent := bytes.Clone(whole.Bytes())
	copy(sent[part.from:], got)
	c.convict(p, id, meta, at, sent, fmt.Errorf("%w: %s was sent rightly when asked for whole, but not its bytes %d to %d", merkle.ErrMismatch, at, part.from, part.to))
	h.set(p, at, false)
	return true
}

// examineColumns asks those who hold the columns of a part of a primary sliver
// that was proven: the false bytes may have come from there.
func (c *Client) examineColumns(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, row int, part span, whole merkle.Chunk) {
	s := params.Symbol
	if row >= params.K1 {
		return
	}
	for col := part.from / s; col*s < part.to && ctx.Err() == nil; col++ {
		at, cell := secondary(col), make([]byte, s)
		holders := c.sound(h, id, params, at)
		if holders == nil || !holders[0].Remote || holders[0].read(ctx, id, params, at, cell, int64(row*s)) != nil {
			continue
		}
		if bytes.Equal(cell, whole.Bytes()[col*s:(col+1)*s]) {
			continue
		}
		if sent, err := c.proveOn(ctx, h, holders[0], id, meta, params, at); err == nil {
			c.examine(ctx, h, holders[0], id, meta, params, at, span{row * s, (row + 1) * s}, sent)
		}
	}
}
