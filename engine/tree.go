package engine

import (
	"context"
	"fmt"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
)

// A tree is one content tree of a dataset: a file's or a directory's.
type tree struct {
	d      *Dataset
	root   merkle.Hash
	at     int64
	layout *merkle.Layout
}

// newTree checks that the tree lies inside the dataset. A tree of size 0 has
// no chunks and must have the empty root.
func (d *Dataset) newTree(size int64, root merkle.Hash, at int64, holes []merkle.Hole) (*tree, error) {
	l, err := merkle.NewLayout(size, holes)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", catalog.ErrMalformed, err)
	}
	if size == 0 {
		if root != merkle.EmptyRoot {
			return nil, fmt.Errorf("%w: an empty file whose root is not that of nothing", catalog.ErrMalformed)
		}
	} else if err := d.header.CheckExtent(at, l.StoredSize()); err != nil {
		return nil, err
	}
	return &tree{d: d, root: root, at: at, layout: l}, nil
}

// chunk returns chunk i of a level, proven: an interior chunk, or a page of a
// table. It is kept in memory; file data goes through read.
func (t *tree) chunk(ctx context.Context, level int, i int64) (merkle.Chunk, error) {
	want, err := t.hash(ctx, level, i)
	if err != nil {
		return merkle.Chunk{}, err
	}
	if c, ok := t.d.e.kept.get(want); ok {
		return c, nil
	}
	if _, stored := t.layout.At(level, i); !stored {
		c := t.layout.HoleChunk(level, i)
		if merkle.Blake3(c.Bytes()) != want {
			return merkle.Chunk{}, fmt.Errorf("%w: a hole where the tree has data", merkle.ErrMismatch)
		}
		return c, nil
	}
	n := t.layout.Len(level, i)
	// Interior chunks and pages do not draw on the budget: a lookup must not
	// queue behind file data. They are small, and few are in flight at once.
	held, buf, err := t.fetch(ctx, level, i, want[:], unbudgeted.newBuffer(n))
	if err != nil {
		return merkle.Chunk{}, err
	}
	c := held.Clone()
	buf.release()
	t.d.e.kept.put(want, c)
	return c, nil
}

// hash returns the hash of chunk i of a level: the root, or what the proven
// chunk above says.
func (t *tree) hash(ctx context.Context, level int, i int64) (merkle.Hash, error) {
	if level == t.layout.Top() {
		return t.root, nil
	}
	parent, err := t.chunk(ctx, level+1, i/merkle.Fanout)
	if err != nil {
		return merkle.Hash{}, err
	}
	return parent.Child(int(i % merkle.Fanout)), nil
}

// hashes returns the hashes of data chunks [i, i+n), side by side; n is cut
// short at the end of their parent.
func (t *tree) hashes(ctx context.Context, i, n int64) ([]byte, error) {
	if t.layout.Top() == 0 {
		return t.root[:], nil
	}
	parent, err := t.chunk(ctx, 1, i/merkle.Fanout)
	if err != nil {
		return nil, err
	}
	from := int(i % merkle.Fanout)
	to := min(from+int(n), parent.Children())
	return parent.Bytes()[from*merkle.HashSize : to*merkle.HashSize], nil
}

// fetch returns the neighbouring stored chunks of a level from i on whose
// hashes are want, proven, and the buffer they lie in, which the caller must
// release. It takes over buf, which is as long as the chunks.
func (t *tree) fetch(ctx context.Context, level int, i int64, want []byte, buf *buffer) (merkle.Chunk, *buffer, error) {
	off, _ := t.layout.At(level, i)
	at := t.at + off
	n := len(buf.b)
	run := merkle.NewRun(buf.b) // the fetch's own: a reader that leaves has no buf any more
	fill := func(ctx context.Context) (merkle.Chunk, error) {
		if err := t.fill(ctx, level, at, want, &run); err != nil {
			return merkle.Chunk{}, err
		}
		return run.Chunk(0, n), nil
	}
	var c merkle.Chunk
	var err error
	if t.d.e.near {
		if c, err = fill(ctx); err != nil {
			buf.release()
		}
	} else {
		c, buf, err = t.d.e.do(ctx, fetchKey{t.d, t.root, t.at, level, i, n}, buf, fill)
	}
	if err != nil {
		return merkle.Chunk{}, nil, fmt.Errorf("chunk %d of level %d (%d bytes at position %d): %w", i, level, n, at, err)
	}
	return c, buf, nil
}

// fill proves all of run, chunks of a level, from the cache and the blobs in turn: from the cache
// what it has, then from the blobs what it has not.
func (t *tree) fill(ctx context.Context, level int, at int64, want []byte, run *merkle.Run) error {
	for {
		done := t.fromCache(at, want, run)
		if want = want[done*merkle.HashSize:]; len(want) == 0 {
			return nil
		}
		n := len(want) / merkle.HashSize
		if t.d.e.cache != nil {
			ref, off, err := t.d.blobAt(ctx, at+int64(run.Len()))
			if err != nil {
				return err
			}
			n = max(1, t.d.e.cache.Absent(ref.id, off, min(n, t.d.chunksInBlob(off))))
		}
		if err := t.fromBlobs(ctx, level, at, want[:n*merkle.HashSize], run); err != nil {
			return err
		}
		if want = want[n*merkle.HashSize:]; len(want) == 0 {
			return nil
		}
	}
}

// fromCache proves what the cache has of the rest of run, whose hashes are
// want, and returns how many chunks that is.
func (t *tree) fromCache(at int64, want []byte, run *merkle.Run) (chunks int) {
	e := t.d.e
	if e.cache == nil {
		return 0
	}
	before := run.Len()
	for left := len(want) / merkle.HashSize; left > 0; {
		ref, off, err := t.d.blobAt(e.life, at+int64(run.Len()))
		if err != nil {
			break
		}
		n := min(left, t.d.chunksInBlob(off))
		got := e.cache.Read(ref.id, off, want[chunks*merkle.HashSize:][:n*merkle.HashSize], run)
		chunks, left = chunks+got, left-got
		if got < n {
			break
		}
	}
	e.stats.cached.Add(int64(run.Len() - before))
	return chunks
}

// fromBlobs fetches and proves the chunks whose hashes are want at the front
// of the rest of run. When one proves false, the blobs are told to find who
// lies about it, and it and the rest are fetched again.
func (t *tree) fromBlobs(ctx context.Context, level int, at int64, want []byte, run *merkle.Run) error {
	e := t.d.e
	start := run.Len()
	size := min(len(want)/merkle.HashSize*merkle.ChunkSize, len(run.Rest()))
	var keep bool
	for accused := -1; ; {
		proven := run.Len() - start
		pos, left := at+int64(run.Len()), size-proven
		k, err := e.ahead.readAt(ctx, t, level, run.Rest()[:left], pos)
		if err != nil {
			return err
		}
		keep = keep || k
		bad := prove(run, want[proven/merkle.ChunkSize*merkle.HashSize:], left)
		if bad == nil {
			break
		}
		if proven = run.Len() - start; proven == accused {
			return fmt.Errorf("%w; every source was checked: what was published does not hold together", bad)
		}
		accused, keep = proven, true
		e.stats.lies.Add(1)
		e.ahead.forget(t.d)
		pos = at + int64(run.Len())
		e.log.Warn("bytes proved false, looking for who is to blame", "dataset", t.d.id.String(), "position", pos, "error", bad)
		if err := t.d.recheck(ctx, pos, int64(min(merkle.ChunkSize, size-proven))); err != nil {
			return err
		}
	}
	if keep && e.cache != nil {
		t.d.keep(ctx, at+int64(start), run.Chunk(start, start+size))
	}
	return nil
}

// prove proves the chunks whose hashes are want, n bytes in all.
func prove(run *merkle.Run, want []byte, n int) error {
	for ; n > 0; want = want[merkle.HashSize:] {
		size := min(n, merkle.ChunkSize)
		if err := run.Prove(merkle.Hash(want[:merkle.HashSize]), size); err != nil {
			return err
		}
		n -= size
	}
	return nil
}

// unbudgeted backs the buffers of interior chunks and pages.
var unbudgeted = new(budget)
