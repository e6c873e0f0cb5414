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

// A Report is what Check found of a blob's primary slivers and metadata on
// one member.
type Report struct {
	Member   string
	Slivers  int   // that the member should hold
	Missing  []int // primary slivers that are absent or not readable
	False    []int // primary slivers that are not what the metadata says
	Metadata Copies
	Tolerate int // slivers that may be bad before the blob cannot be read
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
	for _, m := range c.members {
		r, err := c.check(ctx, m, id, meta, params, deep)
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

func (c *Client) check(ctx context.Context, m Member, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, deep bool) (Report, error) {
	r := Report{Member: m.Name, Slivers: Kept(params), Metadata: Copies{1, 1}}
	r.Tolerate = r.Slivers - params.K1
	if k, ok := m.Node.(copies); ok {
		r.Metadata.Good, r.Metadata.Of = k.CheckMetadata(id)
	}
	h := c.healthOf(id)
	var mu sync.Mutex // guards the lists of r
	var g errgroup.Group
	g.SetLimit(fanout)
	for row := range r.Slivers {
		g.Go(func() error {
			err := checkSliver(ctx, m, id, meta, params, row, deep)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, merkle.ErrMismatch):
				r.False = append(r.False, row)
			case err != nil:
				r.Missing = append(r.Missing, row)
			case deep:
				h.set(row, true)
			}
			return nil
		})
	}
	return r, g.Wait()
}

func checkSliver(ctx context.Context, m Member, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, row int, deep bool) error {
	at := walrus.SliverID{Axis: walrus.Primary, Index: row}
	n := params.SliverLen(walrus.Primary)
	if !deep {
		return m.Node.ReadSliver(ctx, id, params, at, make([]byte, 1), int64(n-1))
	}
	buf := make([]byte, n)
	if err := m.Node.ReadSliver(ctx, id, params, at, buf, 0); err != nil {
		return err
	}
	_, err := meta.ProveSliver(at, buf)
	return err
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
	for _, m := range c.members {
		r, err := c.check(ctx, m, id, meta, params, true)
		if err == nil && !r.Whole() {
			err = c.repair(ctx, m, id, meta, params, &r)
		}
		reports = append(reports, r)
		if err != nil {
			return reports, fmt.Errorf("repairing blob %s on %s: %w", id, m.Name, err)
		}
	}
	return reports, nil
}

func (c *Client) repair(ctx context.Context, m Member, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, r *Report) error {
	if r.Metadata.Good < r.Metadata.Of {
		if err := m.Node.PutMetadata(ctx, id, meta.Append(nil)); err != nil {
			return err
		}
	}
	h := c.healthOf(id)
	bad := slices.Concat(r.Missing, r.False)
	for _, row := range bad {
		h.set(row, false)
	}
	for _, row := range bad {
		chunk, err := c.Sliver(ctx, id, meta, row)
		if err != nil {
			return err
		}
		if err := m.Node.PutSliver(ctx, id, params, walrus.SliverID{Axis: walrus.Primary, Index: row}, chunk.Bytes()); err != nil {
			return err
		}
		h.set(row, true)
		r.Rebuilt++
	}
	return nil
}
