package engine

import "github.com/floefs/floe/merkle"

// What readers are about to want is told from what they asked for, not from
// who asks: requests of a mount name no open file. Positions are those of a
// dataset's address space, where the files of a directory lie side by side in
// the order of their names, so one who reads these in order is as sequential
// as one who reads one large file.
const (
	nextTo        = 64 << 10 // a request that begins this close behind another goes on where that ended
	backward      = 1 << 20  // how far behind or ahead of a stream a request may be
	forward       = 16 << 20 // and still be of it: the kernel asks out of order
	firstWindow   = 32 << 10
	lastWindow    = 16 << 20
	sameStrides   = 2 // equal distances in a row that make a stride
	sameCrossings = 3 // trees in a row that make a stream of trees
)

// An extent is bytes [from, to) of an address space.
type extent struct{ from, to int64 }

func (x extent) len() int64 { return x.to - x.from }

func (x extent) meets(y extent) bool { return x.from < y.to && y.from < x.to }

// A stream is requests that belong together: each goes on where the one before
// it ended, or lies as far from it as that from the one before. The zero value
// has seen none.
type stream struct {
	last  extent // request
	end   int64  // of the furthest request
	in    extent // tree that the latest request is part of
	inner bool   // requests are for interior chunks

	crossings int // how often it went on from one tree to the next

	window int64 // bytes to ask for next; 0: the requests are not sequential
	mark   int64 // when a request reaches this, they are
	high   int64 // up to here everything was asked for

	stride  int64 // distance between the latest two requests
	strides int   // how many in a row before them had that
	reach   int64 // up to here strides were asked for
}

// follow takes note of a request for bytes r of the tree that lies at in, and
// returns what should be asked for now: nothing from limit on, where what is
// like r ends, unless it goes on from tree to tree up to whole, the end of the
// address space. It reports false, and notes nothing, if the request is not of
// this stream.
func (s *stream) follow(r, in extent, limit int64, inner bool, whole int64) (want []extent, ok bool) {
	if s.end == 0 || s.inner != inner {
		return nil, false
	}
	gap := r.from - s.end
	within := s.in == in || s.beyond()
	crossed := s.in != in && r.from == in.from && in.from >= s.in.to && in.from < s.in.to+merkle.Align
	jumped := false
	switch {
	case within && gap >= -merkle.ChunkSize && gap <= nextTo && r.to > s.end, crossed:
		// Requests may share a chunk in which one ends and the next begins.
		if s.window == 0 {
			s.window, s.mark, s.high = min(max(2*r.len(), firstWindow), lastWindow), 0, 0
		}
		s.strides = 0
		if crossed {
			s.crossings++
		}
	case s.window > 0 && within && r.from < s.high && gap >= -backward-r.len():
		// Out of order, or a part was left out.
	case s.window > 0 && within && gap >= -backward && gap <= forward:
		if s.window /= 2; s.window < firstWindow {
			s.window = 0 // sequential no more
		}
		jumped, s.crossings = true, 0
	case s.stride > 0 && r.from-s.last.from == s.stride:
		s.strides++
	case s.window == 0 && s.strides == 0 && s.in == in && gap > 0 && gap <= forward:
		s.stride = r.from - s.last.from
	default:
		return nil, false
	}
	s.last, s.in, s.end = r, in, max(s.end, r.to)
	if s.beyond() {
		limit = whole
	}
	switch {
	case s.strides >= sameStrides:
		return s.strideOn(limit), true
	case s.window == 0 || jumped || s.end < s.mark:
		return nil, true
	}
	from := max(s.high, s.end)
	to := min(from+s.window, limit)
	if to <= from {
		return nil, true
	}
	s.high, s.mark = to, from+(to-from)/2
	s.window = min(2*s.window, lastWindow)
	return []extent{{from, to}}, true
}

// beyond reports whether it can be expected to go on behind the end of a tree.
func (s *stream) beyond() bool { return s.crossings >= sameCrossings }

// strideOn returns the next strides before limit: 2, and more of them the
// longer it goes on, up to 16.
func (s *stream) strideOn(limit int64) (want []extent) {
	count := int64(2) << min(s.strides-sameStrides, 3)
	s.reach = max(s.reach, s.last.from)
	for s.reach < s.last.from+count*s.stride && s.reach+s.stride+s.last.len() <= limit {
		s.reach += s.stride
		want = append(want, extent{s.reach, s.reach + s.last.len()})
	}
	return want
}

// shortOf takes note that nothing from position at on could be asked for.
func (s *stream) shortOf(at int64) {
	if s.strides >= sameStrides {
		s.reach = min(s.reach, at-s.stride)
	} else {
		s.high, s.mark = at, 0
	}
}
