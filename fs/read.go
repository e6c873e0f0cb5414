package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"
	"syscall"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
)

// read answers READ from the engine's own buffers.
func (l *loop) read(ctx context.Context, w *worker, r *request) {
	defer func() {
		if v := recover(); v != nil {
			l.panicked(v)
			l.reply(w, r, syscall.EIO, nil)
		}
	}()
	span, err := l.tree.read(ctx, r.node, r.off, int(min(r.size, maxRead)))
	if err != nil {
		l.reply(w, r, l.errno(r, err), nil)
		return
	}
	defer span.Release()
	l.bytes.Add(uint64(span.Len()))
	// A part is at least a chunk, but for the first and the last, so there are
	// never more of them than writev(2) takes.
	var body [maxRead/merkle.ChunkSize + 2][]byte
	parts := span.Parts()
	for i, c := range parts {
		body[i] = c.Bytes()
	}
	l.reply(w, r, 0, body[:len(parts)])
}

// read returns n bytes of a file from off on, fewer only at its end.
func (t *tree) read(ctx context.Context, node uint64, off int64, n int) (*engine.Span, error) {
	f, err := t.file(ctx, node)
	if err != nil {
		return nil, err
	}
	span, err := f.Read(ctx, off, n)
	if err != nil {
		return nil, err
	}
	// A short answer would tell the kernel that the file has shrunk.
	if want := max(0, min(int64(n), f.Entry().Size-off)); int64(span.Len()) != want {
		got := span.Len()
		span.Release()
		return nil, fmt.Errorf("internal error: %d bytes read instead of %d", got, want)
	}
	return span, nil
}

// files keeps the files that were read last, so that a read need not find its
// entry again. Nothing is lost when one is dropped.
type files struct {
	mu   sync.RWMutex
	by   map[uint64]*engine.File // guarded by mu
	ring []uint64                // guarded by mu; the keys of by, oldest at next once it is full
	next int                     // guarded by mu
}

const keptFiles = 1024

func (c *files) get(node uint64) (*engine.File, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	f, ok := c.by[node]
	return f, ok
}

func (c *files) put(node uint64, f *engine.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.by[node]; ok {
		return
	}
	if len(c.ring) < keptFiles {
		c.ring = append(c.ring, node)
	} else {
		delete(c.by, c.ring[c.next])
		c.ring[c.next] = node
		c.next = (c.next + 1) % keptFiles
	}
	c.by[node] = f
}

// file returns the file of a node number.
func (t *tree) file(ctx context.Context, node uint64) (*engine.File, error) {
	if f, ok := t.files.get(node); ok {
		return f, nil
	}
	e, err := t.entry(ctx, node)
	if err != nil {
		return nil, err
	}
	if e.Type != catalog.File {
		return nil, errNotFile
	}
	f, err := t.ds.File(ctx, e)
	if err != nil {
		return nil, err
	}
	t.files.put(node, f)
	return f, nil
}

// errno returns what the caller of r is told of err, and logs what it is not
// told.
func (l *loop) errno(r *request, err error) syscall.Errno {
	switch {
	case r.interrupted.Load():
		l.interrupted.Add(1)
		return syscall.EINTR
	case l.life.Err() != nil:
		return syscall.ENODEV // nobody is left to hear it
	case errors.Is(err, iofs.ErrNotExist):
		return syscall.ENOENT
	case errors.Is(err, context.DeadlineExceeded) && r.ctx.Err() != nil:
		err = fmt.Errorf("no answer within %v: %w", l.timeout, err)
	}
	l.errors.Add(1)
	l.log.Error("request failed", "op", r.op.String(), "path", l.tree.path(r.node), "ino", r.node, "offset", r.off, "size", r.size, "pid", r.tid, "error", err)
	return syscall.EIO
}
