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

// ErrShards says that a blob is coded for another number of shards than the
// committee has that is to hold it.
var ErrShards = errors.New("coded for another number of shards")

// copying is how many bytes of slivers are in memory at once while they are
// fetched and stored.
const copying = 48 << 20

// Copy makes the members that w writes to hold all they should of blob id:
// what is there already, proven, is left; what any member of the client has is
// stored as it is, once it has been proven; the rest is computed. All is
// durable on return. As to nodes that fail and the order of things Copy is
// like Put. The reports say what was found on each of w's members, and what
// was done; they are complete as far as it came if there is an error.
func (w *Writer) Copy(ctx context.Context, id walrus.BlobID) ([]Report, error) {
	meta, params, err := w.c.proven(ctx, id)
	if err != nil {
		return nil, err
	}
	if w.shards != 0 && w.shards != params.N {
		return nil, fmt.Errorf("%w: blob %s for %d, the committee has %d", ErrShards, id, params.N, w.shards)
	}
	failed := newFailures(w.shards)
	reports, err := w.c.complete(ctx, id, meta, params, w.peers, failed)
	if err == nil {
		w.c.logFailed(id, failed)
	}
	return reports, err
}

// Repair proves every sliver that each member should hold, and stores what is
// missing or false: from another member, or computed. What it stores has been
// proven. The reports say what was found and how much was mended.
func (c *Client) Repair(ctx context.Context, id walrus.BlobID) ([]Report, error) {
	meta, params, err := c.proven(ctx, id)
	if err != nil {
		return nil, err
	}
	failed := newFailures(0)
	failed.any = true
	reports, err := c.complete(ctx, id, meta, params, c.peers, failed)
	errs := []error{err}
	for _, p := range c.peers {
		errs = append(errs, failed.by[p])
	}
	if err := errors.Join(errs...); err != nil {
		return reports, fmt.Errorf("repairing blob %s: %w", id, err)
	}
	return reports, nil
}

// complete makes each of peers hold what it should of a blob.
func (c *Client) complete(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, peers []*peer, failed *failures) ([]Report, error) {
	reports, err := c.checkAll(ctx, peers, id, meta, params, true)
	if err != nil {
		return reports, err
	}
	h := c.healthOf(id)
	var bad []placed
	var early, late []*peer // who gets metadata before slivers, and after
	of := make(map[*peer]*Report)
	for i, p := range peers {
		r := &reports[i]
		of[p] = r
		for _, at := range slices.Concat(r.Missing, r.False) {
			h.set(p, at, false)
			bad = append(bad, placed{at, p})
		}
		switch {
		case r.Metadata.Good == r.Metadata.Of:
		case r.Metadata.Good == 0 && p.Shards == nil:
			late = append(late, p)
		default:
			early = append(early, p)
		}
	}
	if err := putMetadata(ctx, id, meta, early, failed); err != nil {
		return reports, err
	}
	r := &restoring{c: c, h: h, id: id, meta: meta, params: params, failed: failed, of: of}
	if err := r.slivers(ctx, bad); err != nil {
		return reports, err
	}
	return reports, putMetadata(ctx, id, meta, late, failed)
}

// restoring is slivers of one blob on their way to where they are missing.
type restoring struct {
	c      *Client
	h      *health
	id     walrus.BlobID
	meta   *walrus.Metadata
	params walrus.Params
	failed *failures

	mu sync.Mutex // guards the reports
	of map[*peer]*Report
}

// slivers stores what is bad: what others have, as they have it, and then the
// rest, computed in the way that reads least.
func (r *restoring) slivers(ctx context.Context, bad []placed) error {
	var whole, rest []placed // that others have, as far as is known; and not
	for _, s := range bad {
		if r.c.sound(r.h, r.id, r.params, s.sliver) != nil {
			whole = append(whole, s)
		} else {
			rest = append(rest, s)
		}
	}
	if r.dear(rest) { // then the blob is read, and what others have need not be
		whole, rest = nil, bad
	}
	var mu sync.Mutex // guards rest
	err := r.each(ctx, r.atOnce(), whole, func(ctx context.Context, s placed) ([]byte, error) {
		chunk, p := r.c.proveSliver(ctx, r.h, r.id, r.meta, r.params, s.sliver, false)
		if p == nil {
			mu.Lock()
			defer mu.Unlock()
			rest = append(rest, s)
			return nil, context.Cause(ctx)
		}
		return chunk.Bytes(), nil
	}, func(of *Report) { of.Copied++ })
	if err != nil || len(rest) == 0 {
		return err
	}
	rebuilt := func(of *Report) { of.Rebuilt++ }
	rest = slices.DeleteFunc(rest, func(s placed) bool { return r.failed.has(s.on) })
	if r.dear(rest) {
		r.c.encoding.Lock()
		defer r.c.encoding.Unlock()
		blob, err := r.encode(ctx, rest)
		if err == nil {
			return r.each(ctx, r.atOnce(), rest, func(_ context.Context, s placed) ([]byte, error) { return blob.Sliver(s.sliver), nil }, rebuilt)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.c.log.Debug("blob cannot be had whole, rebuilding slivers one by one", "blob", r.id.String(), "error", err)
	}
	return r.each(ctx, min(fanout, r.atOnce()), rest, func(ctx context.Context, s placed) ([]byte, error) {
		chunk, err := r.c.rebuild(ctx, r.id, r.meta, r.params, s.sliver)
		return chunk.Bytes(), err
	}, rebuilt)
}

// atOnce returns how many slivers may be under way.
func (r *restoring) atOnce() int {
	longest := max(r.params.SliverLen(walrus.Primary), r.params.SliverLen(walrus.Secondary))
	return max(1, min(copying/longest, putting*max(1, len(r.of)/2)))
}

// dear reports whether rebuilding slivers one by one reads more than the blob
// once. A column is a strip of each row, if it is a systematic one; all else
// takes as many bytes as the blob has.
func (r *restoring) dear(list []placed) bool {
	p := r.params
	blob, sum := p.K1*p.SliverLen(walrus.Primary), 0
	for _, s := range list {
		if s.sliver.Axis == walrus.Secondary && s.sliver.Index < p.K2 {
			sum += p.SliverLen(walrus.Secondary)
		} else {
			sum += blob
		}
	}
	return sum > blob
}

// each stores the slivers of list, limit at once, with the bytes that get
// returns, if any, and calls count with the report of their node.
func (r *restoring) each(ctx context.Context, limit int, list []placed, get func(context.Context, placed) ([]byte, error), count func(*Report)) error {
	list, err := r.together(ctx, limit, list, get, count)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for _, s := range list {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if r.failed.has(s.on) {
				return nil
			}
			data, err := get(ctx, s)
			if err != nil || data == nil {
				return err
			}
			if err := s.put(ctx, r.id, r.params, data, r.failed); err != nil || r.failed.has(s.on) {
				return err
			}
			r.h.set(s.on, s.sliver, true)
			r.mu.Lock()
			defer r.mu.Unlock()
			count(r.of[s.on])
			return nil
		})
	}
	return g.Wait()
}

// encode reads the blob and encodes it: all its slivers are there then, for
// less than a few cost that are rebuilt one by one. The result is valid while
// c.encoding is held.
func (r *restoring) encode(ctx context.Context, list []placed) (*walrus.Encoded, error) {
	enc := &r.c.encoder
	if *enc == nil || (*enc).Shards() != r.params.N {
		var err error
		if *enc, err = walrus.NewEncoder(r.params.N); err != nil {
			return nil, err
		}
	}
	rows := 0
	for _, s := range list {
		if s.sliver.Axis == walrus.Primary {
			rows = max(rows, s.sliver.Index+1)
		}
	}
	// First as it comes: the id proves it all. If it does not, somebody lied.
	lack := ErrUnavailable
	for _, from := range []struct {
		axis  walrus.Axis
		prove bool
	}{{walrus.Primary, false}, {walrus.Primary, true}, {walrus.Secondary, true}} {
		data, err := r.gather(ctx, from.axis, from.prove)
		if errors.Is(err, ErrUnavailable) {
			lack = err
			continue
		}
		if err != nil {
			return nil, err
		}
		blob, err := (*enc).Encode(ctx, data, rows)
		if err != nil || blob.ID == r.id {
			return blob, err
		}
		lack = fmt.Errorf("%w: blob %s, encoded again from %s slivers, is another", merkle.ErrMismatch, r.id, from.axis)
	}
	return nil, lack
}

// gather returns the blob's bytes, decoded from slivers of an axis: proven ones
// or as they come.
func (r *restoring) gather(ctx context.Context, axis walrus.Axis, prove bool) ([]byte, error) {
	var candidates []int
	if axis == walrus.Primary {
		candidates = r.c.candidates(r.h, r.id, r.params, nil)
	} else {
		for col := range r.params.N {
			candidates = append(candidates, col)
		}
	}
	slivers := make(map[int][]byte)
	var mu sync.Mutex // guards slivers
	for needed := r.params.Needed(axis); len(slivers) < needed; {
		if len(candidates) == 0 {
			return nil, fmt.Errorf("%w: %d %s slivers of blob %s, %d needed", ErrUnavailable, len(slivers), axis, r.id, needed)
		}
		next := candidates[:min(needed-len(slivers), len(candidates))]
		candidates = candidates[len(next):]
		var g errgroup.Group
		g.SetLimit(r.c.fanout())
		for _, i := range next {
			g.Go(func() error {
				data, ok := r.fetch(ctx, walrus.SliverID{Axis: axis, Index: i}, prove)
				mu.Lock()
				defer mu.Unlock()
				if ok {
					slivers[i] = data
				}
				return nil
			})
		}
		g.Wait()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return r.params.Decode(ctx, axis, slivers)
}

// fetch returns a sliver from one of its holders.
func (r *restoring) fetch(ctx context.Context, at walrus.SliverID, prove bool) ([]byte, bool) {
	if prove {
		chunk, p := r.c.proveSliver(ctx, r.h, r.id, r.meta, r.params, at, true)
		return chunk.Bytes(), p != nil
	}
	data := make([]byte, r.params.SliverLen(at.Axis))
	_, err := r.c.ask(ctx, r.h, r.c.holders(r.h, r.id, r.params, at), r.id, r.params, at, data, 0)
	return data, err == nil
}
