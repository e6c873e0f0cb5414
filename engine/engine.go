// Package engine reads datasets: every byte it returns has been proven.
//
// A dataset is named by the Walrus blob id of its header blob. From that id
// everything else is proven: the header by sliver hashes, the top directory's
// table by the root in the header, every further directory, file and byte by
// BLAKE3 content trees (package merkle). Where bytes come from does not
// matter: nodes, the network and the disk cache may withhold, never alter.
//
// Reading a file of a dataset from a Go program:
//
//	store, err := dir.Open("/data/floe", false)
//	...
//	eng := engine.New(blob.Local(store), nil, nil)
//	defer eng.Close()
//	ds, err := eng.Open(ctx, id)
//	...
//	data, err := fs.ReadFile(ds.FS(ctx), "train/0001.parquet")
//
// Walrus blobs that were stored by other means are read by [Engine.OpenBlob],
// which proves them by the hashes of their slivers; [Blob.Dataset] shows one as
// a directory.
//
// The example in this package's tests is that program, whole.
package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// Blobs is where a dataset's bytes lie. Nothing that returns a []byte is
// trusted. Methods may be called concurrently.
type Blobs interface {
	// Metadata returns a blob's metadata, proven against its id.
	Metadata(ctx context.Context, id walrus.BlobID) (*walrus.Metadata, error)

	// Sliver returns a sliver of either axis, proven against the metadata.
	Sliver(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, at walrus.SliverID) (merkle.Chunk, error)

	// ReadAt fills p with the blob's bytes from off on. They are not proven.
	// keep says that reading them again would cost more than reading them
	// from a cache.
	ReadAt(ctx context.Context, id walrus.BlobID, params walrus.Params, p []byte, off int64) (keep bool, err error)

	// Recheck is called when bytes [off, off+n) that ReadAt returned proved
	// false. It finds and remembers the slivers that are to blame, so that
	// ReadAt goes around them from now on.
	Recheck(ctx context.Context, id walrus.BlobID, params walrus.Params, off, n int64) error
}

// Cache keeps proven chunks between reads and between processes. It is not
// trusted either: what it returns it proves again. Keys are blob ids, offsets
// count within the blob. Methods may be called concurrently; none blocks for
// long.
type Cache interface {
	// Read fills run.Rest with the chunks from off on and proves them against
	// want, their hashes side by side, up to the first it does not have. It
	// returns how many it proved.
	Read(blob [32]byte, off int64, want []byte, run *merkle.Run) (chunks int)

	// Present returns how many of the n chunks from off on it seems to have, up
	// to the first it does not.
	Present(blob [32]byte, off int64, n int) int

	// Absent returns how many of the n chunks from off on are surely not
	// there, up to the first that may be.
	Absent(blob [32]byte, off int64, n int) int

	// Put offers proven chunks for keeping. It copies what it keeps.
	Put(blob [32]byte, off int64, c merkle.Chunk)

	// Raw fills p with what lies at off on, which whoever reads it proves. It
	// reports false if some of it is not there.
	Raw(blob [32]byte, off int64, p []byte) bool

	// Meta and PutMeta keep small things of a blob by name: metadata and
	// header slivers. Whoever reads them proves them.
	Meta(blob [32]byte, name string) []byte
	PutMeta(blob [32]byte, name string, data []byte)
}

// Options are an Engine's settings; nil and zero mean the defaults.
type Options struct {
	Memory int64         // bytes for everything in flight and kept; default 256 MiB
	Fetch  time.Duration // after which a fetch is given up, whoever may wait for it; default 60 s
	Logger *slog.Logger  // default: silent

	// Near says that the blobs are on disks at hand, which answer at once: then
	// a reader fetches for itself, which costs less than sharing a fetch.
	Near bool
}

// Engine opens datasets and blobs. It is safe for concurrent use.
type Engine struct {
	blobs Blobs
	cache Cache // nil: none
	log   *slog.Logger

	patience time.Duration // with a fetch
	near     bool          // see Options

	kept   *recent[merkle.Hash, merkle.Chunk] // interior chunks and table pages
	data   *recent[merkle.Hash, merkle.Chunk] // data chunks that were read one by one, and slivers in pieces
	sums   *recent[sliverKey, []byte]         // hashes of the pieces of slivers
	ready  *budget                            // buffers of reads of what is there
	budget *budget                            // buffers of reads that fetch
	flight flight
	ahead  *ahead
	strict *semaphore.Weighted // strict checks, each of which takes all cores

	life context.Context // of fetches, which outlive the reader that began them; ended by Close
	end  context.CancelFunc
	wg   sync.WaitGroup // fetches

	stats counters
}

// New returns an Engine that reads from blobs and keeps chunks in cache,
// which may be nil.
func New(blobs Blobs, cache Cache, opts *Options) *Engine {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Memory <= 0 {
		o.Memory = 256 << 20
	}
	o.Memory = max(o.Memory, 32<<20)
	if o.Fetch <= 0 {
		o.Fetch = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		blobs: blobs, cache: cache, log: o.Logger, patience: o.Fetch, near: o.Near,
		kept: newRecentChunks(o.Memory / 4), data: newRecentChunks(o.Memory / 8),
		sums:  newRecent[sliverKey](o.Memory/32, func(b []byte) int { return len(b) }),
		ready: newBudget(max(o.Memory/8, 2*MaxRead)), budget: newBudget(o.Memory / 8 * 3),
		strict: semaphore.NewWeighted(1),
	}
	e.ahead = &ahead{e: e, limit: o.Memory / 8}
	e.life, e.end = context.WithCancel(context.Background())
	return e
}

// Close ends all fetches and waits for them. Readers still at work get
// errors; the cache is not closed.
func (e *Engine) Close() error {
	e.end()
	e.wg.Wait()
	return nil
}
