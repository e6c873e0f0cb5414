package blob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// Sliver returns a sliver of either axis, proven against meta: as a node has
// it, or rebuilt from others. An error wraps ErrUnavailable, or
// merkle.ErrMismatch if slivers that were proven do not belong together.
func (c *Client) Sliver(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, at walrus.SliverID) (merkle.Chunk, error) {
	params, err := meta.Params()
	if err != nil {
		return merkle.Chunk{}, err
	}
	h := c.healthOf(id)
	if at.Axis == walrus.Primary {
		return c.row(ctx, h, id, meta, params, at.Index)
	}
	chunk, err := c.column(ctx, h, id, meta, params, at)
	if err != nil {
		return merkle.Chunk{}, c.late(err)
	}
	return chunk, nil
}

// column returns a secondary sliver, proven: as its holder has it, and if that
// fails or takes longer than it usually does, rebuilt.
func (c *Client) column(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, at walrus.SliverID) (merkle.Chunk, error) {
	holders := c.sound(h, id, params, at)
	if holders == nil || c.lags(holders[0]) {
		return c.rebuild(ctx, id, meta, params, at)
	}
	type answer struct {
		chunk merkle.Chunk
		err   error
	}
	asking, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	direct := make(chan answer, 1)
	go func() {
		chunk, p := c.proveSliver(asking, h, id, meta, params, at, false)
		if p == nil {
			direct <- answer{err: fmt.Errorf("%w: nobody has %s of blob %s as it should be", ErrUnavailable, at, id)}
			return
		}
		direct <- answer{chunk: chunk}
	}()
	var late <-chan time.Time // nil: a store at hand answers
	if holders[0].Remote {
		timer := time.NewTimer(holders[0].hedge())
		defer timer.Stop()
		late = timer.C
	}
	select {
	case a := <-direct:
		if a.err == nil {
			return a.chunk, nil
		}
		if ctx.Err() != nil {
			return merkle.Chunk{}, context.Cause(ctx)
		}
		return c.rebuild(ctx, id, meta, params, at)
	case <-late:
	}
	if !c.mayHedge(params.SliverLen(at.Axis)) {
		if a := <-direct; a.err == nil || ctx.Err() != nil {
			return a.chunk, errors.Join(a.err, context.Cause(ctx))
		}
		return c.rebuild(ctx, id, meta, params, at)
	}
	rebuilding, giveUp := context.WithCancel(ctx)
	defer giveUp()
	beside := make(chan answer, 1)
	go func() {
		chunk, err := c.rebuild(rebuilding, id, meta, params, at)
		beside <- answer{chunk, err}
	}()
	select {
	case a := <-direct:
		if a.err == nil {
			giveUp() // nobody who helped is to blame
			<-beside
			return a.chunk, nil
		}
		b := <-beside
		return b.chunk, b.err
	case b := <-beside:
		if b.err == nil {
			stop(errOvertaken)
			<-direct
			return b.chunk, nil
		}
		a := <-direct
		if a.err != nil {
			return merkle.Chunk{}, b.err // it says what is missing
		}
		return a.chunk, nil
	}
}

// columnOfRows returns a systematic secondary sliver, proven. Its symbols lie
// in the systematic rows, one in each: it can be had of stores that keep rows
// only.
func (c *Client) columnOfRows(ctx context.Context, h *health, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, at walrus.SliverID) (merkle.Chunk, error) {
	s := params.Symbol
	for round := 0; ; round++ {
		data := make([]byte, params.SliverLen(walrus.Secondary))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(c.fanout())
		for row := range params.DataRows() { // the others are zero
			g.Go(func() error {
				cell := data[row*s : (row+1)*s]
				if c.stash.proven(id, params, row, cell, at.Index*s) == s {
					return nil
				}
				_, err := c.readPatiently(gctx, h, id, params, row, cell, int64(at.Index*s))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return merkle.Chunk{}, err
		}
		chunk, err := meta.ProveSliver(at, data)
		if err == nil || round == 1 {
			return chunk, err
		}
		// Some of it is false: have those found who are to blame.
		var blame errgroup.Group
		blame.SetLimit(c.fanout())
		for row := range params.DataRows() {
			blame.Go(func() error {
				return c.recheck(ctx, h, id, meta, params, row, span{at.Index * s, (at.Index + 1) * s})
			})
		}
		if err := blame.Wait(); err != nil {
			return merkle.Chunk{}, err
		}
	}
}
