package blob

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/erasure"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// fanout is how many slivers are read or proven at once.
const fanout = 4

// ReadAt fills p with the blob's bytes from off on. They are not proven. keep
// says that reading them again would cost more than reading them from a
// cache. An error wraps ErrUnavailable and says how many slivers are missing.
func (c *Client) ReadAt(ctx context.Context, id walrus.BlobID, params walrus.Params, p []byte, off int64) (keep bool, err error) {
	h := c.healthOf(id)
	width := int64(params.SliverLen(walrus.Primary))
	for len(p) > 0 {
		row, at := int(off/width), off%width
		part := p[:min(int64(len(p)), width-at)]
		k, err := c.readRow(ctx, h, id, params, row, part, at)
		if err != nil {
			return false, err
		}
		keep = keep || k
		p, off = p[len(part):], off+int64(len(part))
	}
	return keep, nil
}

// readRow fills p from primary sliver row, directly or by decoding.
func (c *Client) readRow(ctx context.Context, h *health, id walrus.BlobID, params walrus.Params, row int, p []byte, off int64) (keep bool, err error) {
	if !h.bad(row) {
		near, err := c.primary(ctx, id, params, row, p, off)
		if err == nil {
			return !near, nil
		}
		if ctx.Err() != nil {
			return false, err
		}
		c.log.Debug("sliver not readable, decoding", "blob", id.String(), "primary", row, "error", err)
		h.set(row, false)
	}
	return true, c.decodeRange(ctx, h, id, params, row, p, off)
}

// stepSize is how many bytes of a sliver are decoded at a time: the same
// range of K1 slivers is in memory at once.
const stepSize = 256 << 10

// decodeRange computes bytes [off, off+len(p)) of primary sliver row from the
// same bytes of K1 other primary slivers, proven ones first. The result is
// not proven.
func (c *Client) decodeRange(ctx context.Context, h *health, id walrus.BlobID, params walrus.Params, row int, p []byte, off int64) error {
	for len(p) > 0 {
		part := p[:min(len(p), stepSize)]
		from, to := erasure.AlignRange(params.Symbol, int(off), int(off)+len(part))
		got, err := c.decodeStep(ctx, h, id, params, row, from, to)
		if err != nil {
			return err
		}
		copy(part, got[int(off)-from:])
		p, off = p[len(part):], off+int64(len(part))
	}
	return nil
}

// decodeStep computes bytes [from, to), which are aligned, of sliver row.
func (c *Client) decodeStep(ctx context.Context, h *health, id walrus.BlobID, params walrus.Params, row, from, to int) ([]byte, error) {
	var known []int
	var src [][]byte
	candidates := h.candidates(params, row)
	for len(known) < params.K1 {
		if len(candidates) == 0 {
			return nil, missing(id, params, len(known), row)
		}
		// Even if these cannot be enough: the error says how many there are.
		need := min(params.K1-len(known), len(candidates))
		bufs := make([][]byte, need)
		var g errgroup.Group
		g.SetLimit(fanout)
		for i, r := range candidates[:need] {
			g.Go(func() error {
				buf := make([]byte, to-from)
				if _, err := c.primary(ctx, id, params, r, buf, int64(from)); err == nil {
					bufs[i] = buf
				} else if ctx.Err() == nil {
					h.set(r, false)
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
	plan, err := params.Code(walrus.Primary).Plan(known, []int{row})
	if err != nil {
		return nil, err
	}
	out := make([]byte, to-from)
	return out, plan.Apply(params.Symbol, from, [][]byte{out}, src)
}

// candidates returns the slivers that a decoder of row may ask for, those
// known to be good first, those known to be bad not at all.
func (h *health) candidates(params walrus.Params, row int) []int {
	var good, rest []int
	for r := range params.N {
		switch {
		case r == row || h.bad(r):
		case h.good(r):
			good = append(good, r)
		default:
			rest = append(rest, r)
		}
	}
	return append(good, rest...)
}

func missing(id walrus.BlobID, params walrus.Params, have, row int) error {
	return fmt.Errorf("%w: blob %s needs %d good primary slivers to rebuild sliver %d, %d can be read; %d more must be found",
		ErrUnavailable, id, params.K1, row, have, params.K1-have)
}

// Sliver returns a primary sliver, proven against meta: as a node has it, or
// rebuilt from proven others.
func (c *Client) Sliver(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, row int) (merkle.Chunk, error) {
	params, err := meta.Params()
	if err != nil {
		return merkle.Chunk{}, err
	}
	h := c.healthOf(id)
	at := walrus.SliverID{Axis: walrus.Primary, Index: row}
	buf := make([]byte, params.SliverLen(walrus.Primary))
	for range 2 {
		// First as it comes; after proving others, again without the false.
		_, err := c.readRow(ctx, h, id, params, row, buf, 0)
		if err != nil {
			return merkle.Chunk{}, err
		}
		if chunk, err := meta.ProveSliver(at, buf); err == nil {
			return chunk, nil
		}
		h.set(row, false)
		if err := c.proveEnough(ctx, h, id, meta, params, row); err != nil {
			return merkle.Chunk{}, err
		}
	}
	return merkle.Chunk{}, fmt.Errorf("%w: primary sliver %d of blob %s, rebuilt from proven slivers, is not what the metadata says; its publisher encoded it falsely", merkle.ErrMismatch, row, id)
}

// Recheck implements engine.Blobs: it proves the slivers that hold
// [off, off+n), and if one is false enough others to decode it from.
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
		if c.proveRow(ctx, h, id, meta, params, row) {
			continue
		}
		if err := c.proveEnough(ctx, h, id, meta, params, row); err != nil {
			return err
		}
	}
	return nil
}

// proveEnough proves slivers other than row until K1 are good, also those
// that were good before: they may have rotted since.
func (c *Client) proveEnough(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, row int) error {
	candidates := h.candidates(params, row)
	good := 0
	for good < params.K1 {
		if len(candidates) == 0 {
			return missing(id, params, good, row)
		}
		need := min(params.K1-good, len(candidates))
		ok := make([]bool, need)
		var g errgroup.Group
		g.SetLimit(fanout)
		for i, r := range candidates[:need] {
			g.Go(func() error {
				ok[i] = c.proveRow(ctx, h, id, meta, params, r)
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

// proveRow reads a primary sliver whole and says whether any member has it
// as the metadata wants it.
func (c *Client) proveRow(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, row int) bool {
	at := walrus.SliverID{Axis: walrus.Primary, Index: row}
	buf := make([]byte, params.SliverLen(walrus.Primary))
	for _, m := range c.members {
		err := m.Node.ReadSliver(ctx, id, params, at, buf, 0)
		if err == nil {
			if _, err = meta.ProveSliver(at, buf); err == nil {
				h.set(row, true)
				return true
			}
			c.log.Warn("node served a false sliver", "node", m.Name, "blob", id.String(), "primary", row, "error", err)
		}
		if ctx.Err() != nil {
			return false
		}
	}
	h.set(row, false)
	return false
}
