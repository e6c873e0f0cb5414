package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// putting is how many slivers are stored or compared at once: a disk, and
// even more a connection, does several at a time in little more than the time
// of one.
const putting = 8

// A Writer stores encoded blobs on a client's members; it is a publish.Sink.
// Safe for concurrent use.
type Writer struct {
	c      *Client
	peers  []*peer // of c, that are written to
	shards int     // of the committee; 0: the one member holds blobs alone
}

// Writer returns a Writer. The client must have one member that is to hold
// blobs alone, or the members of one committee, which between them hold every
// shard once.
func (c *Client) Writer() (*Writer, error) { return c.WriterFrom(0) }

// WriterFrom is Writer for the members from the one numbered first on. The
// others are only read from.
func (c *Client) WriterFrom(first int) (*Writer, error) {
	peers := c.peers[first:]
	if len(peers) == 1 && peers[0].Shards == nil && !peers[0].Rows {
		return &Writer{c, peers, 0}, nil
	}
	if len(peers) == 0 || peers[0].Shards == nil {
		return nil, fmt.Errorf("storing needs one store or one committee that can be written to, not %d stores", len(peers))
	}
	n := peers[0].Shards.of
	held := make([]string, n)
	for _, p := range peers {
		if p.Shards == nil || p.Shards.of != n {
			return nil, fmt.Errorf("storing needs one committee; %s is not of the same as %s", p.Name, peers[0].Name)
		}
		for i, in := range p.Shards.set {
			if in && held[i] != "" {
				return nil, fmt.Errorf("shard %d is held by %s and by %s", i, held[i], p.Name)
			}
			if in {
				held[i] = p.Name
			}
		}
	}
	for i, name := range held {
		if name == "" {
			return nil, fmt.Errorf("no node holds shard %d of %d", i, n)
		}
	}
	return &Writer{c, peers, n}, nil
}

// Shards returns for how many shards blobs must be encoded; 0 means any.
func (w *Writer) Shards() int { return w.shards }

// A placed sliver is one that a member is to hold.
type placed struct {
	sliver walrus.SliverID
	on     *peer
}

// place returns which slivers are stored where, systematic ones first.
func (w *Writer) place(id walrus.BlobID, p walrus.Params) []placed {
	var all []placed
	for _, peer := range w.peers {
		for _, at := range peer.Slivers(id, p) {
			all = append(all, placed{at, peer})
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return compareSlivers(a.sliver, b.sliver) })
	return all
}

// Rows returns how many primary slivers of a blob Put takes.
func (w *Writer) Rows(p walrus.Params) int {
	if w.shards > 0 {
		return p.N
	}
	return Kept(p)
}

// Put stores a blob's metadata and slivers. All is durable on return. Of a
// committee, nodes that hold up to f of the n shards between them may fail:
// they are logged, and Repair completes them. A store that holds blobs alone
// gets the metadata last, so that whoever finds it may expect slivers; nodes
// of a committee get it first, for they prove slivers by it.
func (w *Writer) Put(ctx context.Context, blob *walrus.Encoded) error {
	failed := newFailures(w.shards)
	if w.shards > 0 {
		if err := putMetadata(ctx, blob.ID, blob.Metadata, w.peers, failed); err != nil {
			return err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(putting * max(1, len(w.peers)/2))
	together, rest := apart(w.place(blob.ID, blob.Params))
	for p, slivers := range together {
		g.Go(func() error { return p.putSlivers(gctx, blob.ID, blob.Params, slivers, blob.Sliver, failed) })
	}
	for _, s := range rest {
		g.Go(func() error {
			if gctx.Err() != nil {
				return context.Cause(gctx)
			}
			if failed.has(s.on) {
				return nil
			}
			return s.put(gctx, blob.ID, blob.Params, blob.Sliver(s.sliver), failed)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	w.c.forget(blob.ID)
	if w.shards == 0 {
		return putMetadata(ctx, blob.ID, blob.Metadata, w.peers, failed)
	}
	w.c.logFailed(blob.ID, failed)
	return nil
}

func (c *Client) logFailed(id walrus.BlobID, failed *failures) {
	for p, err := range failed.by {
		c.log.Warn("node does not have the blob, repair completes it", "node", p.Name, "blob", id.String(), "error", err)
	}
}

// put stores the sliver. A node that fails is noted; the error is that of one
// too many.
func (s placed) put(ctx context.Context, id walrus.BlobID, params walrus.Params, data []byte, failed *failures) error {
	err := s.on.put(ctx, func(ctx context.Context) error {
		return s.on.Node.PutSliver(ctx, id, params, s.sliver, data)
	})
	if err == nil {
		s.on.mu.Lock()
		s.on.stats.Stored += int64(len(data))
		s.on.mu.Unlock()
	}
	return failed.note(ctx, s.on, s.on.failed(err))
}

// putMetadata stores metadata on each of peers; as to errors it is like put.
func putMetadata(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, peers []*peer, failed *failures) error {
	body := meta.Append(nil)
	var g errgroup.Group
	for _, p := range peers {
		g.Go(func() error {
			err := p.put(ctx, func(ctx context.Context) error { return p.Node.PutMetadata(ctx, id, body) })
			return failed.note(ctx, p, p.failed(err))
		})
	}
	return g.Wait()
}

// failures are the nodes of a committee that could not be written to.
type failures struct {
	allowed int  // shards
	any     bool // all may fail, also stores that hold blobs alone

	mu sync.Mutex // guards by
	by map[*peer]error
}

func newFailures(shards int) *failures {
	return &failures{allowed: max(0, shards-1) / 3, by: make(map[*peer]error)}
}

func (f *failures) has(p *peer) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.by[p] != nil
}

// note takes note of an error of p and returns it if that is one too many.
func (f *failures) note(ctx context.Context, p *peer, err error) error {
	if err == nil || ctx.Err() != nil || p.Shards == nil && !f.any {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by[p] == nil {
		f.by[p] = err
	}
	if f.any {
		return nil
	}
	down := 0
	for p := range f.by {
		down += p.Shards.Len()
	}
	if down > f.allowed {
		return fmt.Errorf("%w: nodes with %d shards failed, at most %d may: %w", ErrUnavailable, down, f.allowed, err)
	}
	return nil
}

func (m Member) failed(err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

// Stored reports whether everything Put stores of blob id is there: the
// metadata, the systematic slivers with data as their bytes, and the others
// as the metadata has them. It completes the copies of the metadata. What is
// absent or false is no error, nor is a node that fails, as far as Put would do
// without it.
func (w *Writer) Stored(ctx context.Context, id walrus.BlobID, p walrus.Params, data []byte) (bool, error) {
	meta, err := w.c.Metadata(ctx, id)
	if err != nil && ctx.Err() == nil && w.shards > 0 {
		return false, nil // some say no, some nothing: Put finds out if they are too many
	}
	if err != nil {
		return absent(err)
	}
	if meta.N() != p.N || meta.Size != p.Size {
		return false, nil
	}
	failed := newFailures(w.shards)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(putting)
	for _, s := range w.place(id, p) {
		g.Go(func() error {
			if failed.has(s.on) {
				return nil
			}
			ok, err := s.holds(gctx, id, meta, p, data)
			if err == nil && !ok {
				err = errDiffers
			}
			if isAbsent(err) {
				return err
			}
			return failed.note(gctx, s.on, err)
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		return absent(err)
	}
	return true, putMetadata(ctx, id, meta, w.peers, failed)
}

// errDiffers says that a sliver is not what it should be.
var errDiffers = errors.New("sliver is false")

// absent says that something is not stored, if that is all that err says.
func absent(err error) (bool, error) {
	if isAbsent(err) {
		return false, nil
	}
	return false, err
}

func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errDiffers) || errors.Is(err, merkle.ErrMismatch)
}

// compared is how many bytes of a sliver are read at a time.
const compared = 256 << 10

// holds reports whether a sliver is there as it should be.
func (s placed) holds(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, p walrus.Params, data []byte) (bool, error) {
	size := p.SliverLen(s.sliver.Axis)
	if s.sliver.Axis != walrus.Primary || s.sliver.Index >= p.K1 {
		buf := make([]byte, size)
		if err := s.on.read(ctx, id, p, s.sliver, buf, 0); err != nil {
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
		if err := s.on.read(ctx, id, p, s.sliver, got, int64(off)); err != nil {
			return false, s.on.failed(err)
		}
		n := max(0, min(len(got), len(want)-off))
		if !bytes.Equal(got[:n], want[min(off, len(want)):min(off, len(want))+n]) || !bytes.Equal(got[n:], zeros[:len(got)-n]) {
			return false, nil
		}
	}
	return true, nil
}
