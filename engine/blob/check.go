package blob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// A Report is what Check found of a blob on one member.
type Report struct {
	Member   string
	Slivers  int               // that the member should hold
	Missing  []walrus.SliverID // absent or not readable
	False    []walrus.SliverID // not what the metadata says
	Metadata Copies
	Tolerate int // slivers that may be bad before the blob cannot be read from a member that holds it alone
	Rebuilt  int // slivers that Repair stored
}

// Copies counts copies of the metadata.
type Copies struct{ Good, Of int }

// Bad returns how many slivers are missing or false.
func (r Report) Bad() int { return len(r.Missing) + len(r.False) }

// Whole reports whether nothing is wrong.
func (r Report) Whole() bool { return r.Bad() == 0 && r.Metadata.Good == r.Metadata.Of }

// Kept returns how many primary slivers a store that holds a blob alone
// keeps: enough that some may be damaged, the larger of K1+1 and a fifth more
// than K1.
func Kept(p walrus.Params) int { return min(p.N, max(p.K1+1, p.K1*6/5)) }

// copies is a node that keeps several copies of metadata.
type copies interface {
	CheckMetadata(id walrus.BlobID) (good, of int)
}

// Check looks at every sliver that each member should hold. Deep reads and
// proves them; else their last byte is read, which tells what is missing or
// cut short.
func (c *Client) Check(ctx context.Context, id walrus.BlobID, deep bool) ([]Report, error) {
	meta, params, err := c.proven(ctx, id)
	if err != nil {
		return nil, err
	}
	var reports []Report
	for _, p := range c.peers {
		r, err := c.check(ctx, p, id, meta, params, deep)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func (c *Client) proven(ctx context.Context, id walrus.BlobID) (*walrus.Metadata, walrus.Params, error) {
	meta, err := c.Metadata(ctx, id)
	if err != nil {
		return nil, walrus.Params{}, err
	}
	params, err := meta.Params()
	return meta, params, err
}

func (c *Client) check(ctx context.Context, p *peer, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, deep bool) (Report, error) {
	slivers := p.slivers(id, params)
	r := Report{Member: p.Name, Slivers: len(slivers)}
	if p.Shards == nil {
		r.Tolerate = r.Slivers - params.K1
	}
	if err := c.checkMetadata(ctx, p, id, &r); err != nil {
		return r, err
	}
	h := c.healthOf(id)
	var mu sync.Mutex // guards the lists of r
	var g errgroup.Group
	g.SetLimit(c.fanout())
	for _, at := range slivers {
		g.Go(func() error {
			err := errResting // whoever fails is not asked for each
			if p.Remote && p.standing() == 1 {
			} else if deep {
				_, err = c.proveOn(ctx, h, p, id, meta, params, at)
			} else {
				err = p.read(ctx, id, params, at, make([]byte, 1), int64(params.SliverLen(at.Axis)-1))
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, merkle.ErrMismatch):
				r.False = append(r.False, at)
			case err != nil:
				r.Missing = append(r.Missing, at)
			}
			return nil
		})
	}
	err := g.Wait()
	slices.SortFunc(r.Missing, compareSlivers)
	slices.SortFunc(r.False, compareSlivers)
	return r, err
}

func compareSlivers(a, b walrus.SliverID) int {
	if a.Axis != b.Axis {
		return int(a.Axis) - int(b.Axis)
	}
	return a.Index - b.Index
}

func (c *Client) checkMetadata(ctx context.Context, p *peer, id walrus.BlobID, r *Report) error {
	if k, ok := p.Node.(copies); ok {
		r.Metadata.Good, r.Metadata.Of = k.CheckMetadata(id)
		return nil
	}
	r.Metadata.Of = 1
	if _, err := c.metadataOf(ctx, p, id); err == nil {
		r.Metadata.Good = 1
	}
	return context.Cause(ctx)
}

// Repair proves every sliver that each member should hold, rebuilds what is
// missing or false from proven others, and stores it. What it stores has been
// proven. The reports say what was found and Rebuilt how much was mended.
func (c *Client) Repair(ctx context.Context, id walrus.BlobID) ([]Report, error) {
	meta, params, err := c.proven(ctx, id)
	if err != nil {
		return nil, err
	}
	var reports []Report
	var failed []error
	for _, p := range c.peers {
		r, err := c.check(ctx, p, id, meta, params, true)
		if err == nil && !r.Whole() {
			err = c.repair(ctx, p, id, meta, params, &r)
		}
		reports = append(reports, r)
		if err != nil {
			failed = append(failed, fmt.Errorf("repairing blob %s on %s: %w", id, p.Name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return reports, errors.Join(failed...)
}

func (c *Client) repair(ctx context.Context, p *peer, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, r *Report) error {
	if r.Metadata.Good < r.Metadata.Of {
		body := meta.Append(nil)
		if err := p.put(ctx, func(ctx context.Context) error { return p.Node.PutMetadata(ctx, id, body) }); err != nil {
			return err
		}
	}
	h := c.healthOf(id)
	bad := slices.Concat(r.Missing, r.False)
	for _, at := range bad {
		h.set(p, at, false)
	}
	for _, at := range bad {
		chunk, err := c.rebuild(ctx, id, meta, params, at)
		if err != nil {
			return err
		}
		if err := p.put(ctx, func(ctx context.Context) error { return p.Node.PutSliver(ctx, id, params, at, chunk.Bytes()) }); err != nil {
			return err
		}
		h.set(p, at, true)
		r.Rebuilt++
	}
	return nil
}

// rebuild returns a sliver of either axis, proven.
func (c *Client) rebuild(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, at walrus.SliverID) (merkle.Chunk, error) {
	if at.Axis == walrus.Primary {
		return c.Sliver(ctx, id, meta, at.Index)
	}
	// The symbols of a column lie in the systematic rows: a strip of each.
	s := params.Symbol
	strips := make(map[int][]byte, params.K1)
	h := c.healthOf(id)
	data := make([]byte, 0, params.SliverLen(walrus.Secondary))
	for round := range 2 {
		data = data[:0]
		for row := range params.K1 {
			if at.Index < params.K2 {
				cell := make([]byte, s)
				if _, err := c.readPatiently(ctx, h, id, params, row, cell, int64(at.Index*s)); err != nil {
					return merkle.Chunk{}, err
				}
				data = append(data, cell...)
				continue
			}
			chunk, err := c.Sliver(ctx, id, meta, row)
			if err != nil {
				return merkle.Chunk{}, err
			}
			strips[row] = chunk.Bytes()
		}
		if at.Index >= params.K2 {
			var err error
			if data, err = params.Rebuild(ctx, at, walrus.Primary, strips); err != nil {
				return merkle.Chunk{}, err
			}
		}
		chunk, err := meta.ProveSliver(at, data)
		if err == nil || round == 1 {
			return chunk, err
		}
		for row := range params.K1 {
			if err := c.recheck(ctx, h, id, meta, params, row, span{at.Index * s, (at.Index + 1) * s}); err != nil {
				return merkle.Chunk{}, err
			}
		}
	}
	panic("internal error: unreachable")
}
