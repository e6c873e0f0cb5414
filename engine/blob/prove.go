package blob

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// Sliver returns a primary sliver, proven against meta: as a node has it, or
// rebuilt from proven others.
func (c *Client) Sliver(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, row int) (merkle.Chunk, error) {
	params, err := meta.Params()
	if err != nil {
		return merkle.Chunk{}, err
	}
	h := c.healthOf(id)
	n := params.SliverLen(walrus.Primary)
	for range 2 {
		// First as it comes; after proving others, again without the false.
		buf := make([]byte, n)
		if _, err := c.readPatiently(ctx, h, id, params, row, buf, 0); err != nil {
			return merkle.Chunk{}, err
		}
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
// ones to decode from.
func (c *Client) recheck(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, row int, want span) error {
	c.stash.drop(id)
	if c.proveSliver(ctx, h, id, meta, params, primary(row)) {
		return nil
	}
	if c.hasColumns(params) {
		all := true
		for col := want.from / params.Symbol; col*params.Symbol < want.to && all; col++ {
			all = c.proveSliver(ctx, h, id, meta, params, secondary(col))
		}
		if all {
			return context.Cause(ctx)
		}
	}
	return c.proveEnough(ctx, h, id, meta, params, row)
}

// proveEnough proves primary slivers other than row until K1 are good, also
// those that were good before: they may have rotted since.
func (c *Client) proveEnough(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, row int) error {
	candidates := c.candidates(h, id, params, []int{row})
	for good := 0; good < params.K1; {
		if len(candidates) == 0 {
			return missing(id, params, good, row)
		}
		need := min(params.K1-good, len(candidates))
		ok := make([]bool, need)
		var g errgroup.Group
		g.SetLimit(c.fanout())
		for i, r := range candidates[:need] {
			g.Go(func() error {
				ok[i] = c.proveSliver(ctx, h, id, meta, params, primary(r))
				return nil
			})
		}
		g.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		candidates = candidates[need:]
		for _, k := range ok {
			if k {
				good++
			}
		}
	}
	return nil
}

// proveSliver reads a sliver whole and says whether any holder has it as the
// metadata wants it. Whoever has it otherwise has lied.
func (c *Client) proveSliver(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, at walrus.SliverID) bool {
	for _, p := range c.holders(h, id, params, at) {
		if _, err := c.proveOn(ctx, h, p, id, meta, params, at); err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
	}
	return false
}

// proveOn reads a sliver whole from one node and returns it, proven. A false
// one is logged, counted, and kept as evidence; the error wraps
// merkle.ErrMismatch.
func (c *Client) proveOn(ctx context.Context, h *health, p *peer, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, at walrus.SliverID) (merkle.Chunk, error) {
	buf := make([]byte, params.SliverLen(at.Axis))
	err := p.read(ctx, id, params, at, buf, 0)
	if ctx.Err() != nil {
		return merkle.Chunk{}, context.Cause(ctx)
	}
	var chunk merkle.Chunk
	if err == nil {
		if chunk, err = meta.ProveSliver(at, buf); err != nil {
			p.lied(err)
			c.log.Warn("node served a false sliver", "node", p.Name, "blob", id.String(), "sliver", at.String(),
				"evidence", c.accuse(p, id, meta, at, buf, err), "error", err)
		}
	}
	h.set(p, at, err == nil)
	return chunk, err
}
