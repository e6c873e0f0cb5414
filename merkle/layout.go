package merkle

import (
	"errors"
	"fmt"
	"sort"
)

const (
	HoleSize = 1 << 20 // bytes of a hole unit
	Align    = 512     // every level of a stored tree starts at a multiple of it
)

// A Hole is Count hole units from unit Start on: file bytes
// [Start*HoleSize, (Start+Count)*HoleSize), all zero.
type Hole struct{ Start, Count int64 }

// Layout is where the chunks of one file lie: the Shape of its tree less its
// holes. Offsets count from the file's position in the dataset. The stored
// data chunks come first, compacted over holes; then each interior level,
// each starting at a multiple of Align. Read-only, safe for concurrent use.
type Layout struct {
	Shape
	holes []Hole
	top   int
	base  []int64 // offset of each level
	gaps  [][]gap // per level, in order: the chunks that are not stored; nil without holes
	zero  []Hash  // hash of a full chunk that lies in a hole, per level
}

// A gap is the chunks [from, to) of a level, which lie wholly in one hole.
type gap struct {
	from, to int64
	before   int64 // chunks of the level in earlier gaps
}

// NewLayout checks holes against size and returns the layout. Holes must be
// sorted, apart from one another, not empty, and whole within size; size must
// not be negative.
func NewLayout(size int64, holes []Hole) (*Layout, error) {
	if size < 0 {
		return nil, errors.New("negative file size")
	}
	units, end := size/HoleSize, int64(-1)
	for i, h := range holes {
		if h.Start <= end || h.Count <= 0 || h.Start > units || h.Count > units-h.Start {
			return nil, fmt.Errorf("hole %d (%d MiB from MiB %d) is out of order or outside the file's %d MiB", i, h.Count, h.Start, units)
		}
		end = h.Start + h.Count
	}
	l := &Layout{Shape: Shape{size}, holes: holes}
	l.top = l.Shape.Top()
	if len(holes) > 0 {
		l.zero = zeroHashes(l.top)
		l.gaps = make([][]gap, l.top+1)
		for level := range l.gaps {
			l.gaps[level] = l.gapsOf(level)
		}
	}
	l.base = make([]int64, l.top+2)
	for level := 0; level <= l.top; level++ {
		l.base[level+1] = alignUp(l.base[level] + l.storedLen(level))
	}
	return l, nil
}

// Top is Shape.Top, computed once.
func (l *Layout) Top() int { return l.top }

// Holes returns the holes, which must not be modified.
func (l *Layout) Holes() []Hole { return l.holes }

// StoredSize returns the bytes the file takes in the dataset, padding between
// levels included, padding behind the last not.
func (l *Layout) StoredSize() int64 { return l.base[l.top] + l.storedLen(l.top) }

// DataSize returns the bytes of the file that are not in holes.
func (l *Layout) DataSize() int64 { return l.storedLen(0) }

// At returns the offset of chunk i of a level from the file's position; ok is
// false if the chunk lies in a hole and is not stored.
func (l *Layout) At(level int, i int64) (off int64, ok bool) {
	skipped, in := l.skipped(level, i)
	return l.base[level] + (i-skipped)*ChunkSize, !in
}

// Extent returns how many data chunks from i on, at most n, are alike: all in
// one hole, or all stored side by side.
func (l *Layout) Extent(i, n int64) (count int64, hole bool) {
	if len(l.holes) == 0 {
		return n, false
	}
	gaps := l.gaps[0]
	k := sort.Search(len(gaps), func(k int) bool { return gaps[k].to > i })
	switch {
	case k == len(gaps):
		return n, false
	case gaps[k].from <= i:
		return min(n, gaps[k].to-i), true
	default:
		return min(n, gaps[k].from-i), false
	}
}

// HoleHash returns the hash of chunk i of a level that lies in a hole.
func (l *Layout) HoleHash(level int, i int64) Hash {
	if n := l.Len(level, i); level > 0 && n < ChunkSize {
		return Blake3(repeat(l.zero[level-1], n/HashSize))
	}
	return l.zero[level]
}

// HoleChunk returns the bytes of an interior chunk that lies in a hole.
func (l *Layout) HoleChunk(level int, i int64) Chunk {
	data := make([]byte, 0, l.Len(level, i))
	for c := i * Fanout; len(data) < cap(data); c++ {
		h := l.HoleHash(level-1, c)
		data = append(data, h[:]...)
	}
	return Chunk{data}
}

// NextData returns the first offset at or after off that is not in a hole;
// NextHole the first that is, or the size. Both are what lseek(2) answers for
// SEEK_DATA and SEEK_HOLE; ok is false where it answers ENXIO.
func (l *Layout) NextData(off int64) (int64, bool) {
	if off < 0 || off >= l.Size {
		return 0, false
	}
	for _, h := range l.from(off) {
		if off < h.Start*HoleSize {
			break
		}
		off = (h.Start + h.Count) * HoleSize
	}
	return off, off < l.Size
}

// NextHole: see NextData.
func (l *Layout) NextHole(off int64) (int64, bool) {
	if off < 0 || off >= l.Size {
		return 0, false
	}
	if hs := l.from(off); len(hs) > 0 {
		return max(off, hs[0].Start*HoleSize), true
	}
	return l.Size, true
}

// from returns the holes that end behind off.
func (l *Layout) from(off int64) []Hole {
	return l.holes[sort.Search(len(l.holes), func(k int) bool { return (l.holes[k].Start+l.holes[k].Count)*HoleSize > off }):]
}

// storedLen returns the bytes of a level that are stored.
func (l *Layout) storedLen(level int) int64 {
	n := l.LevelSize(level)
	if len(l.holes) == 0 || n == 0 {
		return n
	}
	chunks := l.Chunks(level)
	skipped, in := l.skipped(level, chunks-1)
	if in {
		return (chunks - 1 - skipped) * ChunkSize // the last, perhaps short, chunk is not stored
	}
	return n - skipped*ChunkSize
}

// skipped returns how many chunks before i of a level are not stored, and
// whether i is not stored either.
func (l *Layout) skipped(level int, i int64) (n int64, in bool) {
	if len(l.holes) == 0 {
		return 0, false
	}
	gaps := l.gaps[level]
	k := sort.Search(len(gaps), func(k int) bool { return gaps[k].from > i })
	if k == 0 {
		return 0, false
	}
	g := gaps[k-1]
	if i < g.to {
		return g.before + i - g.from, true
	}
	return g.before + g.to - g.from, false
}

// gapsOf returns the chunks of a level that lie wholly in holes.
func (l *Layout) gapsOf(level int) []gap {
	var gaps []gap
	var before int64
	s := span(level)
	for _, h := range l.holes {
		start, end := h.Start*HoleSize, (h.Start+h.Count)*HoleSize
		g := gap{from: start / s, to: end / s, before: before}
		if start%s != 0 {
			g.from++
		}
		if end == l.Size {
			g.to = l.Chunks(level) // a short last chunk ends with the file
		}
		if g.from < g.to {
			gaps = append(gaps, g)
			before += g.to - g.from
		}
	}
	return gaps
}

func zeroHashes(top int) []Hash {
	z := []Hash{Blake3(make([]byte, ChunkSize))}
	for len(z) <= top {
		z = append(z, Blake3(repeat(z[len(z)-1], Fanout)))
	}
	return z
}

func repeat(h Hash, n int) []byte {
	b := make([]byte, 0, n*HashSize)
	for range n {
		b = append(b, h[:]...)
	}
	return b
}

func alignUp(n int64) int64 { return (n + Align - 1) / Align * Align }
