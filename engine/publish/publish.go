// Package publish turns a directory into a dataset.
//
// [Dir] goes through a directory in four steps, each a file of this package:
//
//  1. walk: what there is, in pre-order, names sorted bytewise, into a
//     temporary file;
//  2. read: every file once, in that order, into one address space, which is
//     cut into blobs; where each file lies goes into a second temporary file;
//  3. tables: the directories' tables, in post-order, into blobs of their own;
//  4. header: the blob that names all others, and by its id the dataset.
//
// While one blob fills, the one before is encoded and the one before that
// stored. Memory is bounded whatever the size of the directory: three blobs,
// what encoding one takes, and the names of the directories on the way from
// the top to where the walk is.
//
// The same directory, shards, blob size and base give the same id on every
// machine: nothing depends on the order a file system lists names in, on the
// clock or on how many processors there are.
package publish

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// A Sink stores blobs. Rows and Stored may be called while a Put is running;
// there is one Put at a time.
type Sink interface {
	// Rows says how many primary slivers of a blob, from the first on, Put
	// takes; secondary ones it can always have.
	Rows(p walrus.Params) int

	// Stored reports whether everything Put would store of a blob is there
	// already, with data as its content.
	Stored(ctx context.Context, id walrus.BlobID, p walrus.Params, data []byte) (bool, error)

	// Put stores the slivers and the metadata of a blob. They are durable on
	// return. What is there already and equal is left untouched. The blob is
	// valid until Put returns.
	Put(ctx context.Context, blob *walrus.Encoded) error
}

// Options are the settings of a run; nil and zero mean the defaults.
type Options struct {
	Shards   int   // of the committee blobs are encoded for; default 100
	BlobSize int64 // bytes of a blob, a multiple of 16 KiB; default DefaultBlobSize(Shards)

	Exclude       []string // patterns of what to leave out, see Matcher
	OneFileSystem bool     // leave out what is mounted below the directory
	Avoid         []string // files and directories to leave out, wherever they turn up: the store, the cache

	Base    Base   // dataset whose unchanged files are not stored again; nil: none
	Journal string // file that remembers what was stored, so that an interrupted run goes on; empty: none
	TempDir string // for temporary files, none of which outlives the run; default os.TempDir

	Progress func(Progress) // called about ten times a second from one goroutine; it must not block
	Logger   *slog.Logger   // default: silent
}

// A Result is what was published.
type Result struct {
	ID     walrus.BlobID  // of the dataset
	Header catalog.Header // what the dataset begins with
	Table  [][]byte       // the bytes of the header blob, then of the lists if there are any

	Files, Dirs, Symlinks uint64 // entries; the top directory is not counted
	Bytes                 uint64 // of all files, links counted once each
	FilesReused           uint64 // files whose content the base has

	Blobs       int64 // in the dataset, header and lists included
	BlobsBase   int64 // of these, taken over from the base
	BlobsReused int64 // of these, found stored by an earlier run
	Stored      int64 // bytes of the blobs encoded and stored by this run, before encoding

	Notices Notices // what was left out or altered
}

// DefaultBlobSize returns the smaller of 64 MiB and the largest blob for that
// many shards, in whole chunks.
func DefaultBlobSize(shards int) int64 {
	most := min(64<<20, walrus.MaxBlob(shards))
	return int64(most) / merkle.ChunkSize * merkle.ChunkSize
}

// Dir publishes directory dir, which may be a symlink to one, and returns the
// dataset's id. Everything is durable then. A file that may not be read or that
// changes while it is being read is an error (ErrUnreadable, ErrChanged); no
// id exists then, and a later run goes on from what is stored.
func Dir(ctx context.Context, dir string, sink Sink, opts *Options) (Result, error) {
	r, err := newRun(ctx, sink, opts)
	if err != nil {
		return Result{}, err
	}
	began := time.Now()
	res, err := r.publish(dir)
	if err != nil {
		return Result{}, fmt.Errorf("publishing %s: %w", dir, err)
	}
	r.log.Info("published", "dataset", res.ID.String(), "files", res.Files, "bytes", res.Bytes,
		"blobs", res.Blobs, "stored_bytes", res.Stored, "seconds", time.Since(began).Seconds())
	return res, nil
}

// A run is one call of Dir.
type run struct {
	Options
	ctx      context.Context
	sink     Sink
	log      *slog.Logger
	match    *Matcher
	res      Result
	progress meter

	reused, stored atomic.Int64 // as in Result; the pipeline counts
	settled        atomic.Int64 // as in Progress.Stored
}

func newRun(ctx context.Context, sink Sink, opts *Options) (*run, error) {
	r := &run{ctx: ctx, sink: sink}
	if opts != nil {
		r.Options = *opts
	}
	if err := r.checkBase(); err != nil {
		return nil, err
	}
	if r.Shards == 0 {
		r.Shards = 100
	}
	if r.BlobSize == 0 {
		r.BlobSize = DefaultBlobSize(r.Shards)
	}
	// Every blob up to the largest must be one that can be encoded and that
	// the header can name.
	if _, err := walrus.NewParams(r.Shards, uint64(max(r.BlobSize, 0))); err != nil {
		return nil, err
	}
	if _, err := catalog.ListsFor(1, r.BlobSize); err != nil {
		return nil, err
	}
	var err error
	if r.match, err = NewMatcher(r.Exclude); err != nil {
		return nil, err
	}
	if r.log = r.Logger; r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.progress.report, r.progress.stored = r.Progress, &r.settled
	return r, nil
}

// publish runs the four steps.
func (r *run) publish(dir string) (Result, error) {
	root, err := openRoot(dir)
	if err != nil {
		return Result{}, err
	}
	defer root.close()

	found, err := r.walk(root)
	if err != nil {
		return Result{}, err
	}
	defer found.close()

	records, err := r.baseRecords()
	if err != nil {
		return Result{}, err
	}
	journal := openJournal(r.Journal, r.log)
	defer journal.close()
	p := r.newPipeline(journal, records)
	defer p.stop()

	placed, err := r.read(root, found, p)
	if err != nil {
		return Result{}, p.cause(err)
	}
	defer placed.close()
	top, err := r.tables(placed, p)
	if err != nil {
		return Result{}, p.cause(err)
	}
	if err := r.header(top, p); err != nil {
		return Result{}, p.cause(err)
	}
	r.progress.flush()
	return r.res, nil
}
