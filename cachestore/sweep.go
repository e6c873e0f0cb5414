package cachestore

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	sweepDelay = 10 * time.Minute // between sweeps
	sweepBatch = 64               // files a second
	tempAge    = time.Hour        // of a file that was never moved into place
)

// sweep looks for what others have put without this process hearing of it, so
// that it can be found and given back: some files at a time.
func (s *Store) sweep() {
	k := &s.keep
	if !s.owner.Load() {
		return
	}
	if len(k.toSweep) == 0 {
		if !k.swept.IsZero() && time.Since(k.swept) < sweepDelay {
			return
		}
		k.swept = time.Now()
		k.toSweep, _ = readNames(s.dir().blobs)
		s.sweepMeta()
	}
	n := min(len(k.toSweep), sweepBatch)
	for _, name := range k.toSweep[:n] {
		if key, ok := parseName(name); ok {
			s.sweepBlob(key)
		}
	}
	k.toSweep = k.toSweep[n:]
}

// sweepBlob compares what is known of a blob with its file. It returns how
// many segments hold data nobody knew of, and how many chunks that were
// marked have no data.
func (s *Store) sweepBlob(k Key) (found, lost int) {
	f, err := openFile(s.dir().blobs, blobName(k), os.O_RDONLY)
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	data := dataSegments(f)
	_, alloc, _, err := allocated(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blobOf(k)
	if b == nil || err != nil {
		return 0, 0
	}
	s.setAlloc(b, alloc)
	for _, no := range data {
		if b.find(no) == nil {
			// Often it is the end of a chunk of the segment before.
			g := segment{no: no, flags: flagProbe, stamp: 1}
			if before := b.find(no - 1); no > 0 && before != nil {
				g.stamp = before.stamp
			}
			*b.segment(no) = g
			s.changed(b, no)
			found++
		}
	}
	for i := len(b.segs) - 1; i >= 0; i-- {
		no, n := b.segs[i].no, b.segs[i].count()
		// One that was just used may have been written after the look.
		if _, ok := slices.BinarySearch(data, no); !ok && n > 0 && b.segs[i].stamp != s.clock {
			lost += n
			b.remove(no)
			s.dirty[ref{k, no}] = struct{}{}
		}
	}
	return found, lost
}

// sweepMeta takes in metadata others have put, and removes what they left
// half written.
func (s *Store) sweepMeta() {
	s.surveyMeta()
	names, err := readNames(s.dir().meta)
	if err != nil {
		return
	}
	for _, full := range names {
		name, _, temp := strings.Cut(full, "~")
		if _, ok := parseMeta(name); !ok || !temp {
			continue
		}
		var st unix.Stat_t
		err := at(s.dir().meta, func(dir int) error { return unix.Fstatat(dir, full, &st, unix.AT_SYMLINK_NOFOLLOW) })
		if err == nil && time.Since(time.Unix(st.Mtim.Unix())) > tempAge {
			remove(s.dir().meta, full)
		}
	}
}

// A Report is what Check found.
type Report struct {
	Blobs    int
	Segments int
	Chunks   int64
	Bytes    int64    // of disk
	Damage   error    // what is wrong with the index on disk; nil if nothing
	Found    int      // segments with data that no index named, now known
	Lost     int      // chunks that were named and are not there, now forgotten
	Foreign  []string // files the cache did not make; it leaves them alone
}

// Check compares index, memory and files with each other, and repairs what
// differs if this process owns the index. It does not prove chunks, whose
// hashes it does not have; reading them does.
func (s *Store) Check(ctx context.Context) (r Report, err error) {
	if s.owner.Load() {
		err = s.ask(ctx, func() {
			s.commit(true)
			r.Damage = s.checkIndex()
			if r.Damage != nil && s.owner.Load() {
				s.indexFailed(errors.Join(errDamaged, r.Damage))
			}
		})
	} else {
		for range 3 { // the owner may be writing it
			if r.Damage = s.checkIndex(); r.Damage == nil || ctx.Err() != nil {
				break
			}
		}
	}
	if err != nil {
		return r, err
	}
	names, err := readNames(s.dir().blobs)
	if err != nil {
		return r, err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		k, ok := parseName(name)
		_, alloc, regular, statErr := allocatedAt(s.dir().blobs, name)
		if !ok || statErr == nil && !regular {
			r.Foreign = append(r.Foreign, blobsName+"/"+name)
			continue
		}
		r.Blobs++
		r.Bytes += alloc
		if s.owner.Load() {
			var found, lost int
			if err := s.ask(ctx, func() { found, lost = s.sweepBlob(k) }); err != nil {
				return r, err
			}
			r.Found += found
			r.Lost += lost
		}
	}
	st := s.Stats()
	r.Segments, r.Chunks = st.Segments, st.Chunks
	return r, nil
}

// checkIndex checks the index on disk.
func (s *Store) checkIndex() error {
	f, err := openFile(s.dir().top, indexName, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = loadIndex(f, func(Key, segment) {})
	return err
}
