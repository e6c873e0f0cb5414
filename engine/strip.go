package engine

import (
	"context"
	"fmt"
	"io"
	"math"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// sliversAtOnce is how many slivers one read obtains at a time.
const sliversAtOnce = 16

// A line is neighbouring bytes along an axis of a blob's matrix: the slivers of
// that axis lie end to end. Along the primary axis these are the blob's bytes.
type line struct {
	b    *Blob
	axis walrus.Axis
	off  int64
	size int64
}

// file returns a reader of e.Size bytes from off on along an axis.
func (b *Blob) file(e catalog.Entry, axis walrus.Axis, off int64) (*File, error) {
	l, err := merkle.NewLayout(e.Size, nil)
	if err != nil {
		return nil, err
	}
	return &File{e, l, line{b, axis, off, e.Size}}, nil
}

// A strip is a part of a sliver: whole pieces, bytes [from, to).
type strip struct {
	at       walrus.SliverID
	from, to int
	sums     []byte // hashes of its pieces; nil: the sliver has not been proven
}

// strips cuts n bytes from off on into strips. Skip is how many bytes of the
// first lie before off.
func (l line) strips(off int64, n int) (all []strip, skip int) {
	b := l.b
	length := b.params.SliverLen(l.axis)
	for off += l.off; n > 0; {
		in := int(off % int64(length))
		part := min(n, length-in)
		s := strip{at: walrus.SliverID{Axis: l.axis, Index: int(off / int64(length))}}
		first, past := in/merkle.ChunkSize, (in+part+merkle.ChunkSize-1)/merkle.ChunkSize
		s.from, s.to = first*merkle.ChunkSize, min(past*merkle.ChunkSize, length)
		if sums, ok := b.e.sums.get(sliverKey{b.id, s.at}); ok {
			s.sums = sums[first*merkle.HashSize : past*merkle.HashSize]
		}
		if len(all) == 0 {
			skip = in - s.from
		}
		all = append(all, s)
		off, n = off+int64(part), n-part
	}
	return all, skip
}

// read returns the n bytes from off on, which lie within l.
func (l line) read(ctx context.Context, off int64, n int) (*Span, error) {
	b := l.b
	strips, skip := l.strips(off, n)
	size := 0
	for _, s := range strips {
		size += s.to - s.from
	}
	span := &Span{}
	span.reset()
	buf, err := b.ready(ctx, strips, size)
	if err == errMiss {
		buf, err = b.obtain(ctx, strips, size)
	}
	if err != nil {
		return nil, err
	}
	run := buf.run
	span.add(run.Chunk(skip, skip+n), buf.buffer)
	if !b.ofDataset {
		b.e.stats.served.Add(int64(n))
	}
	return span, nil
}

// filled is a buffer and what was proven in it.
type filled struct {
	*buffer
	run merkle.Run
}

// ready returns the strips side by side if all of them are at hand.
func (b *Blob) ready(ctx context.Context, strips []strip, size int) (filled, error) {
	for _, s := range strips {
		if s.sums == nil {
			return filled{}, errMiss
		}
	}
	from := b.e.ready
	if b.ofDataset {
		from = unbudgeted
	}
	if err := from.acquire(ctx, bufferCost(size)); err != nil {
		return filled{}, err
	}
	f := filled{buffer: from.newBuffer(size)}
	f.run = merkle.NewRun(f.b)
	for _, s := range strips {
		if !b.hit(s, &f.run) {
			f.release()
			return filled{}, errMiss
		}
	}
	return f, nil
}

// hit proves the pieces of s at the front of run's rest, as far as they are in
// memory or in the cache, and reports whether all are.
func (b *Blob) hit(s strip, run *merkle.Run) bool {
	for off := s.from; off < s.to; {
		sums := s.sums[(off-s.from)/merkle.ChunkSize*merkle.HashSize:]
		if c, ok := b.kept().get(merkle.Hash(sums[:merkle.HashSize])); ok {
			run.Copy(c)
			off += c.Len()
			continue
		}
		if b.e.cache == nil || b.ofDataset {
			return false
		}
		before := run.Len()
		run.Bound(s.to - off)
		b.e.cache.Read(b.id, b.place(s.at)+int64(off), sums, run)
		got := run.Len() - before
		run.Bound(math.MaxInt)
		if got == 0 {
			return false
		}
		b.e.stats.cached.Add(int64(got))
		off += got
	}
	return true
}

// obtain returns the strips side by side, from wherever they can be had.
func (b *Blob) obtain(ctx context.Context, strips []strip, size int) (filled, error) {
	from := b.e.budget
	if b.ofDataset {
		from = unbudgeted
	}
	// A share of the budget for the memory of each sliver. They may be larger
	// than all of it.
	cost := bufferCost(size)
	shares := make([]int64, len(strips))
	for i, s := range strips {
		shares[i] = int64(b.params.SliverLen(s.at.Axis))
		if s.sums != nil {
			shares[i] = int64(s.to - s.from)
		}
		if from.limit > 0 {
			shares[i] = min(shares[i], from.limit-cost)
		}
		cost += shares[i]
	}
	if err := from.acquire(ctx, cost); err != nil {
		return filled{}, err
	}
	f := filled{buffer: from.newBuffer(size)}
	f.run = merkle.NewRun(f.b)
	parts, held := make([]merkle.Chunk, len(strips)), make([]*buffer, len(strips))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(sliversAtOnce)
	for i, s := range strips {
		share := from.newShare(shares[i])
		g.Go(func() (err error) {
			parts[i], held[i], err = b.strip(gctx, s, share)
			return err
		})
	}
	err := g.Wait()
	for i, h := range held {
		if err == nil {
			f.run.Copy(parts[i])
		}
		if h != nil {
			h.release()
		}
	}
	if err != nil {
		f.release()
		return filled{}, err
	}
	return f, nil
}

// strip returns a strip, proven. It takes over share and returns what is to be
// released instead.
func (b *Blob) strip(ctx context.Context, s strip, share *buffer) (merkle.Chunk, *buffer, error) {
	if s.sums != nil {
		run := merkle.NewRun(make([]byte, s.to-s.from))
		if b.hit(s, &run) || b.reread(ctx, s, &run) {
			return run.Chunk(0, run.Len()), share, nil
		}
		if ctx.Err() != nil {
			share.release()
			return merkle.Chunk{}, nil, context.Cause(ctx)
		}
	}
	c, share, err := b.sliver(ctx, s.at, share)
	if err != nil {
		return merkle.Chunk{}, nil, err
	}
	return c.Slice(s.from, s.to), share, nil
}

// reread reads the rest of run, the end of s, from the blobs, and reports
// whether it proved right. If not, who is to blame is looked for.
func (b *Blob) reread(ctx context.Context, s strip, run *merkle.Run) bool {
	if s.at.Axis != walrus.Primary {
		return false // blobs are read along rows only
	}
	done, rest := run.Len(), run.Rest()
	off := int64(s.at.Index)*int64(b.params.SliverLen(s.at.Axis)) + int64(s.from+done)
	data := rest[:max(0, min(int64(len(rest)), int64(b.params.Size)-off))]
	clear(rest[len(data):]) // zeros follow the blob's end
	keep, err := b.e.blobs.ReadAt(ctx, b.id, b.params, data, off)
	if err != nil {
		return false
	}
	b.e.stats.fetched.Add(int64(len(data)))
	if err := prove(run, s.sums[done/merkle.ChunkSize*merkle.HashSize:], len(rest)); err != nil {
		bad := off + int64(run.Len()-done)
		b.e.stats.lies.Add(1)
		b.e.log.Warn("bytes proved false, looking for who is to blame", "blob", b.id.String(), "position", bad, "error", err)
		b.e.blobs.Recheck(ctx, b.id, b.params, bad, max(1, min(merkle.ChunkSize, int64(b.params.Size)-bad)))
		return false
	}
	if keep && b.e.cache != nil && !b.ofDataset {
		b.e.cache.Put(b.id, b.place(s.at)+int64(s.from+done), run.Chunk(done, run.Len()))
	}
	return true
}

// cached implements contents. All of a blob is stored data.
func (l line) cached(_ context.Context, off, n int64) (cached, total int64, err error) {
	b := l.b
	total = max(0, min(n, l.size-off))
	if b.e.cache == nil {
		return 0, total, nil
	}
	for end := off + total; off < end; {
		part := int(min(end-off, MaxRead))
		strips, skip := l.strips(off, part)
		left := int64(part) + int64(skip)
		for _, s := range strips {
			for at := s.from; at < s.to; at += merkle.ChunkSize {
				size := int64(min(merkle.ChunkSize, s.to-at))
				if b.e.cache.Absent(b.id, b.place(s.at)+int64(at), 1) == 0 {
					cached += max(0, min(size, left)-int64(skip))
				}
				left, skip = left-size, max(0, skip-int(size))
			}
		}
		off += int64(part)
	}
	return cached, total, nil
}

// readAt fills p from off on.
func (b *Blob) readAt(ctx context.Context, p []byte, off int64) error {
	if off < 0 || off+int64(len(p)) > int64(b.params.Size) {
		return fmt.Errorf("%w: bytes %d to %d of a blob of %d", catalog.ErrMalformed, off, off+int64(len(p)), b.params.Size)
	}
	f, err := b.File()
	if err != nil {
		return err
	}
	_, err = f.ReadAt(ctx, p, off)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
