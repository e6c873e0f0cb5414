package engine

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
)

var (
	// ErrNoQuilt says that a blob holds no quilt.
	ErrNoQuilt = errors.New("blob is no quilt")

	// ErrIndexTooLong says that a quilt's index is longer than any that is read.
	ErrIndexTooLong = errors.New("index of the quilt is too long")
)

const maxIndex = 4 << 20 // bytes of a quilt's index

// Patches returns what is in a quilt, as its index in column 0 has it. An error
// wraps ErrNoQuilt if the blob is none.
func (b *Blob) Patches(ctx context.Context) ([]walrus.Patch, error) {
	if b.params.Size != uint64(b.params.K1)*uint64(b.params.SliverLen(walrus.Primary)) {
		return nil, fmt.Errorf("%w: its %d bytes do not fill the matrix", ErrNoQuilt, b.params.Size)
	}
	front, err := b.column(ctx, 0, min(8, b.params.SliverLen(walrus.Secondary)))
	if err != nil {
		return nil, err
	}
	size, _, err := b.params.QuiltIndexLen(front)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoQuilt, err)
	}
	if size > maxIndex {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrIndexTooLong, size, maxIndex)
	}
	data, err := b.column(ctx, 0, size)
	if err != nil {
		return nil, err
	}
	patches, err := b.params.ParseQuiltIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoQuilt, err)
	}
	return patches, nil
}

// column returns n bytes from the start of a column on, which go on in the next
// ones.
func (b *Blob) column(ctx context.Context, c, n int) ([]byte, error) {
	f, err := b.file(catalog.Entry{Size: int64(n)}, walrus.Secondary, int64(c)*int64(b.params.SliverLen(walrus.Secondary)))
	if err != nil {
		return nil, err
	}
	data := make([]byte, n)
	_, err = f.ReadAt(ctx, data, 0)
	return data, err
}

// Patch returns a reader of a patch of the quilt, one of those Patches returns.
// The error wraps walrus.ErrInconsistent if what lies in its columns is not
// what the index says.
func (b *Blob) Patch(ctx context.Context, x walrus.Patch) (*File, error) {
	head, length := x.HeaderLen(), b.params.SliverLen(walrus.Secondary)
	if head > (x.End-x.Start)*length {
		return nil, fmt.Errorf("%w: patch %q has no room for its header", walrus.ErrInconsistent, x.Identifier)
	}
	header, err := b.column(ctx, x.Start, head)
	if err != nil {
		return nil, err
	}
	size, err := x.DataSize(b.params, header)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", walrus.ErrInconsistent, err)
	}
	return b.file(catalog.Entry{Name: x.Identifier, Size: int64(size)}, walrus.Secondary, int64(x.Start)*int64(length)+int64(head))
}

// sizes returns the sizes of the files that patches are, which their headers
// tell. A header lies at the start of its columns, and so in the first rows: a
// few rows have them all, where the columns of many patches are as much as the
// whole quilt.
func (b *Blob) sizes(ctx context.Context, patches []walrus.Patch) ([]int64, error) {
	p := b.params
	rows, columns := 0, 0 // that have all headers
	headers := make([][]byte, len(patches))
	for i, x := range patches {
		n := x.HeaderLen()
		if n > (x.End-x.Start)*p.SliverLen(walrus.Secondary) {
			return nil, fmt.Errorf("%w: patch %q has no room for its header", walrus.ErrInconsistent, x.Identifier)
		}
		headers[i] = make([]byte, n)
		rows, columns = max(rows, (n+p.Symbol-1)/p.Symbol), columns+(n-1)/p.SliverLen(walrus.Secondary)+1
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(sliversAtOnce)
	if rows <= p.K1 && rows*p.SliverLen(walrus.Primary) < columns*p.SliverLen(walrus.Secondary) {
		for row := range rows {
			g.Go(func() error { return b.headersIn(gctx, row, patches, headers) })
		}
	} else {
		for i, x := range patches {
			g.Go(func() (err error) {
				headers[i], err = b.column(gctx, x.Start, len(headers[i]))
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	sizes := make([]int64, len(patches))
	for i, x := range patches {
		n, err := x.DataSize(p, headers[i])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", walrus.ErrInconsistent, err)
		}
		sizes[i] = int64(n)
	}
	return sizes, nil
}

// headersIn copies what a row has of the headers of patches.
func (b *Blob) headersIn(ctx context.Context, row int, patches []walrus.Patch, headers [][]byte) error {
	s := b.params.Symbol
	share := b.e.budget.newShare(min(int64(b.params.SliverLen(walrus.Primary)), b.e.budget.limit))
	if err := b.e.budget.acquire(ctx, share.cost); err != nil {
		return err
	}
	c, share, err := b.sliver(ctx, walrus.SliverID{Axis: walrus.Primary, Index: row}, share)
	if err != nil {
		return err
	}
	defer share.release()
	for i, x := range patches {
		if off := row * s; off < len(headers[i]) {
			copy(headers[i][off:min(off+s, len(headers[i]))], c.Bytes()[x.Start*s:])
		}
	}
	return nil
}
