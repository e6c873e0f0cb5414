package cachestore

import (
	"errors"
	"os"
	"time"
)

// keep is the keeper's own.
type keep struct {
	lock     *os.File // whoever has it locked owns the index
	idx      *index   // nil if not owner, or if it could not be made
	listen   *receiver
	victims  []victim  // segments to give back next, the last first
	retry    time.Time // when to try again to make an index
	stamped  time.Time // when stamps were last stored
	said     published // last
	heard    uint64    // notices taken
	indexUse int64     // bytes of disk the index takes
	pins     map[Key]int
}

// An ask is answered by closing done.
type ask struct {
	room   int64 // make room for so many bytes
	trim   bool  // give back until at most keep bytes are left
	keep   int64
	commit bool // commit all marks
	done   chan struct{}
}

const (
	commitDelay = 200 * time.Millisecond // from the first mark to its commit
	commitBytes = 32 << 20               // written since the last commit: do not wait
	stampDelay  = 30 * time.Second       // between commits of stamps alone
	ownDelay    = time.Second            // between attempts to get the lock
)

// ask hands a to the keeper and waits for its answer.
func (s *Store) ask(a ask) {
	a.done = make(chan struct{})
	select {
	case s.asks <- a:
		<-a.done
	case <-s.kept:
	}
}

// keeper commits marks, gives space back and looks after the lock, until the
// writer has returned.
func (s *Store) keeper() {
	defer close(s.kept)
	timer := time.NewTimer(ownDelay)
	defer timer.Stop()
	pending, written := false, int64(0)
	for {
		select {
		case <-s.written:
			s.answerAll()
			s.commit(true)
			s.disown()
			return
		case a := <-s.asks:
			s.answer(a)
			if a.commit {
				pending = false
			}
		case n := <-s.notices:
			s.noticed(n)
		case <-s.kick:
			w := s.stats.writtenBytes.Load()
			switch {
			case w-written >= commitBytes:
				s.commit(false)
				s.balance()
				pending, written = false, w
			case !pending:
				pending = true
				timer.Reset(commitDelay)
			}
		case <-timer.C:
			pending = false
			written = s.stats.writtenBytes.Load()
			s.tryOwn()
			s.commit(false)
			s.balance()
			timer.Reset(ownDelay)
		}
	}
}

func (s *Store) answer(a ask) {
	switch {
	case a.commit:
		s.commit(true)
	case a.trim:
		s.shrink(a.keep)
	case a.room > 0:
		s.shrink(s.limit() - a.room)
	}
	close(a.done)
}

// answerAll answers those who asked while the keeper was ending.
func (s *Store) answerAll() {
	for {
		select {
		case a := <-s.asks:
			s.answer(a)
		case n := <-s.notices:
			s.noticed(n)
		default:
			return
		}
	}
}

// commit writes what differs from the index. With all set, stamps too.
func (s *Store) commit(all bool) {
	k := &s.keep
	if !s.owner.Load() || time.Now().Before(k.retry) {
		return
	}
	if k.idx == nil {
		s.remakeIndex()
		if k.idx == nil {
			return
		}
	}
	if all || time.Since(k.stamped) > stampDelay {
		k.stamped = time.Now()
		s.mu.Lock()
		for _, r := range s.touched {
			if b := s.blobs[r.k]; b != nil {
				if g := b.find(r.no); g != nil {
					g.flags &^= flagTouched
					s.dirty[r] = struct{}{}
				}
			}
		}
		s.touched = nil
		s.mu.Unlock()
	}
	for {
		refs, ops := s.takeDirty()
		if len(ops) == 0 {
			break
		}
		err := k.idx.commit(ops)
		if err == nil {
			s.stats.commits.Add(1)
			continue
		}
		s.mu.Lock()
		for _, r := range refs {
			s.dirty[r] = struct{}{}
		}
		s.mu.Unlock()
		s.indexFailed(err)
		break
	}
	s.publish()
}

// takeDirty takes some of the dirty segments and returns what to write.
func (s *Store) takeDirty() (refs []ref, ops []op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.dirty), commitMax)
	if n == 0 {
		return nil, nil
	}
	refs, ops = make([]ref, 0, n), make([]op, 0, n)
	for r := range s.dirty {
		if len(refs) == n {
			break
		}
		delete(s.dirty, r)
		o := op{key: appendKey(make([]byte, 0, keyLen), r.k, r.no)}
		if b := s.blobs[r.k]; b != nil {
			if g := b.find(r.no); g != nil {
				o.value = g.appendValue(nil, &s.keep.idx.secret, r.k)
			}
		}
		refs, ops = append(refs, r), append(ops, o)
	}
	return refs, ops
}

// indexFailed deals with an index that could not be written: a damaged one is
// replaced, from memory; a full disk may have room later.
func (s *Store) indexFailed(err error) {
	k := &s.keep
	k.retry = time.Now().Add(stallLast)
	if !errors.Is(err, errDamaged) {
		s.stats.diskErrs.Add(1)
		s.logSome("the cache index cannot be written", "error", err)
		return
	}
	s.log.Warn("the cache index is damaged; making a new one", "error", err)
	s.stats.rebuilt.Add(1)
	k.idx = nil // not closed: bbolt may hold its locks for ever
	s.remakeIndex()
}

// remakeIndex makes a new index; all that is in memory goes into it.
func (s *Store) remakeIndex() {
	k := &s.keep
	k.retry = time.Now().Add(stallLast)
	x, err := s.d.newIndex()
	if err != nil {
		s.logSome("the cache index cannot be made", "error", err)
		return
	}
	k.idx = x
	s.mu.Lock()
	s.dirtyAll()
	s.mu.Unlock()
}

// dirtyAll makes everything in memory to be written. mu is held.
func (s *Store) dirtyAll() {
	for key, b := range s.blobs {
		for i := range b.segs {
			s.dirty[ref{key, b.segs[i].no}] = struct{}{}
		}
	}
}
