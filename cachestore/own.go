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
	if err := unix.Flock(int(s.keep.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return // another has it, or the file system has no locks
	}
	loaded, secret, err := s.loadOld()
	s.survey(loaded)
	if err == nil {
		s.keep.idx, err = s.d.openIndex(secret)
	}

	s.mu.Lock()
	// What this process has learned meanwhile is not in the index.
	s.owner.Store(true)
	s.dirtyAll()
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
		b.fresh = 0
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
	s.publish()
}

// loadOld reads the index of the owner before. With an error it returns what
// can be saved of it.
func (s *Store) loadOld() (blobs map[Key]*blob, secret [32]byte, err error) {
	blobs = make(map[Key]*blob)
	f, err := openFile(s.d.top, indexName, os.O_RDONLY)
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
// chunks are found by looking.
func (s *Store) survey(loaded map[Key]*blob) {
	names, err := readNames(s.d.blobs)
	if err != nil {
		return
	}
	seen := make(map[Key]bool, len(names))
	for _, name := range names {
		k, ok := parseName(name)
		if !ok {
			continue
		}
		size, alloc, regular, err := allocatedAt(s.d.blobs, name)
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
			b.remove(b.segs[len(b.segs)-1].no)
		}
	}
	for k := range loaded {
		if !seen[k] {
			delete(loaded, k)
		}
	}
}

// searchFile adds the segments of b's file that hold data nobody knows of.
// b is the caller's own.
func (s *Store) searchFile(b *blob) {
	f, err := openFile(s.d.blobs, blobName(b.key), os.O_RDONLY)
	if err != nil {
		return
	}
	defer f.Close()
	for off := int64(0); off < maxOff; {
		from, to, ok := extent(f, off)
		if !ok {
			return
		}
		for no := from / segSize; no*segSize < min(to, maxOff); no++ {
			if b.find(uint32(no)) == nil {
				b.segment(uint32(no)).flags |= flagProbe
			}
		}
		off = (to + segSize - 1) / segSize * segSize
	}
}

// surveyMeta takes in the metadata there is.
func (s *Store) surveyMeta() {
	names, err := readNames(s.d.meta)
	if err != nil {
		return
	}
	for _, name := range names {
		id, ok := parseMeta(name)
		if !ok {
			continue
		}
		if _, alloc, regular, err := allocatedAt(s.d.meta, name); err == nil && regular {
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
	unix.Flock(int(k.lock.Fd()), unix.LOCK_UN)
}
