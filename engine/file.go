package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
)

// MaxRead is the most that one File.Read returns.
const MaxRead = 4 << 20

// A File reads one file of a dataset. It is safe for concurrent use and needs
// no closing.
type File struct {
	entry  catalog.Entry
	layout *merkle.Layout
	from   contents
}

// contents is where the bytes of a file are: in a content tree, or on a line
// of a blob.
type contents interface {
	// read returns the n bytes from off on, at least one and at most MaxRead,
	// which lie within the file.
	read(ctx context.Context, off int64, n int) (*Span, error)

	// cached is File.Cached.
	cached(ctx context.Context, off, n int64) (cached, total int64, err error)
}

// File returns a reader for e, which must be a file of d.
func (d *Dataset) File(ctx context.Context, e catalog.Entry) (*File, error) {
	if e.Type != catalog.File {
		return nil, fmt.Errorf("%q is not a file", e.Name)
	}
	if d.bare != nil {
		return d.bare.file(ctx, e)
	}
	holes, err := d.holes(ctx, e)
	if err != nil {
		return nil, err
	}
	t, err := d.newTree(e.Size, e.Root, e.At, holes)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", e.Name, err)
	}
	return &File{e, t.layout, t}, nil
}

// Entry returns the file's entry.
func (f *File) Entry() catalog.Entry { return f.entry }

// Layout returns where the file has data and holes.
func (f *File) Layout() *merkle.Layout { return f.layout }

// A Span is proven bytes of a file, not copied: they lie in buffers that go
// back to a pool on Release.
type Span struct {
	parts []merkle.Chunk
	bufs  []*buffer
	n     int

	// Room for the parts of most reads, so that they cost one allocation.
	partRoom [4]merkle.Chunk
	bufRoom  [4]*buffer
}

// Len returns the number of bytes.
func (s *Span) Len() int { return s.n }

// Parts returns the bytes, in order. They must not be used after Release.
func (s *Span) Parts() []merkle.Chunk { return s.parts }

// Release gives the memory back. It must be called once.
func (s *Span) Release() {
	for _, b := range s.bufs {
		b.release()
	}
	s.bufs, s.parts = nil, nil
}

func (s *Span) reset() { s.parts, s.bufs, s.n = s.partRoom[:0], s.bufRoom[:0], 0 }

// add appends c, which lies in buf (nil: in memory of its own).
func (s *Span) add(c merkle.Chunk, buf *buffer) {
	s.parts = append(s.parts, c)
	if buf != nil {
		s.bufs = append(s.bufs, buf)
	}
	s.n += c.Len()
}

// Read returns the n bytes from off on, at most MaxRead, fewer only at the
// end of the file. An error wraps merkle.ErrMismatch if what was published is
// false, the blobs' error if too few nodes answer, catalog.ErrMalformed, or the
// context's.
func (f *File) Read(ctx context.Context, off int64, n int) (*Span, error) {
	if off < 0 || n < 0 {
		return nil, fmt.Errorf("reading %d bytes at %d: out of range", n, off)
	}
	n = int(min(int64(min(n, MaxRead)), f.entry.Size-min(off, f.entry.Size)))
	if n == 0 {
		return &Span{}, nil
	}
	return f.from.read(ctx, off, n)
}

// read implements contents.
func (t *tree) read(ctx context.Context, off int64, n int) (*Span, error) {
	s := &Span{}
	s.reset()
	first, last := off/merkle.ChunkSize, (off+int64(n)-1)/merkle.ChunkSize
	pieces, err := t.plan(ctx, first, last)
	if err != nil {
		return nil, err
	}
	window := func(p piece, c merkle.Chunk) merkle.Chunk {
		return c.Slice(int(max(0, off-p.first*merkle.ChunkSize)), int(min(int64(p.bytes), off+int64(n)-p.first*merkle.ChunkSize)))
	}
	err = errMiss
	if t.d.e.cache != nil || costOf(pieces) == 0 {
		// What is there draws on a share of the budget of its own, so that it
		// never waits for what is not.
		err = t.gather(ctx, t.d.e.ready, pieces, s, window, t.hit)
	}
	if err == errMiss {
		err = t.gather(ctx, t.d.e.budget, pieces, s, window, func(p piece, buf *buffer) (merkle.Chunk, *buffer, error) {
			return t.fetch(ctx, 0, p.first, p.want, buf)
		})
	}
	if err != nil {
		return nil, err
	}
	t.d.e.stats.served.Add(int64(n))
	return s, nil
}

// A piece is neighbouring data chunks that are fetched as one: all stored
// side by side under one parent, or all in one hole.
type piece struct {
	first int64 // chunk
	bytes int
	hole  bool
	want  []byte       // their hashes
	kept  merkle.Chunk // the bytes, if they are one chunk that is in memory
}

// costOf returns what the pieces that are not in memory take of a budget.
func costOf(pieces []piece) (cost int64) {
	for i := range pieces {
		if pieces[i].kept.Len() == 0 {
			cost += bufferCost(pieces[i].bytes)
		}
	}
	return cost
}

// plan cuts chunks first to last into pieces.
func (t *tree) plan(ctx context.Context, first, last int64) ([]piece, error) {
	var pieces []piece
	for i := first; i <= last; {
		n, hole := t.layout.Extent(i, last-i+1)
		want, err := t.hashes(ctx, i, n)
		if err != nil {
			return nil, err
		}
		n = int64(len(want) / merkle.HashSize)
		p := piece{first: i, hole: hole, want: want}
		if hole && !t.zeros(want) {
			return nil, fmt.Errorf("chunk %d: %w: a hole where the tree has data", i, merkle.ErrMismatch)
		}
		p.bytes = int(n-1)*merkle.ChunkSize + t.layout.Len(0, i+n-1)
		if n == 1 && !hole {
			p.kept, _ = t.d.e.data.get(merkle.Hash(want))
		}
		pieces = append(pieces, p)
		i += n
	}
	return pieces, nil
}

// zeros reports whether all of want are the hash of a full chunk of zeros.
func (t *tree) zeros(want []byte) bool {
	zero := t.layout.HoleHash(0, 0)
	for ; len(want) > 0; want = want[merkle.HashSize:] {
		if merkle.Hash(want[:merkle.HashSize]) != zero {
			return false
		}
	}
	return true
}

// gather adds the pieces to s. What is not in memory it gets from get, which
// takes over a buffer that draws on b and returns the one the bytes lie in.
// After an error s is as it was.
func (t *tree) gather(ctx context.Context, b *budget, pieces []piece, s *Span, window func(piece, merkle.Chunk) merkle.Chunk, get func(piece, *buffer) (merkle.Chunk, *buffer, error)) error {
	if err := b.acquire(ctx, costOf(pieces)); err != nil {
		return err
	}
	for i, p := range pieces {
		if p.kept.Len() > 0 {
			s.add(window(p, p.kept), nil)
			continue
		}
		buf := b.newBuffer(p.bytes)
		c, ok := p.zeros(buf)
		if !ok {
			var err error
			if c, buf, err = get(p, buf); err != nil {
				b.release(costOf(pieces[i+1:]))
				s.Release()
				s.reset()
				return err
			}
			t.remember(p, c)
		}
		s.add(window(p, c), buf)
	}
	return nil
}

// errMiss says that the cache does not have all that is wanted.
var errMiss = errors.New("not in the cache")

// hit returns p's bytes, proven, if the cache has them all. It takes over buf.
func (t *tree) hit(p piece, buf *buffer) (merkle.Chunk, *buffer, error) {
	off, _ := t.layout.At(0, p.first)
	run := merkle.NewRun(buf.b)
	if t.fromCache(t.at+off, p.want, &run); run.Len() < p.bytes {
		buf.release()
		return merkle.Chunk{}, nil, errMiss
	}
	return run.Chunk(0, p.bytes), buf, nil
}

// zeros fills buf if p lies in a hole.
func (p *piece) zeros(buf *buffer) (merkle.Chunk, bool) {
	if !p.hole {
		return merkle.Chunk{}, false
	}
	run := merkle.NewRun(buf.b)
	run.Zero(p.bytes)
	return run.Chunk(0, p.bytes), true
}

// remember keeps a chunk that was read on its own: the next read is likely to
// want the rest of it.
func (t *tree) remember(p piece, c merkle.Chunk) {
	if len(p.want) == merkle.HashSize {
		t.d.e.data.put(merkle.Hash(p.want), c.Clone())
	}
}

// ReadAt reads len(p) bytes at off: io.ReaderAt with a context.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	var n int
	for n < len(p) {
		s, err := f.Read(ctx, off+int64(n), len(p)-n)
		if err != nil {
			return n, err
		}
		got := 0
		for _, c := range s.Parts() {
			got += copy(p[n+got:], c.Bytes())
		}
		s.Release()
		if got == 0 {
			return n, io.EOF
		}
		n += got
	}
	return n, nil
}

// Reader returns f as the standard library reads, every read under ctx.
func (f *File) Reader(ctx context.Context) *io.SectionReader {
	return io.NewSectionReader(readerAt{ctx, f}, 0, f.entry.Size)
}

type readerAt struct {
	ctx context.Context // of the one operation the reader was made for
	f   *File
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) { return r.f.ReadAt(r.ctx, p, off) }
