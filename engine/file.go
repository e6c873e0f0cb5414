package engine

import (
	"context"
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
	entry catalog.Entry
	tree  *tree
}

// File returns a reader for e, which must be a file of d.
func (d *Dataset) File(ctx context.Context, e catalog.Entry) (*File, error) {
	if e.Type != catalog.File {
		return nil, fmt.Errorf("%q is not a file", e.Name)
	}
	holes, err := d.holes(ctx, e)
	if err != nil {
		return nil, err
	}
	t, err := d.newTree(e.Size, e.Root, e.At, holes)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", e.Name, err)
	}
	return &File{e, t}, nil
}

// Entry returns the file's entry.
func (f *File) Entry() catalog.Entry { return f.entry }

// Layout returns where the file has data and holes.
func (f *File) Layout() *merkle.Layout { return f.tree.layout }

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

// add appends the bytes [from, to) of c, which lie in buf (nil: in memory of
// their own).
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
	s := &Span{}
	s.parts, s.bufs = s.partRoom[:0], s.bufRoom[:0]
	if off < 0 || n < 0 {
		return nil, fmt.Errorf("reading %d bytes at %d: out of range", n, off)
	}
	n = int(min(int64(min(n, MaxRead)), f.entry.Size-min(off, f.entry.Size)))
	if n == 0 {
		return s, nil
	}
	first, last := off/merkle.ChunkSize, (off+int64(n)-1)/merkle.ChunkSize
	pieces, err := f.tree.plan(ctx, first, last)
	if err != nil {
		return nil, err
	}
	var cost int64
	for i := range pieces {
		cost += pieces[i].cost()
	}
	if err := f.tree.d.e.budget.acquire(ctx, cost); err != nil {
		return nil, err
	}
	for i, p := range pieces {
		from := max(0, off-p.first*merkle.ChunkSize)
		to := min(int64(p.bytes), off+int64(n)-p.first*merkle.ChunkSize)
		if p.kept.Len() > 0 {
			s.add(p.kept.Slice(int(from), int(to)), nil)
			continue
		}
		c, held, err := f.tree.piece(ctx, p, f.tree.d.e.budget.newBuffer(p.bytes))
		if err != nil {
			for _, q := range pieces[i+1:] {
				f.tree.d.e.budget.release(q.cost())
			}
			s.Release()
			return nil, err
		}
		s.add(c.Slice(int(from), int(to)), held)
	}
	f.tree.d.e.stats.served.Add(int64(n))
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

// cost returns what fetching p takes of the budget.
func (p *piece) cost() int64 {
	if p.kept.Len() > 0 {
		return 0
	}
	return bufferCost(p.bytes)
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

// piece returns p's bytes, proven, and the buffer they lie in. It takes over
// buf.
func (t *tree) piece(ctx context.Context, p piece, buf *buffer) (merkle.Chunk, *buffer, error) {
	if p.hole {
		run := merkle.NewRun(buf.b)
		run.Zero(p.bytes)
		return run.Chunk(0, p.bytes), buf, nil
	}
	c, held, err := t.fetch(ctx, 0, p.first, p.want, buf)
	if err == nil && len(p.want) == merkle.HashSize {
		t.d.e.data.put(merkle.Hash(p.want), c.Clone())
	}
	return c, held, err
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
