package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// A Blob is a Walrus blob as it is. No content tree names its bytes: they are
// proven by the hashes of the slivers they lie in, which its metadata names. It
// is safe for concurrent use and needs no closing; it is usable until its
// Engine is closed.
//
// A sliver is fetched and proven whole. From then on the BLAKE3 hashes of its
// pieces are known, and a piece alone can be read and proven, from the cache or
// from the blobs, as the chunks of a content tree are. A piece is 16 KiB, the
// last of a sliver shorter. The hashes are kept in memory, the slivers in the
// cache; one that a cache has kept from before is proven whole once.
type Blob struct {
	e      *Engine
	id     walrus.BlobID
	meta   *walrus.Metadata
	params walrus.Params

	// ofDataset says that it holds the header of a dataset or a part of its
	// blob table: then the slivers are kept with the metadata, where no data
	// drives them out, and reading them never waits for that of data.
	ofDataset bool

	mu      sync.Mutex // guards what follows
	verdict *error     // of CheckStrictly
}

// OpenBlob opens the Walrus blob of an id, whatever it holds. Nothing of it but
// the metadata has been read on return.
func (e *Engine) OpenBlob(ctx context.Context, id walrus.BlobID) (*Blob, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.patience, fmt.Errorf("no answer within %v", e.patience))
	defer cancel()
	b, err := e.openBlob(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("opening blob %s: %w", id, err)
	}
	return b, nil
}

// openBlob obtains and proves the metadata of id, from the cache first.
func (e *Engine) openBlob(ctx context.Context, id walrus.BlobID) (*Blob, error) {
	b := &Blob{e: e, id: id}
	var err error
	if e.cache != nil {
		b.meta, err = walrus.ProveMetadata(id, e.cache.Meta(id, "meta"))
	}
	if e.cache == nil || err != nil {
		if b.meta, err = e.blobs.Metadata(ctx, id); err != nil {
			return nil, err
		}
		if e.cache != nil {
			e.cache.PutMeta(id, "meta", b.meta.Append(nil))
		}
	}
	b.params, err = b.meta.Params()
	return b, err
}

// openHeaderBlob is openBlob for a blob of a dataset whose bytes no content
// tree names.
func (e *Engine) openHeaderBlob(ctx context.Context, id walrus.BlobID) (*Blob, error) {
	b, err := e.openBlob(ctx, id)
	if err != nil {
		return nil, err
	}
	b.ofDataset = true
	return b, nil
}

// ID returns the blob's id.
func (b *Blob) ID() walrus.BlobID { return b.id }

// Params returns the blob's geometry.
func (b *Blob) Params() walrus.Params { return b.params }

// Metadata returns the blob's metadata, which must not be changed.
func (b *Blob) Metadata() *walrus.Metadata { return b.meta }

// File returns a reader of all the blob's bytes.
func (b *Blob) File() (*File, error) {
	return b.file(catalog.Entry{Name: b.id.String(), Size: int64(b.params.Size)}, walrus.Primary, 0)
}

// A sliverKey names a sliver.
type sliverKey struct {
	blob walrus.BlobID
	at   walrus.SliverID
}

// kept returns where pieces are kept in memory.
func (b *Blob) kept() *recent[merkle.Hash, merkle.Chunk] {
	if b.ofDataset {
		return b.e.kept
	}
	return b.e.data
}

// place returns where in the cache the pieces of a sliver lie: behind all
// chunks of datasets, which may lie in the same blob, at 16 GiB those of the
// primary axis and at 32 GiB the others. No blob is larger, nor are its slivers
// when each begins at a multiple of merkle.Align.
func (b *Blob) place(at walrus.SliverID) int64 {
	stride := (b.params.SliverLen(at.Axis) + merkle.Align - 1) / merkle.Align * merkle.Align
	return int64(at.Axis+1)<<34 + int64(at.Index)*int64(stride)
}

// sliver returns a sliver, proven, and takes over share, which it draws on
// until what it returns instead is released.
func (b *Blob) sliver(ctx context.Context, at walrus.SliverID, share *buffer) (merkle.Chunk, *buffer, error) {
	c, share, err := b.e.do(ctx, sliverKey{b.id, at}, share, func(ctx context.Context) (merkle.Chunk, error) {
		if c, ok := b.cached(at); ok {
			return c, nil
		}
		c, err := b.e.blobs.Sliver(ctx, b.id, b.meta, at)
		if err != nil {
			return merkle.Chunk{}, err
		}
		b.e.stats.fetched.Add(int64(c.Len()))
		b.learn(at, c)
		b.keep(at, c)
		return c, nil
	})
	if err != nil {
		return merkle.Chunk{}, nil, fmt.Errorf("%s of blob %s: %w", at, b.id, err)
	}
	return c, share, nil
}

// cached returns a sliver that the cache has, proven.
func (b *Blob) cached(at walrus.SliverID) (c merkle.Chunk, ok bool) {
	cache := b.e.cache
	if cache == nil {
		return c, false
	}
	var data []byte
	if b.ofDataset {
		data = cache.Meta(b.id, metaName(at))
	} else if data = make([]byte, b.params.SliverLen(at.Axis)); !cache.Raw(b.id, b.place(at), data) {
		return c, false
	}
	c, err := b.meta.ProveSliver(at, data)
	if err != nil {
		return c, false
	}
	b.e.stats.cached.Add(int64(c.Len()))
	b.learn(at, c)
	return c, true
}

// keep offers a sliver to the cache.
func (b *Blob) keep(at walrus.SliverID, c merkle.Chunk) {
	switch {
	case b.e.cache == nil:
	case b.ofDataset:
		b.e.cache.PutMeta(b.id, metaName(at), c.Bytes())
	case !b.e.near:
		b.e.cache.Put(b.id, b.place(at), c)
	}
}

// metaName names a primary sliver among a blob's metadata.
func metaName(at walrus.SliverID) string { return fmt.Sprintf("p%d", at.Index) }

// learn takes note of the hashes of a sliver's pieces, and keeps these in
// memory, for what was fetched for a part of it is likely to be read on.
func (b *Blob) learn(at walrus.SliverID, c merkle.Chunk) {
	kept := b.kept()
	few := int64(c.Len()) <= kept.limit/4
	sums := make([]byte, 0, (c.Len()+merkle.ChunkSize-1)/merkle.ChunkSize*merkle.HashSize)
	for off := 0; off < c.Len(); off += merkle.ChunkSize {
		piece := c.Slice(off, min(off+merkle.ChunkSize, c.Len()))
		sum := merkle.Blake3(piece.Bytes())
		sums = append(sums, sum[:]...)
		if few {
			kept.put(sum, piece.Clone())
		}
	}
	b.e.sums.put(sliverKey{b.id, at}, sums)
}
