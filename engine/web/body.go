package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/floefs/floe/merkle"
)

// A source is proven bytes that are had piece by piece.
type source interface {
	size() int64

	// load returns proven bytes from off on, which lies before the end: at
	// least one, about n if it can choose, none behind the end. Release says
	// that they are used no more.
	load(ctx context.Context, off int64, n int) (parts []merkle.Chunk, release func(), err error)
}

// A window is a part of a source.
type window struct {
	source
	from, n int64
}

func (w window) size() int64 { return w.n }

func (w window) load(ctx context.Context, off int64, n int) ([]merkle.Chunk, func(), error) {
	parts, release, err := w.source.load(ctx, w.from+off, n)
	left := w.n - off
	for i, c := range parts {
		if int64(c.Len()) >= left {
			parts = append(parts[:i:i], c.Slice(0, int(left)))
			break
		}
		left -= int64(c.Len())
	}
	return parts, release, err
}

var errClosed = errors.New("the answer has ended")

const (
	// readAhead is the most that is asked of a source at once.
	readAhead = 1 << 20

	// turn is how long a piece is held. Whoever has not taken it by then has to
	// get it again, after all who wait for the memory it lies in.
	turn = 10 * time.Second
)

// A body reads a source for http.ServeContent, which may still be reading
// when it returns. It holds one piece at a time, and remembers what failed.
type body struct {
	ctx context.Context // of the one request it was made for
	src source

	mu      sync.Mutex // guards what follows
	off     int64      // of the next read
	at      int64      // of parts
	n       int64      // bytes in parts
	since   time.Time  // they are held
	ahead   int        // to ask for next
	parts   []merkle.Chunk
	release func() // nil: nothing is held
	err     error
	closed  bool
}

func newBody(ctx context.Context, src source) *body { return &body{ctx: ctx, src: src} }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := b.src.size()
	switch {
	case b.closed:
		return 0, errClosed
	case b.err != nil:
		return 0, b.err
	case b.off >= size:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	p = p[:min(int64(len(p)), size-b.off)]
	if b.off < b.at || b.off >= b.at+b.n || time.Since(b.since) > turn {
		if b.err = b.load(len(p)); b.err != nil {
			return 0, b.err
		}
	}
	n, skip := 0, b.off-b.at
	for _, c := range b.parts {
		if skip >= int64(c.Len()) {
			skip -= int64(c.Len())
			continue
		}
		n += copy(p[n:], c.Bytes()[skip:])
		skip = 0
	}
	b.off += int64(n)
	return n, nil
}

// load gets the piece at off: what is wanted, and more and more ahead of one
// who reads on and on. mu is held.
func (b *body) load(want int) error {
	if b.n > 0 && b.off == b.at+b.n {
		b.ahead = min(2*b.ahead, readAhead)
	} else {
		b.ahead = 0
	}
	b.ahead = max(b.ahead, want)
	b.drop()
	ahead := int(min(int64(b.ahead), b.src.size()-b.off))
	parts, release, err := b.src.load(b.ctx, b.off, ahead)
	if err != nil {
		return err
	}
	b.parts, b.release, b.at, b.since = parts, release, b.off, time.Now()
	for _, c := range parts {
		b.n += int64(c.Len())
	}
	if b.n == 0 {
		b.drop()
		return fmt.Errorf("internal error: no bytes at %d of %d", b.off, b.src.size())
	}
	return nil
}

func (b *body) drop() {
	if b.release != nil {
		b.release()
	}
	b.parts, b.release, b.n = nil, nil, 0
}

// Seek implements io.Seeker.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.off
	case io.SeekEnd:
		offset += b.src.size()
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	b.off = offset
	return offset, nil
}

// close ends all reads, and returns what failed before.
func (b *body) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.drop()
	return b.err
}
