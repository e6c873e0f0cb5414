package cachestore

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A victim is a segment that is about to be given back, unless it has been
// used since.
type victim struct {
	ref
	stamp uint32
}

const (
	evictMax  = 1024 // segments given back in one transaction
	victimMin = 256  // segments chosen at a time, at least
)

// slack is how far below limit the keeper holds the cache, so that the writer
// seldom waits.
func slack(limit int64) int64 { return min(64<<20, max(limit/16, min(4<<20, limit/4))) }

// limit returns how many bytes of disk the cache may take now.
func (s *Store) limit() int64 {
	limit := s.size
	if total, ok := s.total(); ok && s.minFree > 0 {
		limit = min(limit, total-s.minFree)
	}
	return max(0, limit)
}

// total returns the bytes of disk that are free or the cache's, as of a short
// while ago: what the cache writes or gives back does not change the sum.
func (s *Store) total() (int64, bool) {
	now := int64(time.Since(start))
	if last := s.totalAt.Load(); last != 0 && now-last < int64(100*time.Millisecond) {
		return s.totalBytes.Load(), true
	}
	used := s.used.Load()
	_, free, err := s.dir().space()
	if err != nil {
		return 0, false
	}
	s.totalBytes.Store(used + free)
	s.totalAt.Store(now)
	return used + free, true
}

// room claims n bytes, and makes room for them if need be and it can. Only the
// writer calls it, and unclaim later.
func (s *Store) room(n int64) bool {
	if s.spend(n) {
		return true
	}
	if !s.owner.Load() {
		return s.roomShared(n)
	}
	if s.claimMore(n) {
		return true
	}
	if now := time.Now(); now.Before(s.fullUntil) {
		return false
	}
	s.ask(context.Background(), func() {
		limit := s.limit()
		s.shrink(limit - n - slack(limit)/2)
	})
	if s.claim(n) {
		return true
	}
	s.fullUntil = time.Now().Add(time.Second) // all that is left is pinned
	return false
}

// balance gives back what is over the budget.
func (s *Store) balance() {
	if !s.owner.Load() {
		return
	}
	s.trimMeta()
	if limit := s.limit(); s.used.Load() > limit-slack(limit)/2 {
		s.shrink(limit - slack(limit))
	}
	s.publish()
}

// shrink gives the least recently used segments back until the cache takes at
// most target bytes, or only pinned ones are left.
func (s *Store) shrink(target int64) {
	target = max(target, 0)
	if !s.owner.Load() || s.used.Load() <= target {
		return
	}
	s.readPins()
	for fresh := false; s.used.Load() > target; {
		refs := s.takeVictims(s.used.Load() - target)
		if len(refs) == 0 {
			if fresh {
				return
			}
			fresh = true
			s.chooseVictims()
			continue
		}
		fresh = false
		// First the index says that they are gone, then they go. If it cannot
		// be written they go all the same: what it says is only a hint.
		s.commit(false)
		s.giveBack(refs)
		s.stats.evicted.Add(int64(len(refs)))
	}
}

// chooseVictims fills keep.victims with the least recently used segments that
// are not pinned.
func (s *Store) chooseVictims() {
	s.mu.Lock()
	defer s.mu.Unlock()
	total, low, high := 0, ^uint32(0), uint32(0)
	for k, b := range s.blobs {
		if s.keep.pins[k] > 0 {
			continue
		}
		for i := range b.segs {
			total++
			low, high = min(low, b.segs[i].stamp), max(high, b.segs[i].stamp)
		}
	}
	s.keep.victims = nil
	if total == 0 {
		return
	}
	// The stamp below which there are enough, by a histogram of stamps.
	want := min(total, max(victimMin, total/64))
	var hist [1024]int
	width := (uint64(high) - uint64(low) + uint64(len(hist))) / uint64(len(hist))
	for k, b := range s.blobs {
		if s.keep.pins[k] > 0 {
			continue
		}
		for i := range b.segs {
			hist[uint64(b.segs[i].stamp-low)/width]++
		}
	}
	n, last := 0, uint64(0)
	for ; last < uint64(len(hist)); last++ {
		if n += hist[last]; n >= want {
			break
		}
	}
	n = min(n, 4*want) // many may have one stamp
	list := make([]victim, 0, n)
	for k, b := range s.blobs {
		if s.keep.pins[k] > 0 {
			continue
		}
		for i := range b.segs {
			if g := &b.segs[i]; uint64(g.stamp-low)/width <= last && len(list) < n {
				list = append(list, victim{ref{k, g.no}, g.stamp})
			}
		}
	}
	// The oldest last; of one age, those of one blob together, its end first.
	slices.SortFunc(list, func(a, b victim) int {
		if a.stamp != b.stamp {
			return cmp.Compare(b.stamp, a.stamp)
		}
		return a.ref.compare(b.ref)
	})
	s.keep.victims = list
}

// takeVictims takes segments that together hold about excess bytes out of
// memory and returns them.
func (s *Store) takeVictims(excess int64) (refs []ref) {
	k := &s.keep
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(k.victims) > 0 && len(refs) < evictMax && excess > 0 {
		v := k.victims[len(k.victims)-1]
		k.victims = k.victims[:len(k.victims)-1]
		b := s.blobs[v.k]
		if b == nil || k.pins[v.k] > 0 {
			continue
		}
		g := b.find(v.no)
		if g == nil || g.stamp != v.stamp {
			continue
		}
		excess -= max(4096, min(segSize, b.alloc/int64(len(b.segs))))
		b.remove(v.no)
		s.dirty[v.ref] = struct{}{}
		refs = append(refs, v.ref)
		// A chunk goes when either of the segments it lies in goes.
		if v.no == 0 {
			continue
		}
		if before := b.find(v.no - 1); before != nil && before.dropTail() {
			s.changed(b, v.no-1)
		}
	}
	return refs
}

// giveBack gives the disk space of segments back that memory and index do not
// know any more.
func (s *Store) giveBack(refs []ref) {
	slices.SortFunc(refs, ref.compare)
	for i := 0; i < len(refs); {
		j := i + 1
		for j < len(refs) && refs[j].k == refs[i].k {
			j++
		}
		s.giveBackOf(refs[i].k, refs[i:j])
		i = j
	}
}

// giveBackOf gives segments of one blob back; its file too if none is left.
func (s *Store) giveBackOf(k Key, refs []ref) {
	s.mu.Lock()
	b := s.blobs[k]
	empty := b != nil && len(b.segs) == 0
	s.mu.Unlock()
	if b == nil {
		return
	}
	if empty {
		s.removeBlob(k)
		return
	}
	f, err := s.file(k, false)
	if err != nil {
		return
	}
	for i := 0; i < len(refs); {
		j := i + 1
		for j < len(refs) && refs[j].no == refs[j-1].no+1 {
			j++
		}
		from, to := int64(refs[i].no)*segSize, int64(refs[j-1].no+1)*segSize
		s.mu.Lock()
		if b.find(refs[j-1].no+1) == nil {
			to += spill // nobody else would give back what reaches behind
		}
		s.mu.Unlock()
		err := punch(f, from, to-from)
		if errors.Is(err, os.ErrClosed) {
			if f, err = s.file(k, false); err == nil {
				err = punch(f, from, to-from)
			}
		}
		if err != nil {
			if errors.Is(err, unix.EOPNOTSUPP) {
				s.removeBlob(k) // a file system without holes
				return
			}
			s.logSome("cannot give cached bytes back", "blob", blobName(k), "error", err)
			break
		}
		i = j
	}
	if _, alloc, _, err := allocated(f); err == nil {
		s.mu.Lock()
		s.setAlloc(b, alloc)
		s.mu.Unlock()
	}
}

// removeBlob removes a blob's file.
func (s *Store) removeBlob(k Key) {
	s.mu.Lock()
	b := s.blobs[k]
	if b == nil {
		s.mu.Unlock()
		return
	}
	for i := range b.segs {
		s.dirty[ref{k, b.segs[i].no}] = struct{}{}
	}
	if b.file != nil {
		s.closeFile(b)
	}
	s.setAlloc(b, 0)
	delete(s.blobs, k)
	s.mu.Unlock()
	// The writer may make it again at any time; then both were late, and what
	// it marked reads as absent.
	if err := remove(s.dir().blobs, blobName(k)); err != nil {
		s.logSome("cannot remove cached bytes", "blob", blobName(k), "error", err)
	}
}

// ErrNotOwner says that another process owns the cache.
var ErrNotOwner = errors.New("another process owns the cache")

// Trim gives the least recently used segments back until the cache takes at
// most bytes; pinned ones stay. A process that does not own the index cannot.
func (s *Store) Trim(ctx context.Context, bytes int64) error {
	if !s.owner.Load() {
		return ErrNotOwner
	}
	return s.ask(ctx, func() { s.shrink(bytes) })
}
