package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// record reads the record at offset off.
func (b *Blob) record(ctx context.Context, off int64) (catalog.BlobRecord, error) {
	var raw [catalog.RecordSize]byte
	if err := b.readAt(ctx, raw[:], off); err != nil {
		return catalog.BlobRecord{}, err
	}
	return catalog.ParseRecord(raw[:])
}

// A blobRef is one blob of a dataset's address space.
type blobRef struct {
	id     walrus.BlobID
	params walrus.Params
}

// A blobTable finds the blob at a place in the address space.
type blobTable struct {
	header *Blob
	h      catalog.Header

	mu    sync.Mutex // guards what follows
	refs  map[int64]blobRef
	lists map[int64]*Blob
}

const keptRefs = 64 << 10

func newBlobTable(hb *Blob, h catalog.Header) *blobTable {
	return &blobTable{header: hb, h: h, refs: make(map[int64]blobRef), lists: make(map[int64]*Blob)}
}

// ref returns blob i.
func (t *blobTable) ref(ctx context.Context, i int64) (blobRef, error) {
	t.mu.Lock()
	ref, ok := t.refs[i]
	t.mu.Unlock()
	if ok {
		return ref, nil
	}
	from := t.header
	list, off := t.h.RecordAt(i)
	if list >= 0 {
		var err error
		if from, err = t.list(ctx, list); err != nil {
			return blobRef{}, err
		}
	}
	rec, err := from.record(ctx, off)
	if err == nil {
		err = t.h.CheckBlob(rec)
	}
	if err != nil {
		return blobRef{}, fmt.Errorf("blob %d: %w", i, err)
	}
	params, err := walrus.NewParams(t.h.Shards, uint64(rec.Size))
	if err != nil {
		return blobRef{}, fmt.Errorf("%w: blob %d: %w", catalog.ErrMalformed, i, err)
	}
	ref = blobRef{walrus.BlobID(rec.ID), params}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.refs) >= keptRefs {
		clear(t.refs)
	}
	t.refs[i] = ref
	return ref, nil
}

// list returns list blob i of a table that is a list of lists.
func (t *blobTable) list(ctx context.Context, i int64) (*Blob, error) {
	t.mu.Lock()
	hb := t.lists[i]
	t.mu.Unlock()
	if hb != nil {
		return hb, nil
	}
	rec, err := t.header.record(ctx, t.h.ListAt(i))
	if err == nil {
		err = t.h.CheckList(i, rec)
	}
	if err != nil {
		return nil, err
	}
	if hb, err = t.header.e.openHeaderBlob(ctx, walrus.BlobID(rec.ID)); err != nil {
		return nil, err
	}
	if hb.params.Size != uint64(rec.Size) || hb.params.N != t.h.Shards {
		return nil, fmt.Errorf("%w: list %d has %d bytes, the header says %d", catalog.ErrMalformed, i, hb.params.Size, rec.Size)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lists[i] = hb
	return hb, nil
}

// blobAt returns the blob that position at lies in, and the offset in it.
func (d *Dataset) blobAt(ctx context.Context, at int64) (blobRef, int64, error) {
	i := at / d.header.BlobSize
	if at < 0 || i >= d.header.Blobs {
		return blobRef{}, 0, fmt.Errorf("%w: position %d is outside the dataset", catalog.ErrMalformed, at)
	}
	ref, err := d.blobs.ref(ctx, i)
	return ref, at % d.header.BlobSize, err
}

// BlobID returns the id of blob i of the dataset's address space.
func (d *Dataset) BlobID(ctx context.Context, i int64) (walrus.BlobID, walrus.Params, error) {
	if d.bare != nil {
		return d.id, d.bare.blob.params, nil // the only one
	}
	ref, err := d.blobs.ref(ctx, i)
	return ref.id, ref.params, err
}

// each calls fn for the parts of [at, at+n) that lie in one blob each.
func (d *Dataset) each(ctx context.Context, at, n int64, fn func(ref blobRef, off, n int64) error) error {
	for n > 0 {
		ref, off, err := d.blobAt(ctx, at)
		if err != nil {
			return err
		}
		part := min(n, d.header.BlobSize-off)
		if off+part > int64(ref.params.Size) {
			return fmt.Errorf("%w: position %d lies behind the end of its blob %s", catalog.ErrMalformed, at, ref.id)
		}
		if err := fn(ref, off, part); err != nil {
			return err
		}
		at, n = at+part, n-part
	}
	return nil
}

// readAt fills p with unproven bytes from position at on.
func (d *Dataset) readAt(ctx context.Context, p []byte, at int64) (keep bool, err error) {
	err = d.each(ctx, at, int64(len(p)), func(ref blobRef, off, n int64) error {
		k, err := d.e.blobs.ReadAt(ctx, ref.id, ref.params, p[:n], off)
		p, keep = p[n:], keep || k
		return err
	})
	return keep, err
}

// recheck has the blobs find who is to blame for [at, at+n).
func (d *Dataset) recheck(ctx context.Context, at, n int64) error {
	return d.each(ctx, at, n, func(ref blobRef, off, n int64) error {
		return d.e.blobs.Recheck(ctx, ref.id, ref.params, off, n)
	})
}

// chunksInBlob returns how many neighbouring chunks from offset off of a blob
// on start in it. The last may straddle its end; it belongs to this blob all
// the same, and its cached copy lies here whole, behind the blob's end.
func (d *Dataset) chunksInBlob(off int64) int {
	return int((d.header.BlobSize - off + merkle.ChunkSize - 1) / merkle.ChunkSize)
}

// keep offers proven chunks at position at to the cache.
func (d *Dataset) keep(ctx context.Context, at int64, c merkle.Chunk) {
	for c.Len() > 0 {
		ref, off, err := d.blobAt(ctx, at)
		if err != nil {
			return
		}
		n := min(c.Len(), d.chunksInBlob(off)*merkle.ChunkSize)
		d.e.cache.Put(ref.id, off, c.Slice(0, n))
		at, c = at+int64(n), c.Slice(n, c.Len())
	}
}
