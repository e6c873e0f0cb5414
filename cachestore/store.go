package cachestore

import (
	"bytes"
	"cmp"
	"container/list"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Key names a blob.
type Key = [32]byte

// Options of a Store. Nil and zero values mean the defaults.
type Options struct {
	// Size is the budget in bytes of disk: data, metadata and index together.
	// Default 10 GiB.
	Size int64

	// MinFree is how many bytes of the file system to leave free; the cache
	// shrinks to keep them. Default the smaller of 1 GiB and a tenth of the
	// file system; negative means none.
	MinFree int64

	// Memory is how many bytes may wait to be written. Default 16 MiB.
	Memory int64

	// Logger is told of damage and of a disk that fails. Default silent.
	Logger *slog.Logger
}

// A Store is an open cache. It is safe for concurrent use, and any number of
// processes may have the same directory open.
type Store struct {
	path    string              // of the directory, as it was named
	d       atomic.Pointer[dir] // replaced by the keeper if the directory is deleted
	tell    int                 // socket to send notices by; -1 if there is none
	log     *slog.Logger
	size    int64
	minFree int64
	memory  int64

	owner   atomic.Bool  // this process owns the index; set by the keeper
	closed  atomic.Bool  // nothing more is taken
	queued  atomic.Int64 // bytes in puts
	used    atomic.Int64 // bytes of disk the cache takes, as far as known
	stats   counters
	stall   stall        // the writer's, but for its until
	lastLog atomic.Int64 // when logSome last did

	puts    chan put      // to the writer; full means drop; never closed
	asks    chan ask      // from writer and callers to the keeper, who answers each; never closed
	kick    chan struct{} // to the keeper: there is something to commit; holds one
	notices chan notice   // from the receiver to the keeper; full means drop; never closed
	quit    chan struct{} // closed by Close: the writer ends when puts is empty
	written chan struct{} // closed by the writer when it has returned
	kept    chan struct{} // closed by the keeper when it has returned

	closing sync.Once

	totalAt, totalBytes atomic.Int64 // what total last found, and when

	ledgerMu sync.Mutex   // held while this process has the ledger
	settled  atomic.Int64 // bytes of claims that the owner is to end
	credit   atomic.Int64 // bytes claimed ahead; only the writer adds and spends

	tellMu sync.Mutex // guards untold
	untold []notice   // that the owner has not been told yet

	// Only the writer touches these.
	fullUntil time.Time // room is not asked for before

	keep keep // only the keeper touches it

	mu      sync.Mutex // guards what follows; never held over I/O
	blobs   map[Key]*blob
	clock   uint32           // counts MiB read and written; stamps segments
	traffic int64            // bytes since clock last moved
	dirty   map[ref]struct{} // segments that differ from the index; only while owner
	touched []ref            // segments whose stamp differs, those with flagTouched
	open    list.List        // of *blob: those with an open file, last used first
	metas   map[metaID]*metaFile
	metaUse int64 // bytes of disk metas take
}

// A ref names a segment.
type ref struct {
	k  Key
	no uint32
}

// A blob is what is known of one blob. Store.mu guards it.
type blob struct {
	key   Key
	segs  []segment // in order
	alloc int64     // bytes of disk its file takes, as far as known
	file  *os.File  // nil if not open
	elem  *list.Element
	fresh uint8 // flags of new segments
}

// Open opens the cache in directory path, which it makes if there is none. It refuses a
// directory that holds anything but a cache.
func Open(path string, opts *Options) (*Store, error) {
	if opts == nil {
		opts = &Options{}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d, err := openDir(path)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path:    path,
		log:     cmp.Or(opts.Logger, slog.New(slog.DiscardHandler)),
		size:    cmp.Or(opts.Size, 10<<30),
		minFree: opts.MinFree,
		memory:  cmp.Or(opts.Memory, 16<<20),
		asks:    make(chan ask),
		kick:    make(chan struct{}, 1),
		notices: make(chan notice, 256),
		quit:    make(chan struct{}),
		written: make(chan struct{}),
		kept:    make(chan struct{}),
		blobs:   make(map[Key]*blob),
		dirty:   make(map[ref]struct{}),
		metas:   make(map[metaID]*metaFile),
	}
	s.d.Store(d)
	s.puts = make(chan put, max(1024, s.memory/int64(bufSizes[0])))
	if total, _, err := d.space(); err == nil && s.minFree == 0 {
		s.minFree = min(1<<30, total/10)
	}
	s.minFree = max(s.minFree, 0)
	if s.tell, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		s.tell = -1
	}
	s.tryOwn()
	go s.writer()
	go s.keeper()
	return s, nil
}

// dir returns the open directory.
func (s *Store) dir() *dir { return s.d.Load() }

// Close writes what was put, commits it and gives the directory free for
// others. A Store that is closed holds nothing and takes nothing.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		close(s.quit)
		<-s.kept
		s.mu.Lock()
		for e := s.open.Front(); e != nil; e = s.open.Front() {
			s.closeFile(e.Value.(*blob))
		}
		s.blobs = nil
		s.mu.Unlock()
		unix.Close(s.tell)
		s.dir().close()
	})
	return nil
}

// Flush waits until what was put before is written and committed, or dropped.
func (s *Store) Flush() {
	done := make(chan struct{})
	select {
	case s.puts <- put{flushed: done}:
	case <-s.quit:
		<-s.kept
		return
	}
	select {
	case <-done:
	case <-s.kept:
	}
}

// counters count since Open.
type counters struct {
	hits, misses, hitBytes, writtenBytes   atomic.Int64
	falseChunks, gone, evicted, dropped    atomic.Int64
	commits, rebuilt, readErrors, diskErrs atomic.Int64
}

// Stats are counts since Open, and what the cache holds now. A process that
// does not own the index knows only of what it has used itself.
type Stats struct {
	Owner    bool  // this process owns the index
	Bytes    int64 // bytes of disk the cache takes
	Limit    int64 // bytes of disk it may take now
	Blobs    int   // blobs it knows of
	Segments int   // segments of 1 MiB it knows of
	Chunks   int64 // chunks it knows of
	Queued   int64 // bytes waiting to be written
	Stalled  bool  // nothing is written, since the disk is full or fails

	Hits       int64 // chunks Read proved
	Misses     int64 // times it stopped short
	HitBytes   int64
	Written    int64 // bytes written
	False      int64 // chunks that did not match their hash
	Gone       int64 // chunks that were marked present but have been given back
	Evicted    int64 // segments given back
	Dropped    int64 // puts dropped because the disk lagged, was full or failed
	Commits    int64 // transactions of the index
	Rebuilt    int64 // indexes that were damaged and replaced
	ReadErrors int64
	DiskErrors int64 // failures to write
}

// Stats returns the current counts.
func (s *Store) Stats() Stats {
	c := &s.stats
	st := Stats{
		Owner: s.owner.Load(), Bytes: s.used.Load(), Limit: s.limit(), Queued: s.queued.Load(), Stalled: s.stall.active(),
		Hits: c.hits.Load(), Misses: c.misses.Load(), HitBytes: c.hitBytes.Load(), Written: c.writtenBytes.Load(),
		False: c.falseChunks.Load(), Gone: c.gone.Load(), Evicted: c.evicted.Load(), Dropped: c.dropped.Load(),
		Commits: c.commits.Load(), Rebuilt: c.rebuilt.Load(), ReadErrors: c.readErrors.Load(), DiskErrors: c.diskErrs.Load(),
	}
	if !st.Owner {
		if l, ok := s.shares(); ok {
			st.Bytes, st.Limit = l.used, l.limit
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Blobs = len(s.blobs)
	for _, b := range s.blobs {
		st.Segments += len(b.segs)
		for i := range b.segs {
			st.Chunks += int64(b.segs[i].count())
		}
	}
	return st
}

// A Blob is what the cache holds of one blob.
type Blob struct {
	Key    Key
	Bytes  int64 // bytes of disk
	Chunks int   // chunks known to be present
	Pinned bool
}

// Blobs returns what the cache holds, in the order of the keys.
func (s *Store) Blobs() (list []Blob) {
	pins, _ := s.dir().readPins()
	if s.owner.Load() {
		s.mu.Lock()
		for k, b := range s.blobs {
			e := Blob{Key: k, Bytes: b.alloc, Pinned: pins[k] > 0}
			for i := range b.segs {
				e.Chunks += b.segs[i].count()
			}
			list = append(list, e)
		}
		s.mu.Unlock()
	} else {
		list = s.dir().listBlobs(pins)
	}
	slices.SortFunc(list, func(a, b Blob) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return list
}

// tick moves the clock with the bytes read and written. mu is held.
func (s *Store) tick(bytes int64) {
	s.traffic += bytes
	for s.traffic >= segSize {
		s.traffic -= segSize
		s.clock++
	}
}

// A stall is a time during which nothing is written, after the disk failed.
type stall struct {
	until   atomic.Int64 // nanoseconds since start; 0 if the disk is fine
	backoff time.Duration
}

var start = time.Now() // durations count on the monotonic clock

func (t *stall) active() bool {
	until := t.until.Load()
	return until != 0 && int64(time.Since(start)) < until
}
