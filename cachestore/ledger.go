package cachestore

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/merkle"
)

// A ledger is how all processes together keep to the budget. It lies in the
// lock file. Whoever is about to write claims the bytes there; a claim ends
// when the owner knows of the file that was written, whose bytes are part of
// used from then on. FORMAT: three u64, little-endian.
type ledger struct {
	used    int64 // bytes of disk the cache takes, as the owner knows
	limit   int64 // bytes it may take
	claimed int64 // bytes being written, or that were without the owner knowing yet
}

const (
	ledgerLen   = 24
	maxLedger   = 1 << 60               // bytes; sums stay in range
	ledgerTries = 100                   // to get at it
	ledgerPause = 20 * time.Microsecond // between them
	claimOver   = 8 << 10               // what a file's blocks are larger than its bytes
	claimAhead  = 1 << 20               // claimed for the puts that will follow
	claimDelay  = time.Second           // after which a claim that nobody ends is looked into
)

// claimOf returns how much is claimed for so many chunks.
func claimOf(chunks int) int64 { return int64(chunks)*merkle.ChunkSize + claimOver }

// errNoLedger says that there has been no owner yet.
var errNoLedger = errors.New("the cache has no ledger")

// onLedger calls change with the ledger and writes it back if that returns
// true. No other process is at it meanwhile. An error means that change was not
// called: the ledger is taken by others at work, or not there.
func (s *Store) onLedger(change func(*ledger) bool) error {
	s.ledgerMu.Lock() // the lock below is this process's, not this goroutine's
	defer s.ledgerMu.Unlock()
	f := s.dir().lock
	lock := func(how int16) error {
		return at(f, func(fd int) error {
			return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: how, Len: ledgerLen})
		})
	}
	for try := 0; ; try++ {
		err := lock(unix.F_WRLCK)
		if err == nil {
			defer lock(unix.F_UNLCK)
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			break // it is ours; or the file system has no locks, and all do without
		}
		if try == ledgerTries {
			return err
		}
		time.Sleep(ledgerPause)
	}
	var b [ledgerLen]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && (err != io.EOF || !s.owner.Load()) {
		return errNoLedger
	}
	var l ledger
	for i, v := range l.fields() {
		*v = min(max(0, int64(binary.LittleEndian.Uint64(b[8*i:]))), maxLedger)
	}
	if !change(&l) {
		return nil
	}
	for i, v := range l.fields() {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(*v))
	}
	_, err := f.WriteAt(b[:], 0)
	return err
}

func (l *ledger) fields() [3]*int64 { return [3]*int64{&l.used, &l.limit, &l.claimed} }

// claim claims n bytes. It returns false if they are not to be had.
func (s *Store) claim(n int64) bool {
	granted := false
	err := s.onLedger(func(l *ledger) bool {
		owner := s.owner.Load()
		if owner {
			s.settle(l)
		}
		// The index grows beside it.
		if granted = l.used+l.claimed+n <= l.limit-slack(l.limit)/4; granted {
			l.claimed += n
		}
		return granted || owner
	})
	return granted || errors.Is(err, errNoLedger)
}

// spend takes n bytes of what was claimed ahead.
func (s *Store) spend(n int64) bool {
	for {
		c := s.credit.Load()
		if c < n {
			return false
		}
		if s.credit.CompareAndSwap(c, c-n) {
			return true
		}
	}
}

// claimMore claims n bytes, and some for later if there are plenty.
func (s *Store) claimMore(n int64) bool {
	if ahead := min(claimAhead, slack(s.size)/8); s.claim(n + ahead) {
		s.credit.Add(ahead)
		return true
	}
	return s.claim(n)
}

// unclaim ends a claim of this process: what it was for has been written, and
// allocated for, or it has not.
func (s *Store) unclaim(n int64) {
	if s.owner.Load() {
		s.settled.Add(n)
		return
	}
	s.onLedger(func(l *ledger) bool { l.claimed = max(0, l.claimed-n); return true })
}

// settle brings the ledger up to date. Only the owner may.
func (s *Store) settle(l *ledger) {
	l.claimed = max(0, l.claimed-s.settled.Swap(0)) // first, since what they were for is part of used
	l.used, l.limit = s.used.Load(), s.limit()
}

// unspend gives back what was claimed ahead and has not been needed.
func (s *Store) unspend() {
	if c := s.credit.Swap(0); c > 0 {
		s.unclaim(c)
	}
}

// publish writes what the owner knows into the ledger. Only the keeper calls
// it.
func (s *Store) publish() {
	if !s.owner.Load() {
		return
	}
	s.weighIndex()
	s.onLedger(func(l *ledger) bool {
		old := *l
		s.settle(l)
		return *l != old
	})
}

// takeOver begins a ledger: what is on disk has just been measured.
func (s *Store) takeOver() {
	s.weighIndex()
	s.onLedger(func(l *ledger) bool {
		*l = ledger{}
		s.settle(l)
		return true
	})
}

// endClaims ends claims that nobody ends: whoever made them was killed, or
// could not tell. What they were for is measured.
func (s *Store) endClaims() {
	k := &s.keep
	if !s.owner.Load() {
		return
	}
	claimed := int64(0)
	s.onLedger(func(l *ledger) bool { s.settle(l); claimed = l.claimed; return true })
	if now := time.Now(); claimed == 0 || claimed != k.claimed {
		k.claimed, k.claimedAt = claimed, now
		return
	} else if now.Sub(k.claimedAt) < claimDelay {
		return
	}
	names, err := readNames(s.dir().blobs)
	if err != nil {
		return
	}
	for _, name := range names {
		if key, ok := parseName(name); ok {
			s.sweepBlob(key)
		}
	}
	s.surveyMeta()
	s.onLedger(func(l *ledger) bool {
		l.claimed = max(0, l.claimed-claimed)
		s.settle(l)
		return true
	})
}

// shares returns what all processes that use the cache take, and may.
func (s *Store) shares() (l ledger, ok bool) {
	err := s.onLedger(func(x *ledger) bool { l = *x; return false })
	return l, err == nil
}
