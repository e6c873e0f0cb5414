package engine

import (
	"context"
	"sync"

	"github.com/floefs/floe/merkle"
)

// flight lets concurrent fetches of the same chunks share one execution. The
// execution runs under the engine's life, not its first caller's: a reader
// that is interrupted leaves, the fetch goes on and its chunks are cached, so
// a reader that comes back makes progress.
type flight struct {
	mu    sync.Mutex    // guards calls
	calls map[any]*call // by fetchKey or sliverKey
}

// fetchKey is what is fetched: n bytes of neighbouring chunks of one level of
// one tree. The root fixes the hashes of them all, so whoever shares a fetch
// has proven the same.
type fetchKey struct {
	ds    *Dataset
	root  merkle.Hash
	at    int64 // position of the tree
	level int
	first int64 // first chunk
	n     int
}

type call struct {
	done   chan struct{} // closed when chunk and err are set
	buf    *buffer
	chunk  merkle.Chunk
	err    error
	shared int // callers that will take the result; guarded by flight.mu
}

// do returns the chunk that fn makes for key, or that a concurrent execution
// for key makes, and the buffer it lies in, which the caller must release. do
// takes over buf, which fn fills.
func (e *Engine) do(ctx context.Context, key any, buf *buffer, fn func(context.Context) (merkle.Chunk, error)) (c merkle.Chunk, held *buffer, err error) {
	f := &e.flight
	f.mu.Lock()
	if f.calls == nil {
		f.calls = make(map[any]*call)
	}
	cl, joined := f.calls[key]
	if !joined {
		cl = &call{done: make(chan struct{}), buf: buf}
		f.calls[key] = cl
		e.wg.Add(1)
		go func() {
			defer e.wg.Done()
			ctx, cancel := context.WithTimeout(e.life, e.patience)
			defer cancel()
			cl.chunk, cl.err = fn(ctx)
			f.mu.Lock()
			delete(f.calls, key)
			for range cl.shared {
				cl.buf.hold()
			}
			close(cl.done) // under mu, so that a caller that leaves knows whether it holds
			f.mu.Unlock()
			cl.buf.release()
		}()
	}
	cl.shared++
	f.mu.Unlock()
	if joined {
		buf.release()
	}
	select {
	case <-cl.done:
	case <-ctx.Done():
		f.mu.Lock()
		select {
		case <-cl.done:
			f.mu.Unlock()
			cl.buf.release() // the hold that was taken for this caller
		default:
			cl.shared--
			f.mu.Unlock()
		}
		return merkle.Chunk{}, nil, context.Cause(ctx)
	}
	if cl.err != nil {
		cl.buf.release()
		return merkle.Chunk{}, nil, cl.err
	}
	return cl.chunk, cl.buf, nil
}
