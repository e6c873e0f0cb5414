package engine

import (
	"context"

	"github.com/floefs/floe/merkle"
)

// Cached returns how many of the bytes [off, off+n) of the file are stored data
// that is in the cache, as far as it knows without reading them, and how many
// are stored data. Whole chunks are counted.
func (f *File) Cached(ctx context.Context, off, n int64) (cached, total int64, err error) {
	return f.from.cached(ctx, off, n)
}

// cached implements contents.
func (t *tree) cached(ctx context.Context, off, n int64) (cached, total int64, err error) {
	first, end := off/merkle.ChunkSize, min(t.layout.Chunks(0), (off+n+merkle.ChunkSize-1)/merkle.ChunkSize)
	for i := first; i < end; {
		n, hole := t.layout.Extent(i, end-i)
		if hole {
			i += n
			continue
		}
		at, _ := t.layout.At(0, i)
		ref, at, err := t.d.blobAt(ctx, t.at+at)
		if err != nil {
			return 0, 0, err
		}
		n = min(n, int64(t.d.chunksInBlob(at)))
		there := int64(0)
		if c := t.d.e.cache; c != nil {
			if there = int64(c.Present(ref.id, at, int(n))); there == 0 {
				n = max(1, int64(c.Absent(ref.id, at, int(n))))
			} else {
				n = there
			}
		}
		bytes := (n-1)*merkle.ChunkSize + int64(t.layout.Len(0, i+n-1))
		if total += bytes; there > 0 {
			cached += bytes
		}
		i += n
	}
	return cached, total, nil
}
