package web

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// An openBlob is a blob whose metadata is proven.
type openBlob struct {
	id     walrus.BlobID
	meta   *walrus.Metadata
	params walrus.Params
	zeros  error // what CheckZeroRows found
}

// open proves the metadata of a blob.
func (h *Handler) open(ctx context.Context, id walrus.BlobID) (*openBlob, error) {
	return h.blobs.get(ctx, id, func(ctx context.Context) (*openBlob, int64, error) {
		ctx, cancel := h.patient(ctx)
		defer cancel()
		meta, err := h.source.Metadata(ctx, id)
		if err != nil {
			return nil, 0, err
		}
		params, err := meta.Params()
		if err != nil {
			return nil, 0, err
		}
		return &openBlob{id, meta, params, meta.CheckZeroRows()}, 1, nil
	})
}

// patient bounds how long a fetch may take.
func (h *Handler) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, h.patience, fmt.Errorf("no bytes within %v", h.patience.Round(time.Millisecond)))
}

// A sliverKey names a sliver.
type sliverKey struct {
	blob walrus.BlobID
	at   walrus.SliverID
}

// sliver returns a sliver, proven: a systematic primary one, or the secondary
// one of a column of a quilt. Release says that it is used no more.
func (h *Handler) sliver(ctx context.Context, b *openBlob, at walrus.SliverID) (c merkle.Chunk, release func(), err error) {
	size := b.params.SliverLen(at.Axis)
	if release, err = h.reserve(ctx, size); err != nil {
		return merkle.Chunk{}, nil, err
	}
	c, err = h.slivers.get(ctx, sliverKey{b.id, at}, func(ctx context.Context) (merkle.Chunk, int64, error) {
		ctx, cancel := h.patient(ctx)
		defer cancel()
		if at.Axis == walrus.Secondary {
			c, err := h.column(ctx, b, at)
			return c, int64(size), err
		}
		c, err := h.source.Sliver(ctx, b.id, b.meta, at.Index)
		return c, int64(size), err
	})
	if err != nil {
		release()
		return merkle.Chunk{}, nil, err
	}
	return c, release, nil
}

// cellsAtOnce is how many cells of a column are asked for at a time.
const cellsAtOnce = 16

// column returns a systematic secondary sliver of a blob that fills its
// matrix, proven. Its cells lie in the rows, a symbol in each, so that it can
// be had of stores that keep rows only.
func (h *Handler) column(ctx context.Context, b *openBlob, at walrus.SliverID) (merkle.Chunk, error) {
	p, s := b.params, b.params.Symbol
	for round := 0; ; round++ {
		data := make([]byte, p.SliverLen(walrus.Secondary))
		g, fetching := errgroup.WithContext(ctx)
		g.SetLimit(cellsAtOnce)
		for row := range p.K1 {
			g.Go(func() error {
				off, _ := p.InColumn(at.Index, row*s)
				_, err := h.source.ReadAt(fetching, b.id, p, data[row*s:(row+1)*s], int64(off))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return merkle.Chunk{}, err
		}
		c, err := b.meta.ProveSliver(at, data)
		if err == nil || round == 1 || !errors.Is(err, merkle.ErrMismatch) {
			return c, err
		}
		// Some of it is false: have those found who are to blame, and read
		// around them.
		for row := range p.K1 {
			off, _ := p.InColumn(at.Index, row*s)
			if err := h.source.Recheck(ctx, b.id, p, int64(off), int64(s)); err != nil {
				return merkle.Chunk{}, err
			}
		}
	}
}

// rows is the source of a blob's bytes: its systematic primary slivers, end to
// end.
type rows struct {
	h *Handler
	b *openBlob
}

func (s rows) size() int64 { return int64(s.b.params.Size) }

func (s rows) load(ctx context.Context, off int64, _ int) ([]merkle.Chunk, func(), error) {
	row, at := s.b.params.Row(uint64(off))
	c, release, err := s.h.sliver(ctx, s.b, walrus.SliverID{Axis: walrus.Primary, Index: row})
	if err != nil {
		return nil, nil, err
	}
	end := min(int64(c.Len()), int64(at)+s.size()-off) // zeros follow the end
	return []merkle.Chunk{c.Slice(at, int(end))}, release, nil
}

// columns is the source of what lies in neighbouring columns of a quilt.
type columns struct {
	h           *Handler
	b           *openBlob
	first, past int
}

func (s columns) size() int64 {
	return int64(s.past-s.first) * int64(s.b.params.SliverLen(walrus.Secondary))
}

func (s columns) load(ctx context.Context, off int64, _ int) ([]merkle.Chunk, func(), error) {
	length := int64(s.b.params.SliverLen(walrus.Secondary))
	at := walrus.SliverID{Axis: walrus.Secondary, Index: s.first + int(off/length)}
	c, release, err := s.h.sliver(ctx, s.b, at)
	if err != nil {
		return nil, nil, err
	}
	return []merkle.Chunk{c.Slice(int(off%length), c.Len())}, release, nil
}

// read returns n bytes of a source from its start.
func read(ctx context.Context, src source, n int) ([]byte, error) {
	data := make([]byte, 0, n)
	for len(data) < n {
		parts, release, err := src.load(ctx, int64(len(data)), n-len(data))
		if err != nil {
			return nil, err
		}
		for _, c := range parts {
			data = append(data, c.Bytes()[:min(c.Len(), n-len(data))]...)
		}
		release()
	}
	return data, nil
}
