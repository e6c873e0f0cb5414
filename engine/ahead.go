package engine

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/floefs/floe/merkle"
)

const (
	segmentSize = 1 << 20 // bytes fetched ahead by one request
	mostFlying  = 12      // such requests at a time
	keptStreams = 64
)

// ahead fetches what readers are about to want. The bytes are not proven: a
// reader proves what it takes, as it proves all that comes from blobs. So
// reading ahead needs no tree, and whether it is right only costs or saves
// time. What is on its way is waited for, never asked for twice; readers of
// other bytes are not in its way, since it takes only a share of the requests
// and memory of its own.
type ahead struct {
	e     *Engine
	limit int64

	mu      sync.Mutex // guards what follows
	streams []*flow    // latest first
	lately  [256]want  // what readers asked for, the oldest at next
	next    int
	used    int64 // bytes of segments
	flying  int   // segments on their way
}

// A want is bytes of a dataset that a reader asked for.
type want struct {
	d *Dataset
	extent
}

// A flow is a stream of a dataset and what was fetched ahead for it.
type flow struct {
	stream
	d    *Dataset
	segs []*segment
}

// A segment is bytes that were asked for ahead of readers.
type segment struct {
	extent               // what is there may be less
	buf    *buffer       // held by the segment and by each reader that waits for it
	taken  int64         // bytes that readers have had; guarded by ahead.mu
	landed bool          // guarded by ahead.mu
	done   chan struct{} // closed when what follows is set
	have   int64         // bytes that are there, from the first on
	keep   bool
}

// readAt fills p with unproven bytes of t from position at on: from what was
// fetched ahead as far as that goes. It has fetched what may be wanted next
// when it can be told. What is near is not fetched ahead: the kernel does that.
func (a *ahead) readAt(ctx context.Context, t *tree, level int, p []byte, at int64) (keep bool, err error) {
	if a.e.near {
		return a.direct(ctx, t.d, p, at)
	}
	r := extent{at, at + int64(len(p))}
	segs := a.request(t, level, r)
	defer func() {
		for _, s := range segs {
			s.buf.release()
		}
	}()
	gap := func(to int64) error { // up to to
		n := to - at
		if n <= 0 {
			return nil
		}
		k, err := a.direct(ctx, t.d, p[:n], at)
		keep, p, at = keep || k, p[n:], to
		return err
	}
	for _, s := range segs {
		select {
		case <-s.done:
		case <-ctx.Done():
			return keep, context.Cause(ctx)
		}
		if s.from+s.have <= at || s.from >= r.to {
			continue
		}
		if err := gap(s.from); err != nil {
			return keep, err
		}
		n := copy(p, s.buf.b[at-s.from:s.have])
		keep, p, at = keep || s.keep, p[n:], at+int64(n)
		a.took(s, at, int64(n))
	}
	return keep, gap(r.to)
}

func (a *ahead) direct(ctx context.Context, d *Dataset, p []byte, at int64) (keep bool, err error) {
	if keep, err = d.readAt(ctx, p, at); err == nil {
		a.e.stats.fetched.Add(int64(len(p)))
	}
	return keep, err
}

// request takes note of a request, asks for what it leads to, and returns what
// there is of it, or on its way, in order. Each buffer is held.
func (a *ahead) request(t *tree, level int, r extent) (segs []*segment) {
	d := t.d
	in := extent{t.at, t.at + t.layout.StoredSize()}
	limit := in.to
	if level == 0 {
		limit = t.at + t.layout.DataSize()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.streams {
		if f.d != d {
			continue
		}
		for _, s := range f.segs {
			if s.meets(r) {
				s.buf.hold()
				segs = append(segs, s)
			}
		}
	}
	slices.SortFunc(segs, func(x, y *segment) int { return int(x.from - y.from) })
	a.lately[a.next] = want{d, r}
	a.next = (a.next + 1) % len(a.lately)
	var f *flow
	var soon []extent
	for i, g := range a.streams {
		if g.d != d {
			continue
		}
		if w, ok := g.follow(r, in, limit, level > 0, d.header.Space()); ok {
			f, soon = g, w
			copy(a.streams[1:], a.streams[:i])
			a.streams[0] = f
			break
		}
	}
	if f == nil {
		a.begin(&flow{stream: stream{last: r, end: r.to, in: in, inner: level > 0}, d: d})
		return segs
	}
	a.passed(f)
	for _, x := range soon {
		a.launch(f, x)
	}
	return segs
}

// begin adds a stream. If there are too many the one that was used least
// lately goes, of those that nothing was fetched for if there is one. mu is
// held.
func (a *ahead) begin(f *flow) {
	if len(a.streams) == keptStreams {
		i := keptStreams - 1
		for j, g := range slices.Backward(a.streams) {
			if len(g.segs) == 0 {
				i = j
				break
			}
		}
		a.drop(a.streams[i], func(*segment) bool { return true })
		a.streams = slices.Delete(a.streams, i, i+1)
	}
	a.streams = slices.Insert(a.streams, 0, f)
}

// passed drops what a stream has left behind. mu is held.
func (a *ahead) passed(f *flow) {
	a.drop(f, func(s *segment) bool { return s.to < f.last.from-backward })
}

// drop drops segments of f that are there. mu is held.
func (a *ahead) drop(f *flow, which func(*segment) bool) {
	f.segs = slices.DeleteFunc(f.segs, func(s *segment) bool {
		if !s.landed || !which(s) {
			return false
		}
		a.used -= int64(len(s.buf.b))
		a.e.stats.unused.Add(max(0, s.have-s.taken))
		s.buf.release()
		return true
	})
}

// launch asks for x, as far as there is room, but not for what was asked for
// already. mu is held.
func (a *ahead) launch(f *flow, x extent) {
	for x = a.unasked(f.d, x); x.from < x.to; x = a.unasked(f.d, x) {
		if a.flying == mostFlying || !a.room(f, segmentSize) {
			f.shortOf(x.from)
			return
		}
		// A segment lies in one blob.
		size := f.d.header.BlobSize
		n := min(x.len(), segmentSize, size-x.from%size)
		n = a.untilAsked(f.d, extent{x.from, x.from + n}).len()
		s := &segment{extent: extent{x.from, x.from + n}, buf: unbudgeted.newBuffer(int(n)), done: make(chan struct{})}
		f.segs = append(f.segs, s)
		a.used += n
		a.flying++
		a.e.wg.Add(1)
		go a.fetch(f, s, !f.beyond())
		x.from += n
	}
}

// unasked returns x without what was asked for at its beginning, by readers
// lately or ahead of them. mu is held.
func (a *ahead) unasked(d *Dataset, x extent) extent {
	for again := true; again; {
		again = false
		for y := range a.asked(d) {
			if y.from <= x.from && x.from < y.to {
				x.from, again = y.to, true
			}
		}
	}
	return x
}

// untilAsked returns x up to where something begins that was asked for. mu is
// held.
func (a *ahead) untilAsked(d *Dataset, x extent) extent {
	for y := range a.asked(d) {
		if x.from < y.from && y.from < x.to {
			x.to = y.from
		}
	}
	return x
}

// asked yields what was asked for of a dataset, by readers lately or ahead of
// them. mu is held.
func (a *ahead) asked(d *Dataset) iter.Seq[extent] {
	return func(yield func(extent) bool) {
		for i := range a.lately {
			if a.lately[i].d == d && !yield(a.lately[i].extent) {
				return
			}
		}
		for _, f := range a.streams {
			for _, s := range f.segs {
				if f.d == d && !yield(s.extent) {
					return
				}
			}
		}
	}
}

// room makes room for n bytes, at the cost of streams that were not used for
// longer than f. mu is held.
func (a *ahead) room(f *flow, n int64) bool {
	for _, g := range slices.Backward(a.streams) {
		if a.used+n <= a.limit || g == f {
			break
		}
		a.drop(g, func(*segment) bool { return true })
	}
	return a.used+n <= a.limit
}

// fetch fills s. If it begins with a chunk, what the cache may have is left
// out.
func (a *ahead) fetch(f *flow, s *segment, chunks bool) {
	defer a.e.wg.Done()
	ctx, cancel := context.WithTimeout(a.e.life, a.e.patience)
	defer cancel()
	have, keep := a.fill(ctx, f.d, s, chunks)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flying--
	a.e.stats.fetched.Add(have)
	a.e.stats.ahead.Add(have)
	s.have, s.keep, s.landed = have, keep, true
	close(s.done)
	if have == 0 || !slices.Contains(a.streams, f) {
		a.drop(f, func(x *segment) bool { return x == s })
	}
}

func (a *ahead) fill(ctx context.Context, d *Dataset, s *segment, chunks bool) (have int64, keep bool) {
	ref, off, err := d.blobAt(ctx, s.from)
	if err != nil {
		return 0, false
	}
	n := min(s.len(), int64(ref.params.Size)-off)
	if chunks && n > 0 && a.e.cache != nil {
		count := int((n + merkle.ChunkSize - 1) / merkle.ChunkSize)
		if a.e.cache.Present(ref.id, off, 1) > 0 {
			return 0, false
		}
		n = min(n, int64(a.e.cache.Absent(ref.id, off, count))*merkle.ChunkSize)
	}
	if n <= 0 {
		return 0, false
	}
	if keep, err = d.readAt(ctx, s.buf.b[:n], s.from); err != nil {
		return 0, false // whoever needs the bytes asks again, and hears why
	}
	return n, keep
}

// took takes note that a reader has had n bytes of s, up to position to. What
// has been read goes: the cache has it now.
func (a *ahead) took(s *segment, to, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.taken += n; s.taken < s.have || to < s.from+s.have {
		return
	}
	for _, f := range a.streams {
		a.drop(f, func(x *segment) bool { return x == s })
	}
}

// forget drops what was fetched ahead of a dataset: some of it is false.
func (a *ahead) forget(d *Dataset) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.streams = slices.DeleteFunc(a.streams, func(f *flow) bool {
		if f.d != d {
			return false
		}
		a.drop(f, func(*segment) bool { return true })
		return true
	})
}
