package cachestore

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// tryOwn takes the lock if nobody has it, and loads the index.
func (s *Store) tryOwn() {
	if s.owner.Load() {
		return
	}
	if err := at(s.dir().lock, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return // another has it, or the file system has no locks
	}
	loaded, secret, err := s.loadOld()
	stale := s.survey(loaded)
	if err == nil {
		s.keep.idx, err = s.dir().openIndex(secret)
	}

	s.mu.Lock()
	// What this process has learned meanwhile is not in the index.
	s.owner.Store(true)
	s.dirtyAll()
	for _, r := range stale {
		s.dirty[r] = struct{}{}
	}
	for _, b := range s.blobs {
		b.fresh = 0
	}
	for k, b := range loaded {
		if have := s.blobs[k]; have != nil {
			for i := range b.segs {
				have.segment(b.segs[i].no).merge(&b.segs[i])
			}
			s.setAlloc(have, b.alloc)
			continue
		}
		s.used.Add(b.alloc)
		s.blobs[k] = b
	}
	for _, b := range s.blobs {
		for i := range b.segs {
			s.clock = max(s.clock, b.segs[i].stamp)
		}
	}
	s.clock++
	s.mu.Unlock()

	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("the cache index is damaged; making a new one", "error", err)
			s.stats.rebuilt.Add(1)
		}
		s.remakeIndex()
	}
	s.surveyMeta()
	s.keep.listen = s.receive()
	s.takeOver()
}

// loadOld reads the index of the owner before. With an error it returns what
// can be saved of it.
func (s *Store) loadOld() (blobs map[Key]*blob, secret [32]byte, err error) {
	blobs = make(map[Key]*blob)
	f, err := openFile(s.dir().top, indexName, os.O_RDONLY)
	if err != nil {
		return blobs, secret, err
	}
	defer f.Close()
	var last *blob
	err = guard(func() (err error) {
		secret, err = loadIndex(f, func(k Key, g segment) {
			if last == nil || last.key != k {
				if last = blobs[k]; last == nil {
					last = &blob{key: k}
					blobs[k] = last
				}
			}
			*last.segment(g.no) = g
		})
		return err
	})
	return blobs, secret, err
}

// survey compares what was loaded with the files there are: it drops what has
// no file, measures the others, and takes in files that no index knows, whose
// chunks are found by looking. It returns the segments that it dropped.
func (s *Store) survey(loaded map[Key]*blob) (stale []ref) {
	names, err := readNames(s.dir().blobs)
	if err != nil {
		return nil
	}
	seen := make(map[Key]bool, len(names))
	for _, name := range names {
		k, ok := parseName(name)
		if !ok {
			continue
		}
		size, alloc, regular, err := allocatedAt(s.dir().blobs, name)
		if err != nil || !regular {
			continue
		}
		b := loaded[k]
		if b == nil {
			b = &blob{key: k}
			loaded[k] = b
			s.searchFile(b)
		}
		seen[k] = true
		b.alloc = alloc
		for len(b.segs) > 0 && int64(b.segs[len(b.segs)-1].no)*segSize >= size {
			no := b.segs[len(b.segs)-1].no
			b.remove(no)
			stale = append(stale, ref{k, no})
		}
	}
	for k, b := range loaded {
		if !seen[k] {
			for i := range b.segs {
				stale = append(stale, ref{k, b.segs[i].no})
			}
			delete(loaded, k)
		}
	}
	return stale
}

// searchFile adds the segments of b's file that hold data. b is the caller's
// own.
func (s *Store) searchFile(b *blob) {
	f, err := openFile(s.dir().blobs, blobName(b.key), os.O_RDONLY)
	if err != nil {
		return
	}
	defer f.Close()
	for _, no := range dataSegments(f) {
		b.segment(no).flags |= flagProbe
	}
}

// dataSegments returns the segments of a blob's file that hold data, in order.
func dataSegments(f *os.File) (list []uint32) {
	for off := int64(0); off < maxOff; {
		from, to, ok := extent(f, off)
		if !ok || from >= maxOff {
			break
		}
		last := (min(to, maxOff) - 1) / segSize
		for no := from / segSize; no <= last; no++ {
			list = append(list, uint32(no))
		}
		off = (last + 1) * segSize
	}
	return list
}

// surveyMeta takes in the metadata there is.
func (s *Store) surveyMeta() {
	names, err := readNames(s.dir().meta)
	if err != nil {
		return
	}
	for _, name := range names {
		id, ok := parseMeta(name)
		if !ok {
			continue
		}
		if _, alloc, regular, err := allocatedAt(s.dir().meta, name); err == nil && regular {
			s.mu.Lock()
			known := s.metas[id] != nil
			s.mu.Unlock()
			if !known {
				s.noteMeta(id, alloc)
			}
		}
	}
}

// disown gives the index free for another process.
func (s *Store) disown() {
	k := &s.keep
	if !s.owner.Load() {
		return
	}
	if k.listen != nil {
		k.listen.close()
		k.listen = nil
	}
	if k.idx != nil {
		if err := k.idx.close(); err != nil {
			s.log.Warn("closing the cache index", "error", err)
		}
		k.idx = nil
	}
	at(s.dir().lock, func(fd int) error { return unix.Flock(fd, unix.LOCK_UN) })
	s.owner.Store(false)
}

// reopen begins anew after somebody has removed the directory.
func (s *Store) reopen() {
	d, err := openDir(s.path)
	if err != nil {
		return // perhaps later
	}
	s.log.Warn("the cache directory has been removed; starting an empty one", "dir", s.path)
	s.disown()
	s.mu.Lock()
	for e := s.open.Front(); e != nil; e = s.open.Front() {
		s.closeFile(e.Value.(*blob))
	}
	clear(s.blobs)
	clear(s.dirty)
	clear(s.metas)
	s.touched, s.metaUse = nil, 0
	s.used.Store(0)
	s.mu.Unlock()
	s.keep = keep{}
	s.d.Swap(d).close()
	s.stall.until.Store(0)
}
