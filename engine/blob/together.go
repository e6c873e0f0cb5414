package blob

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
)

// A packer is a node that stores slivers of one blob together for less than
// one by one. sliver returns their bytes, which are valid until it is called
// again; as to the rest PutSlivers is like node.Store's PutSliver.
type packer interface {
	PutSlivers(ctx context.Context, id walrus.BlobID, params walrus.Params, slivers []walrus.SliverID, sliver func(walrus.SliverID) []byte) error
}

// A lister is a node that says for the price of one request which slivers of a
// blob it has, whole by their lengths. What is read after that goes by what it
// said.
type lister interface {
	Slivers(ctx context.Context, id walrus.BlobID, params walrus.Params) ([]walrus.SliverID, error)
}

// apart returns the slivers of list that packers are to hold, and the others.
func apart(list []placed) (together map[*peer][]walrus.SliverID, rest []placed) {
	together = make(map[*peer][]walrus.SliverID)
	for _, s := range list {
		if _, ok := s.on.Node.(packer); ok {
			together[s.on] = append(together[s.on], s.sliver)
		} else {
			rest = append(rest, s)
		}
	}
	return together, rest
}

// putSlivers stores slivers on a packer. As to errors it is like put.
func (p *peer) putSlivers(ctx context.Context, id walrus.BlobID, params walrus.Params, slivers []walrus.SliverID, sliver func(walrus.SliverID) []byte, failed *failures) error {
	if failed.has(p) {
		return nil
	}
	// As long as they would take one by one.
	limit := storing * p.attempt * time.Duration((len(slivers)+putting-1)/putting)
	err := p.insist(ctx, limit, func(ctx context.Context) error {
		return p.Node.(packer).PutSlivers(ctx, id, params, slivers, sliver)
	})
	if err == nil {
		p.mu.Lock()
		for _, at := range slivers {
			p.stats.Stored += int64(params.SliverLen(at.Axis))
		}
		p.mu.Unlock()
	}
	return failed.note(ctx, p, p.failed(err))
}

// batch is how many bytes of slivers are in memory while they are fetched for a
// packer: all of a blob of the usual size.
const batch = 128 << 20

// together is each for those nodes that are packers. It returns what is left of
// the list.
func (r *restoring) together(ctx context.Context, limit int, list []placed, get func(context.Context, placed) ([]byte, error), count func(*Report)) (rest []placed, err error) {
	of, rest := apart(list)
	longest := max(r.params.SliverLen(walrus.Primary), r.params.SliverLen(walrus.Secondary))
	for p, slivers := range of {
		for part := range slices.Chunk(slivers, max(1, batch/longest)) {
			if r.failed.has(p) {
				break
			}
			var mu sync.Mutex // guards data
			data := make(map[walrus.SliverID][]byte)
			g, gctx := errgroup.WithContext(ctx)
			g.SetLimit(limit)
			for _, at := range part {
				g.Go(func() error {
					b, err := get(gctx, placed{at, p})
					mu.Lock()
					defer mu.Unlock()
					if b != nil {
						data[at] = b
					}
					return err
				})
			}
			if err := g.Wait(); err != nil {
				return nil, err
			}
			got := slices.Collect(maps.Keys(data))
			if len(got) == 0 {
				continue
			}
			err := p.putSlivers(ctx, r.id, r.params, got, func(at walrus.SliverID) []byte { return data[at] }, r.failed)
			if err != nil {
				return nil, err
			}
			for _, at := range got {
				if !r.failed.has(p) {
					r.h.set(p, at, true)
					count(r.of[p])
				}
			}
		}
	}
	return rest, nil
}

// list asks p which slivers of a blob it has; ok says that it can be asked.
func (p *peer) list(ctx context.Context, id walrus.BlobID, params walrus.Params) (has map[walrus.SliverID]bool, ok bool) {
	l, ok := p.Node.(lister)
	if !ok || p.Remote && p.standing() == 1 {
		return nil, ok
	}
	has = make(map[walrus.SliverID]bool)
	p.do(ctx, 0, func(ctx context.Context) error {
		slivers, err := l.Slivers(ctx, id, params)
		for _, at := range slivers {
			has[at] = true
		}
		return err
	})
	return has, true
}

// relist makes listers look again where slivers of a blob are: what was read of
// one proved false.
func (c *Client) relist(ctx context.Context, id walrus.BlobID, params walrus.Params) {
	for _, p := range c.peers {
		if p.standing() == 0 {
			p.list(ctx, id, params)
		}
	}
}
