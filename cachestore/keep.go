package cachestore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"time"
)

// keep is the keeper's own.
type keep struct {
	idx       *index // nil if not owner, or if it could not be made
	listen    *receiver
	victims   []victim  // segments to give back next, the last first
	retry     time.Time // when to try again to make an index
	stamped   time.Time // when stamps were last stored
	claimed   int64     // in the ledger, when it last changed
	claimedAt time.Time // when that was
	toSweep   []string  // files sweep has not been through
	swept     time.Time // when it last had been through all; zero: never
	indexUse  int64     // bytes of disk the index takes
	pins      map[Key]int
}

// An ask is something the keeper is to do; it closes done after it.
type ask struct {
	do   func()
	done chan struct{}
}

const (
	commitDelay = 200 * time.Millisecond // from the first mark to its commit
	commitBytes = 32 << 20               // written since the last commit: do not wait
	stampDelay  = 30 * time.Second       // between commits of stamps alone
	ownDelay    = time.Second            // between attempts to get the lock
)

// ask has the keeper call do, and waits until it has. It fails only if s is
// closed, or ctx ends, before the keeper gets to it.
func (s *Store) ask(ctx context.Context, do func()) error {
	a := ask{do, make(chan struct{})}
	select {
	case s.asks <- a:
	case <-s.kept:
		return os.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	<-a.done
	return nil
}

// keeper commits marks, gives space back and looks after the lock, until the
// writer has returned.
func (s *Store) keeper() {
	defer close(s.kept)
	timer := time.NewTimer(ownDelay)
	defer timer.Stop()
	pending, written := false, int64(0)
	var again <-chan time.Time // to tell what is left to tell
	for {
		if again == nil && s.untoldLeft() {
			again = time.After(tellDelay)
		}
		select {
		case <-again:
			again = nil
			s.tellRest()
		case <-s.written:
			s.answerAll()
			s.unspend()
			s.commit(true)
			s.disown()
			for try := 0; !s.tellRest() && try < tellLast; try++ {
				time.Sleep(tellDelay)
			}
			return
		case a := <-s.asks:
			a.do()
			close(a.done)
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
			if s.dir().deleted() {
				s.reopen()
			}
			s.tryOwn()
			if !s.owner.Load() {
				s.notifyUse()
			}
			s.unspend()
			s.commit(false)
			s.balance()
			s.endClaims()
			s.sweep()
			timer.Reset(ownDelay)
		}
	}
}

// answerAll answers those who asked while the keeper was ending.
func (s *Store) answerAll() {
	for {
		select {
		case a := <-s.asks:
			a.do()
			close(a.done)
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
		if s.remakeIndex(); k.idx == nil {
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
	refs := s.takeDirty()
	for len(refs) > 0 {
		n := min(len(refs), commitMax)
		if err := k.idx.commit(s.ops(refs[:n])); err != nil {
			s.mu.Lock()
			for _, r := range refs {
				s.dirty[r] = struct{}{}
			}
			s.mu.Unlock()
			s.indexFailed(err)
			break
		}
		s.stats.commits.Add(1)
		refs = refs[n:]
	}
	s.publish()
}

// takeDirty takes the dirty segments, in the order of the index, in which
// neighbours change together.
func (s *Store) takeDirty() []ref {
	s.mu.Lock()
	refs := slices.AppendSeq(make([]ref, 0, len(s.dirty)), maps.Keys(s.dirty))
	if len(refs) > commitMax {
		s.dirty = make(map[ref]struct{}) // a map does not shrink
	} else {
		clear(s.dirty)
	}
	s.mu.Unlock()
	slices.SortFunc(refs, ref.compare)
	return refs
}

func (r ref) compare(o ref) int {
	if c := bytes.Compare(r.k[:], o.k[:]); c != 0 {
		return c
	}
	return cmp.Compare(r.no, o.no)
}

// ops returns what to write for segments.
func (s *Store) ops(refs []ref) []op {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]op, len(refs))
	buf := make([]byte, 0, len(refs)*keyLen)
	for i, r := range refs {
		buf = appendKey(buf, r.k, r.no)
		list[i].key = buf[i*keyLen : (i+1)*keyLen]
		if b := s.blobs[r.k]; b != nil {
			if g := b.find(r.no); g != nil {
				list[i].value = g.appendValue(nil, &s.keep.idx.secret, r.k)
			}
		}
	}
	return list
}

// indexFailed deals with an index that could not be written: a damaged one is
// replaced, from memory; a full disk may have room later.
func (s *Store) indexFailed(err error) {
	k := &s.keep
	if !errors.Is(err, errDamaged) {
		k.retry = time.Now().Add(stallLast / 10)
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
	x, err := s.dir().newIndex()
	if err != nil {
		k.retry = time.Now().Add(stallLast)
		s.logSome("the cache index cannot be made", "error", err)
		return
	}
	k.idx, k.retry = x, time.Time{}
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
