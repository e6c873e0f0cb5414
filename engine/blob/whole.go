package blob

import (
	"context"
	"errors"
	"sync"

	"github.com/floefs/floe/engine/walrus"
)

// wholesSize is how many bytes of whole slivers are kept for nodes that send
// nothing less.
const wholesSize = 64 << 20

// ranger is a node that knows whether it can be asked for parts of slivers.
type ranger interface{ Ranges() bool }

// read fills b from a sliver that p has. Of a node that only sends whole
// slivers it keeps them: the next reads are likely to want another part.
func (c *Client) read(ctx context.Context, p *peer, id walrus.BlobID, params walrus.Params, at walrus.SliverID, b []byte, off int64) error {
	size := params.SliverLen(at.Axis)
	if r, ok := p.Node.(ranger); !ok || r.Ranges() || len(b) == size || size > wholesSize {
		return p.read(ctx, id, params, at, b, off)
	}
	data, err := c.wholes.get(ctx, wholeKey{onNode{p, at}, id}, func() ([]byte, error) {
		data := make([]byte, size)
		return data, p.read(ctx, id, params, at, data, 0)
	})
	if err == nil {
		copy(b, data[off:])
	}
	return err
}

// wholes keeps whole slivers as nodes sent them, not proven, the latest within
// a number of bytes. The zero value is ready.
type wholes struct {
	mu    sync.Mutex // guards what follows
	by    map[wholeKey]*whole
	order []wholeKey // of those that are there, as they came
	size  int
}

type wholeKey struct {
	onNode
	id walrus.BlobID
}

type whole struct {
	done chan struct{} // closed when data and err are set
	data []byte
	err  error
}

// get returns a sliver that is kept, or that fetch gets, which runs once for
// all who want the sliver at a time.
func (s *wholes) get(ctx context.Context, k wholeKey, fetch func() ([]byte, error)) ([]byte, error) {
	for {
		s.mu.Lock()
		w := s.by[k]
		if w == nil {
			if s.by == nil {
				s.by = make(map[wholeKey]*whole)
			}
			w = &whole{done: make(chan struct{})}
			s.by[k] = w
			s.mu.Unlock()
			w.data, w.err = fetch()
			s.put(k, w)
			return w.data, w.err
		}
		s.mu.Unlock()
		select {
		case <-w.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		// Another's fetch may have ended because that one gave up.
		if gaveUp := errors.Is(w.err, context.Canceled) || errors.Is(w.err, errOvertaken); !gaveUp {
			return w.data, w.err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// put ends the fetch of w, and keeps it if it was fetched.
func (s *wholes) put(k wholeKey, w *whole) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(w.done)
	if s.by[k] != w {
		return // dropped
	}
	if w.err != nil {
		delete(s.by, k)
		return
	}
	s.order = append(s.order, k)
	for s.size += len(w.data); s.size > wholesSize; {
		s.remove(s.order[0])
	}
}

// drop forgets a sliver.
func (s *wholes) drop(k wholeKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(k)
}

// remove forgets a sliver. mu is held.
func (s *wholes) remove(k wholeKey) {
	w := s.by[k]
	if w == nil {
		return
	}
	delete(s.by, k)
	for i, o := range s.order {
		if o == k {
			s.order = append(s.order[:i], s.order[i+1:]...)
			s.size -= len(w.data)
			return
		}
	}
}
