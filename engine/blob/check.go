package blob

import (
	"context"
	"errors"
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
	Copied   int // slivers that Repair and Copy stored as another member has them
	Rebuilt  int // and those they computed
}

// Copies counts copies of the metadata.
type Copies struct{ Good, Of int }

// Bad returns how many slivers are missing or false.
func (r Report) Bad() int { return len(r.Missing) + len(r.False) }

// Restored returns how many slivers were stored.
func (r Report) Restored() int { return r.Copied + r.Rebuilt }

// Whole reports whether nothing was wrong.
func (r Report) Whole() bool { return r.Bad() == 0 && r.Metadata.Good == r.Metadata.Of }

// Kept returns how many primary slivers a store that holds a blob alone
// keeps: enough that some may be damaged, the larger of K1+1 and a fifth more
// than K1.
func Kept(p walrus.Params) int { return min(p.N, max(p.K1+1, p.K1*6/5)) }

// copies is a node that keeps several copies of metadata.
type copies interface {
	CheckMetadata(id walrus.BlobID) (good, of int)
}

// Check looks at every sliver that each member should hold, of which there is
// none on one that only has rows. Deep reads and proves them; else their last
// byte is read, which tells what is missing or cut short.
func (c *Client) Check(ctx context.Context, id walrus.BlobID, deep bool) ([]Report, error) {
	meta, params, err := c.proven(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.checkAll(ctx, c.peers, id, meta, params, deep)
}

// checkAll checks peers, several at once if each holds few slivers.
func (c *Client) checkAll(ctx context.Context, peers []*peer, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, deep bool) ([]Report, error) {
	reports := make([]Report, len(peers))
	var g errgroup.Group
	g.SetLimit(max(1, c.fanout()*len(peers)/(2*params.N)))
	for i, p := range peers {
		g.Go(func() (err error) {
			reports[i], err = c.check(ctx, p, id, meta, params, deep)
			return err
		})
	}
	return reports, g.Wait()
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
	if p.Rows {
		return Report{Member: p.Name}, nil
	}
	slivers := p.Slivers(id, params)
	r := Report{Member: p.Name, Slivers: len(slivers)}
	if p.Shards == nil {
		r.Tolerate = r.Slivers - params.K1
	}
	if err := c.checkMetadata(ctx, p, id, &r); err != nil {
		return r, err
	}
	if has, ok := p.list(ctx, id, params); ok && !deep {
		r.Missing = slices.DeleteFunc(slivers, func(at walrus.SliverID) bool { return has[at] })
		return r, context.Cause(ctx)
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

// rebuild returns a sliver of either axis, proven.
func (c *Client) rebuild(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, at walrus.SliverID) (merkle.Chunk, error) {
	h := c.healthOf(id)
	if at.Axis == walrus.Primary {
		return c.row(ctx, h, id, meta, params, at.Index)
	}
	if at.Index < params.K2 {
		return c.columnOfRows(ctx, h, id, meta, params, at)
	}
	strips := make(map[int][]byte, params.K1)
	for row := range params.K1 {
		chunk, err := c.row(ctx, h, id, meta, params, row)
		if err != nil {
			return merkle.Chunk{}, err
		}
		strips[row] = chunk.Bytes()
	}
	data, err := params.Rebuild(ctx, at, walrus.Primary, strips)
	if err != nil {
		return merkle.Chunk{}, err
	}
	return meta.ProveSliver(at, data)
}
