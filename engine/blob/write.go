package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
)

// putting is how many slivers are stored or compared at once: a disk, and
// even more a connection, does several at a time in little more than the time
// of one.
const putting = 8

// A Writer stores encoded blobs on a client's members; it is a publish.Sink.
// Safe for concurrent use.
type Writer struct {
	c      *Client
	member Member
}

// Writer returns a Writer, which needs a client of one member that is to hold
// blobs alone.
func (c *Client) Writer() (*Writer, error) {
	if len(c.members) != 1 {
		return nil, fmt.Errorf("storing needs one store, not %d", len(c.members))
	}
	return &Writer{c, c.members[0]}, nil
}

// A placed sliver is one that a member is to hold.
type placed struct {
	sliver walrus.SliverID
	on     Member
}

// place returns which slivers are stored where, systematic ones first: a
// member that holds blobs alone has the first Kept primary ones.
func (w *Writer) place(p walrus.Params) []placed {
	all := make([]placed, Kept(p))
	for i := range all {
		all[i] = placed{walrus.SliverID{Axis: walrus.Primary, Index: i}, w.member}
	}
	return all
}

// Rows returns how many primary slivers of a blob Put takes.
func (w *Writer) Rows(p walrus.Params) int { return Kept(p) }

// Put stores a blob's slivers and, when they are there, its metadata, so that
// whoever finds metadata may expect slivers. All is durable on return.
func (w *Writer) Put(ctx context.Context, blob *walrus.Encoded) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(putting)
	for _, s := range w.place(blob.Params) {
		g.Go(func() error {
			if gctx.Err() != nil {
				return context.Cause(gctx)
			}
			return s.on.failed(s.on.Node.PutSliver(gctx, blob.ID, blob.Params, s.sliver, blob.Sliver(s.sliver)))
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	w.c.forget(blob.ID)
	return w.putMetadata(ctx, blob.ID, blob.Metadata)
}

func (w *Writer) putMetadata(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata) error {
	return w.member.failed(w.member.Node.PutMetadata(ctx, id, meta.Append(nil)))
}

func (m Member) failed(err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

// forget drops what is known of a blob that was just stored: slivers that
// were missing are there now.
func (c *Client) forget(id walrus.BlobID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.health, id)
}

// Stored reports whether everything Put stores of blob id is there: the
// metadata, the systematic slivers with data as their bytes, and the others
// as the metadata has them. It completes the copies of the metadata. What is
// absent or false is no error.
func (w *Writer) Stored(ctx context.Context, id walrus.BlobID, p walrus.Params, data []byte) (bool, error) {
	raw, err := w.member.Node.Metadata(ctx, id)
	if err != nil {
		return absent(w.member.failed(err))
	}
	meta, err := walrus.ProveMetadata(id, raw)
	if err != nil || meta.N() != p.N || meta.Size != p.Size {
		return false, nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(putting)
	for _, s := range w.place(p) {
		g.Go(func() error {
			ok, err := s.holds(gctx, id, meta, p, data)
			if err == nil && !ok {
				err = errDiffers
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		return absent(err)
	}
	return true, w.putMetadata(ctx, id, meta)
}

// errDiffers says that a sliver is not what it should be.
var errDiffers = errors.New("sliver is false")

// absent says that something is not stored, if that is all that err says.
func absent(err error) (bool, error) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errDiffers) {
		return false, nil
	}
	return false, err
}

// compared is how many bytes of a sliver are read at a time.
const compared = 256 << 10

// holds reports whether a sliver is there as it should be.
func (s placed) holds(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, p walrus.Params, data []byte) (bool, error) {
	size := p.SliverLen(s.sliver.Axis)
	if s.sliver.Axis != walrus.Primary || s.sliver.Index >= p.K1 {
		buf := make([]byte, size)
		if err := s.on.Node.ReadSliver(ctx, id, p, s.sliver, buf, 0); err != nil {
			return false, s.on.failed(err)
		}
		_, err := meta.ProveSliver(s.sliver, buf)
		return err == nil, nil
	}
	// It is a part of data, and zeros behind its end.
	want := data[min(s.sliver.Index*size, len(data)):min((s.sliver.Index+1)*size, len(data))]
	buf, zeros := make([]byte, min(compared, size)), make([]byte, min(compared, size))
	for off := 0; off < size; off += len(buf) {
		got := buf[:min(len(buf), size-off)]
		if err := s.on.Node.ReadSliver(ctx, id, p, s.sliver, got, int64(off)); err != nil {
			return false, s.on.failed(err)
		}
		n := max(0, min(len(got), len(want)-off))
		if !bytes.Equal(got[:n], want[min(off, len(want)):min(off, len(want))+n]) || !bytes.Equal(got[n:], zeros[:len(got)-n]) {
			return false, nil
		}
	}
	return true, nil
}
