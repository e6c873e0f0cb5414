package cachestore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/floefs/floe/merkle"
)

// A put is what the writer has to write: chunks, or a blob's metadata.
type put struct {
	k    Key
	off  int64
	data []byte
	buf  *[]byte // what data lies in; from a pool unless it is metadata
	name string  // of metadata, else empty

	flushed chan struct{} // not nil: closed when all before it is committed
}

// Buffers of puts, by size. A larger put is cut.
var (
	bufSizes = [...]int{16 << 10, 64 << 10, 256 << 10, maxPut}
	bufs     [len(bufSizes)]sync.Pool // of *[]byte
)

const maxPut = 1 << 20

// Put queues c, one chunk or neighbouring ones, to be kept at off of blob k.
// It copies c and never waits: what finds the disk lagging, full or failing is
// dropped.
func (s *Store) Put(k Key, off int64, c merkle.Chunk) {
	data := c.Bytes()
	n := count(len(data))
	if n == 0 || !inRange(off, n) || s.closed.Load() {
		return
	}
	if s.stall.active() {
		s.stats.dropped.Add(1)
		return
	}
	s.mu.Lock()
	b := s.blobs[k]
	known := b != nil && b.span(off, n, true) == n
	s.mu.Unlock()
	if known {
		return
	}
	for len(data) > 0 {
		part := data[:min(len(data), maxPut)]
		s.enqueue(put{k: k, off: off, data: part})
		data = data[len(part):]
		off += int64(len(part))
	}
}

// enqueue copies p's data and hands it to the writer, or drops it.
func (s *Store) enqueue(p put) {
	class, size := 0, len(p.data)
	if p.name == "" {
		for bufSizes[class] < size {
			class++
		}
		size = bufSizes[class]
	}
	if s.queued.Add(int64(size)) > s.memory {
		s.queued.Add(-int64(size))
		s.stats.dropped.Add(1)
		return
	}
	if p.name == "" {
		p.buf, _ = bufs[class].Get().(*[]byte)
	}
	if p.buf == nil {
		b := make([]byte, size)
		p.buf = &b
	}
	p.data = (*p.buf)[:copy(*p.buf, p.data)]
	select {
	case s.puts <- p:
	default:
		s.stats.dropped.Add(1)
		s.release(p)
	}
}

// release gives p's buffer back.
func (s *Store) release(p put) {
	size := len(*p.buf)
	s.queued.Add(-int64(size))
	for class := range bufSizes {
		if p.name == "" && size == bufSizes[class] {
			bufs[class].Put(p.buf)
		}
	}
}

// writer writes what was put until quit is closed and the queue is empty.
func (s *Store) writer() {
	defer close(s.written)
	for {
		select {
		case p := <-s.puts:
			s.handle(p)
			continue
		default:
		}
		select {
		case p := <-s.puts:
			s.handle(p)
		case <-s.quit:
			select {
			case p := <-s.puts: // it may have come between the two
				s.handle(p)
			default:
				return
			}
		}
	}
}

func (s *Store) handle(p put) {
	if p.flushed != nil {
		s.ask(context.Background(), func() { s.commit(true) })
		close(p.flushed)
		return
	}
	claim := claimOf(count(len(p.data)))
	if s.stall.active() || !s.room(claim) {
		s.stats.dropped.Add(1)
		s.release(p)
		return
	}
	var told bool // the owner is another process, and will end the claim
	var err error
	if p.name != "" {
		told, err = !s.owner.Load(), s.writeMeta(p)
	} else {
		told, err = s.write(p)
	}
	s.failed(err)
	if !told {
		s.unclaim(claim)
	}
	s.release(p)
}

// write writes chunks and marks them present. told says that the owner, if that
// is another process, is told.
func (s *Store) write(p put) (told bool, err error) {
	n := count(len(p.data))
	// The segments first: what a failing write leaves must be found again.
	s.mu.Lock()
	b := s.blobOf(p.k)
	if b.span(p.off, n, true) == n {
		s.mu.Unlock()
		return false, nil
	}
	last := (p.off + int64(n-1)*merkle.ChunkSize) / segSize
	for no := p.off / segSize; no <= last; no++ {
		b.segment(uint32(no)).stamp = s.clock
		s.changed(b, uint32(no))
	}
	s.mu.Unlock()

	var alloc int64
	for try := 0; ; try++ {
		f, err := s.file(p.k, true)
		if err == nil {
			_, err = f.WriteAt(p.data, p.off)
		}
		var linked bool
		if err == nil {
			_, alloc, linked, err = allocated(f)
		}
		if err == nil && linked {
			break
		}
		if err != nil && !errors.Is(err, os.ErrClosed) || try > 2 {
			return false, err
		}
		// It was closed to open another, or another process has removed it.
		s.mu.Lock()
		if b := s.blobs[p.k]; b != nil && b.file == f && f != nil {
			s.closeFile(b)
		}
		s.mu.Unlock()
	}
	s.stats.writtenBytes.Add(int64(len(p.data)))

	s.mu.Lock()
	b = s.blobOf(p.k)
	s.setAlloc(b, alloc)
	s.tick(int64(len(p.data)))
	s.markPresent(b, p.off, n)
	for no := p.off / segSize; no <= last; no++ {
		if g := b.find(uint32(no)); g != nil {
			g.stamp = s.clock
		}
	}
	s.mu.Unlock()
	if s.owner.Load() {
		return false, nil
	}
	s.notify(notice{kind: noticePut, k: p.k, off: p.off, n: n})
	return true, nil
}

// failed notes whether the disk takes what is written. While it does not,
// nothing is: the first failure is logged, then it is tried now and then.
func (s *Store) failed(err error) {
	t := &s.stall
	if err == nil || errors.Is(err, os.ErrClosed) {
		if err == nil && t.backoff != 0 {
			t.backoff = 0
			t.until.Store(0)
			s.log.Info("the cache is written again")
		}
		return
	}
	s.stats.dropped.Add(1)
	if errors.Is(err, errNotOurs) || errors.Is(err, syscall.EFBIG) {
		return // of one blob only
	}
	s.stats.diskErrs.Add(1)
	if t.backoff == 0 {
		s.log.Warn("the cache cannot be written; reads go on without it", "error", err)
		t.backoff = stallFirst
	} else {
		t.backoff = min(2*t.backoff, stallLast)
	}
	if errors.Is(err, fs.ErrNotExist) {
		t.backoff = stallLast // the directory is gone
	}
	t.until.Store(int64(time.Since(start) + t.backoff))
	s.wake() // a full disk wants room
}

const (
	stallFirst = time.Second
	stallLast  = 30 * time.Second
)
