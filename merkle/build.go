package merkle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/zeebo/blake3"
)

// A Tree is what Build has written: everything needed to read the file back,
// but for the position of its first byte.
type Tree struct {
	Root  Hash
	Size  int64
	Sum   Hash // BLAKE3 of the whole file, what b3sum prints
	Holes []Hole
}

// spillAt is how many bytes of interior hashes Build keeps in memory before
// it turns to a temporary file: the hashes of 8 GiB.
const spillAt = 16 << 20

// Build reads r to its end and writes to w what a dataset stores of it: the
// data chunks that are not in holes, then the interior levels, each padded to
// start at a multiple of Align from the first byte written. With w nil it
// only hashes. Memory is bounded whatever the size; hashes that outgrow it go
// to an unlinked file in tmp (empty: the system's directory).
func Build(w io.Writer, r io.Reader, tmp string) (Tree, error) {
	b := builder{w: w, tmp: tmp, whole: blake3.New()}
	defer b.levels.close()
	buf := units.Get().(*[HoleSize]byte)
	defer units.Put(buf)
	for {
		n, err := io.ReadFull(r, buf[:])
		if e := b.unit(buf[:n]); e != nil {
			return Tree{}, e
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return Tree{}, err
		}
	}
	return b.finish()
}

// units are the buffers of Build: clearing a new one for each of many small
// files would cost more than all else.
var units = sync.Pool{New: func() any { return new([HoleSize]byte) }}

// HashTree returns the tree of r without storing anything.
func HashTree(r io.Reader, tmp string) (Tree, error) { return Build(nil, r, tmp) }

type builder struct {
	w      io.Writer
	tmp    string
	whole  *blake3.Hasher
	size   int64
	holes  []Hole
	out    int64 // bytes written to w
	levels spool // hashes of the data chunks
	last   Hash  // of the latest data chunk
}

// unit takes the next HoleSize bytes of the file, fewer at its end.
func (b *builder) unit(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	at := b.size / HoleSize
	b.size += int64(len(data))
	if len(data) > ChunkSize || at > 0 {
		b.whole.Write(data)
	}
	hole := len(data) == HoleSize && allZero(data)
	if hole {
		if k := len(b.holes) - 1; k >= 0 && b.holes[k].Start+b.holes[k].Count == at {
			b.holes[k].Count++
		} else {
			b.holes = append(b.holes, Hole{at, 1})
		}
		b.last = zeroChunkHash
		for range HoleSize / ChunkSize {
			if err := b.levels.add(b.tmp, b.last); err != nil {
				return err
			}
		}
		return nil
	}
	for c := data; len(c) > 0; {
		n := min(ChunkSize, len(c))
		b.last = Blake3(c[:n])
		if err := b.levels.add(b.tmp, b.last); err != nil {
			return err
		}
		c = c[n:]
	}
	return b.write(data)
}

// finish writes the interior levels and returns the tree.
func (b *builder) finish() (Tree, error) {
	t := Tree{Size: b.size, Holes: b.holes}
	if b.size == 0 {
		t.Root, t.Sum = EmptyRoot, EmptyRoot
		return t, nil
	}
	if b.size <= ChunkSize {
		t.Root, t.Sum = b.last, b.last
		return t, nil
	}
	b.whole.Digest().Read(t.Sum[:])
	lay, err := NewLayout(b.size, b.holes)
	if err != nil {
		return Tree{}, fmt.Errorf("internal error: %w", err)
	}
	cur := &b.levels
	for level := 1; level <= lay.Top(); level++ {
		if err := b.pad(); err != nil {
			return Tree{}, err
		}
		next, err := b.level(lay, level, cur)
		cur.close()
		if err != nil {
			return Tree{}, err
		}
		cur = next
	}
	defer cur.close()
	t.Root = b.last
	if b.w != nil && b.out != lay.StoredSize() {
		return Tree{}, errors.New("internal error: what was stored does not fit the layout")
	}
	return t, nil
}

// level writes one interior level from the hashes of the one below and
// returns the hashes of its chunks.
func (b *builder) level(lay *Layout, level int, below *spool) (*spool, error) {
	r, err := below.reader()
	if err != nil {
		return nil, err
	}
	next := &spool{}
	buf := make([]byte, ChunkSize)
	for i := range lay.Chunks(level) {
		c := buf[:lay.Len(level, i)]
		if _, err := io.ReadFull(r, c); err != nil {
			return next, fmt.Errorf("reading back interior hashes: %w", err)
		}
		b.last = Blake3(c)
		if err := next.add(b.tmp, b.last); err != nil {
			return next, err
		}
		if _, stored := lay.At(level, i); !stored {
			continue
		}
		if err := b.write(c); err != nil {
			return next, err
		}
	}
	return next, nil
}

func (b *builder) write(data []byte) error {
	if b.w == nil {
		return nil
	}
	b.out += int64(len(data))
	_, err := b.w.Write(data)
	return err
}

func (b *builder) pad() error {
	return b.write(make([]byte, alignUp(b.out)-b.out))
}

// A spool holds the hashes of one level: in memory, then in a file.
type spool struct {
	mem  []byte
	file *os.File
	w    *bufio.Writer
}

func (s *spool) add(tmp string, h Hash) error {
	if s.file == nil && len(s.mem) < spillAt {
		s.mem = append(s.mem, h[:]...)
		return nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(tmp, "floe-hashes-")
		if err != nil {
			return fmt.Errorf("keeping interior hashes: %w", err)
		}
		os.Remove(f.Name()) // only the descriptor keeps it
		s.file, s.w = f, bufio.NewWriterSize(f, 1<<20)
	}
	_, err := s.w.Write(h[:])
	return err
}

// reader returns the hashes from the first on. No add may follow.
func (s *spool) reader() (io.Reader, error) {
	if s.file == nil {
		return bytes.NewReader(s.mem), nil
	}
	if err := s.w.Flush(); err != nil {
		return nil, err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.MultiReader(bytes.NewReader(s.mem), bufio.NewReaderSize(s.file, 1<<20)), nil
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
	*s = spool{}
}

var zeroChunkHash = Blake3(make([]byte, ChunkSize))

// allZero reports whether b, of at least one byte, holds only zeros: its
// first byte is zero and each byte equals the one before it.
func allZero(b []byte) bool { return b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }
