package cachestore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/floefs/floe/merkle"
)

// maxFiles bounds the data files kept open.
const maxFiles = 256

// Read fills run.Rest with the chunks at off of blob k and proves each, in
// its buffer, until the first that is absent or false; it returns how many it
// proved. want holds the hashes of the chunks, one after the other; all are
// full except perhaps the last, whose end is that of run.Rest.
//
// A false chunk is forgotten, counted and logged, and is the caller's to
// fetch. Read never fails: a disk that does is a cache that has nothing.
func (s *Store) Read(k Key, off int64, want []byte, run *merkle.Run) (chunks int) {
	n := min(len(want)/merkle.HashSize, count(len(run.Rest())))
	if n == 0 || !inRange(off, n) || s.closed.Load() {
		return 0
	}
	before := run.Len()
	for chunks < n {
		at := off + int64(chunks)*merkle.ChunkSize
		b, m, guess := s.look(k, at, n-chunks)
		if m == 0 {
			break
		}
		got := s.prove(b, at, m, guess, want[chunks*merkle.HashSize:], run)
		chunks += got
		if got < m {
			break
		}
	}
	s.stats.hits.Add(int64(chunks))
	s.stats.hitBytes.Add(int64(run.Len() - before))
	if chunks < n {
		s.stats.misses.Add(1)
	}
	return chunks
}

// Raw fills p with what lies at off of blob k on, which is chunks that Put was
// given one after the other, and reports whether all of them are there. Nobody
// has proven it: the caller must, as if it came from a node.
func (s *Store) Raw(k Key, off int64, p []byte) bool {
	n := count(len(p))
	if n == 0 || !inRange(off, n) || s.closed.Load() {
		return false
	}
	var b *blob
	for chunks, m := 0, 0; chunks < n; chunks += m {
		if b, m, _ = s.look(k, off+int64(chunks)*merkle.ChunkSize, n-chunks); m == 0 {
			return false
		}
	}
	got, _ := s.readAt(b, p, off)
	return got == len(p)
}

// Absent returns how many neighbouring chunks from off of blob k on, at most
// n, the cache does not have. It is a hint, for deciding how many to fetch.
func (s *Store) Absent(k Key, off int64, n int) int {
	if n <= 0 || !inRange(off, n) || s.closed.Load() {
		return max(n, 0)
	}
	s.mu.Lock()
	b := s.blobs[k]
	if b == nil && s.owner.Load() {
		s.mu.Unlock()
		return n
	}
	absent, guess := n, true
	if b != nil {
		absent = b.span(off, n, false)
		guess = s.suspects(b, off, absent)
	}
	s.mu.Unlock()
	if absent <= 1 || !guess {
		return absent
	}
	// The first chunk has just been missed; what lies behind it may be there.
	f, err := s.file(k, false)
	if err != nil {
		return absent
	}
	if from, _, ok := extent(f, off+merkle.ChunkSize); ok && from < off+int64(absent)*merkle.ChunkSize {
		absent = max(1, int((from-off)/merkle.ChunkSize))
	}
	return absent
}

// Present returns how many neighbouring chunks from off of blob k on, at most
// n, the cache seems to have. Reading them proves whether it does.
func (s *Store) Present(k Key, off int64, n int) int {
	if n <= 0 || !inRange(off, n) || s.closed.Load() {
		return 0
	}
	_, chunks, _ := s.look(k, off, n)
	return chunks
}

// look returns how many chunks from off on are worth reading: those marked
// present, or if there are none, those the file may have nevertheless.
func (s *Store) look(k Key, off int64, n int) (b *blob, chunks int, guess bool) {
	s.mu.Lock()
	b = s.blobs[k]
	if b != nil {
		if chunks = b.span(off, n, true); chunks > 0 {
			s.touch(b, off, chunks)
			s.mu.Unlock()
			return b, chunks, false
		}
		n = b.span(off, n, false)
	}
	guess = b == nil && !s.owner.Load() || b != nil && s.suspects(b, off, 1)
	s.mu.Unlock()
	if !guess {
		return b, 0, false
	}
	f, err := s.file(k, false)
	if err != nil {
		return b, 0, false
	}
	from, to, ok := extent(f, off)
	if !ok || from >= off+merkle.ChunkSize {
		return b, 0, false
	}
	s.mu.Lock()
	b = s.blobs[k]
	s.mu.Unlock()
	if b == nil {
		return nil, 0, false
	}
	return b, max(1, min(n, int((to-off)/merkle.ChunkSize))), true
}

// suspects reports whether b's file may hold chunks at [off, off+n chunks)
// that are not marked. mu is held.
func (s *Store) suspects(b *blob, off int64, n int) bool {
	end := off + int64(n)*merkle.ChunkSize
	for no := uint32(off / segSize); int64(no)*segSize < end; no++ {
		// Whoever does not own the index does not know what others have put.
		g := b.find(no)
		if g == nil && !s.owner.Load() || g != nil && g.flags&flagProbe != 0 {
			return true
		}
	}
	return false
}

// touch stamps the segments of n chunks. mu is held.
func (s *Store) touch(b *blob, off int64, n int) {
	s.tick(int64(n) * merkle.ChunkSize)
	last := uint32((off + int64(n-1)*merkle.ChunkSize) / segSize)
	for no := uint32(off / segSize); no <= last; no++ {
		g := b.find(no)
		if g == nil || g.stamp == s.clock {
			continue
		}
		g.stamp = s.clock
		if g.flags&flagTouched == 0 {
			g.flags |= flagTouched
			s.touched = append(s.touched, ref{b.key, no})
		}
	}
	if b.elem != nil {
		s.open.MoveToFront(b.elem)
	}
}

// prove reads m chunks at off of b and proves them in run, until one is not
// what want says. guess says that they are not marked.
func (s *Store) prove(b *blob, off int64, m int, guess bool, want []byte, run *merkle.Run) (proven int) {
	buf := run.Rest()
	buf = buf[:min(len(buf), m*merkle.ChunkSize)]
	read, err := s.readAt(b, buf, off)
	var size int
	for ; proven < m; proven++ {
		at := proven * merkle.ChunkSize
		if size = min(merkle.ChunkSize, len(buf)-at); at+size > read {
			break
		}
		h := merkle.Hash(want[proven*merkle.HashSize:])
		if run.Prove(h, size) != nil {
			break
		}
	}
	if guess && proven > 0 {
		s.learn(b, off, proven)
	}
	if proven < m {
		at := proven * merkle.ChunkSize
		whole := at+size <= read
		s.forget(b, off+int64(at), buf[at:max(at, min(at+size, read))], whole, guess, err)
	}
	return proven
}

// readAt reads from b's file. A short read has an error.
func (s *Store) readAt(b *blob, buf []byte, off int64) (int, error) {
	for try := 0; ; try++ {
		f, err := s.file(b.key, false)
		if err != nil {
			return 0, err
		}
		n, err := f.ReadAt(buf, off)
		if !errors.Is(err, os.ErrClosed) || try > 2 {
			return n, err
		}
		// It was closed to open another; nobody waits for the last reader.
	}
}

// learn marks chunks that were found by looking.
func (s *Store) learn(b *blob, off int64, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blobs[b.key] != b {
		return
	}
	s.markPresent(b, off, n)
	s.touch(b, off, n)
}

// markPresent marks chunks. mu is held.
func (s *Store) markPresent(b *blob, off int64, n int) {
	b.mark(off, n, true, func(no uint32) { s.changed(b, no) })
	s.wake()
}

// changed notes that a segment differs from the index. mu is held.
func (s *Store) changed(b *blob, no uint32) {
	if g := b.find(no); g != nil && g.stamp == 0 {
		g.stamp = s.clock
	}
	if s.owner.Load() {
		s.dirty[ref{b.key, no}] = struct{}{}
	}
}

func (s *Store) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// forget takes back the mark of a chunk at off that could not be proven. data
// is what was read of it: all of it if whole.
func (s *Store) forget(b *blob, off int64, data []byte, whole, guess bool, err error) {
	absent := !whole || gone(off, data)
	no, _, _ := place(off)
	from, to := off%segSize, off%segSize+merkle.Align
	if absent && !guess {
		// What lies in the same hole is gone with it; said now, it is fetched at
		// once rather than a chunk at a time.
		to = segSize
		if f, err := s.file(b.key, false); err == nil {
			if data, _, ok := extent(f, off); ok {
				to = max(from+merkle.Align, min(to, data-off+from))
			}
		}
	}
	s.mu.Lock()
	if s.blobs[b.key] == b {
		note := func(no uint32) { s.changed(b, no) }
		if g := b.find(no); g != nil && g.dropRange(from, to) {
			note(no)
		}
		if g := b.find(no); g != nil && g.flags&flagProbe != 0 && guess && !absent && s.owner.Load() {
			// What is not known of this segment is not worth looking at again.
			g.flags &^= flagProbe
			note(no)
		}
	}
	s.mu.Unlock()
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, os.ErrClosed):
		s.stats.readErrors.Add(1)
		s.logSome("cannot read cached bytes", "blob", blobName(b.key), "offset", off, "error", err)
	case guess:
	case absent:
		s.stats.gone.Add(1)
	default:
		s.stats.falseChunks.Add(1)
		s.logSome("cached bytes are false", "blob", blobName(b.key), "offset", off)
	}
}

// gone reports whether bytes that were read at off have been given back: a
// hole reads as zeros, and of a chunk that straddles two segments one part
// can go before the other. It also happens to what another process put and
// this one gave back before it was told, and after a power cut.
func gone(off int64, data []byte) bool {
	cut := min(len(data), int(segSize-off%segSize))
	return zeros(data[:cut]) || cut < len(data) && zeros(data[cut:])
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// file returns blob k's file, which it opens, and makes if create is set.
// Another caller may close it at any time; then reads from it fail with
// os.ErrClosed.
func (s *Store) file(k Key, create bool) (*os.File, error) {
	s.mu.Lock()
	if b := s.blobs[k]; b != nil && b.file != nil {
		f := b.file
		s.mu.Unlock()
		return f, nil
	}
	s.mu.Unlock()
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE
	}
	f, err := openFile(s.dir().blobs, blobName(k), flag)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotOurs) {
			s.lost(k)
		}
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blobOf(k)
	if b == nil {
		f.Close()
		return nil, os.ErrClosed
	}
	if b.file != nil { // another was faster
		f.Close()
		return b.file, nil
	}
	b.file = f
	b.elem = s.open.PushFront(b)
	for s.open.Len() > maxFiles {
		s.closeFile(s.open.Back().Value.(*blob))
	}
	return f, nil
}

// blobOf returns blob k, which it adds if need be; nil if s is closed. mu is
// held.
func (s *Store) blobOf(k Key) *blob {
	b := s.blobs[k]
	if b == nil && s.blobs != nil {
		b = &blob{key: k}
		if !s.owner.Load() {
			b.fresh = flagProbe
		}
		s.blobs[k] = b
	}
	return b
}

// lost forgets a blob whose file is not there.
func (s *Store) lost(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blobs[k]
	if b == nil || b.file != nil {
		return
	}
	for i := range b.segs {
		if s.owner.Load() {
			s.dirty[ref{k, b.segs[i].no}] = struct{}{}
		}
	}
	if len(b.segs) > 0 {
		s.wake()
	}
	s.setAlloc(b, 0)
	delete(s.blobs, k)
}

// setAlloc accounts for the disk b's file takes. mu is held.
func (s *Store) setAlloc(b *blob, bytes int64) {
	if s.blobs[b.key] != b {
		return // it has been removed meanwhile
	}
	s.used.Add(bytes - b.alloc)
	b.alloc = bytes
}

// closeFile closes b's file. mu is held; closing a file that is only read
// from or whose writes are in the page cache does not wait for the disk.
func (s *Store) closeFile(b *blob) {
	b.file.Close()
	s.open.Remove(b.elem)
	b.file, b.elem = nil, nil
}

// logSome logs a warning, at most one a second.
func (s *Store) logSome(msg string, args ...any) {
	now := int64(time.Since(start))
	last := s.lastLog.Load()
	if last != 0 && now-last < int64(time.Second) || !s.lastLog.CompareAndSwap(last, now) {
		return
	}
	s.log.Warn(msg, args...)
}

// count returns how many chunks n bytes are.
func count(n int) int { return (n + merkle.ChunkSize - 1) / merkle.ChunkSize }

// inRange reports whether n chunks at off can be kept.
func inRange(off int64, n int) bool {
	return off >= 0 && off%merkle.Align == 0 && off < maxOff && int64(n) <= (maxOff-off)/merkle.ChunkSize
}
