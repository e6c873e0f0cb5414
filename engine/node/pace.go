package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// ErrSlow says that a node did not answer in time, or sent or took bytes too
// slowly. It is transient.
var ErrSlow = errors.New("node is too slow")

// A pace ends a request that does not get on. First an answer must begin
// within a time. Then, while a body flows, in every window enough bytes must:
// the full rate over all requests to the host, so that many may share a slow
// line, and this request's part of it.
type pace struct {
	host   *host
	opts   *NetworkOptions
	cancel context.CancelCauseFunc
	moved  atomic.Int64

	mu       sync.Mutex // guards what follows
	timer    *time.Timer
	due      time.Time // when it is to fire
	flowing  bool
	waits    time.Duration // for the answer
	own, all int64         // bytes moved when the window began
}

// newPace returns a pace, and a context that ends when the request should.
func newPace(ctx context.Context, opts *NetworkOptions, h *host) (context.Context, *pace) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &pace{host: h, opts: opts, cancel: cancel}
	p.timer = time.AfterFunc(time.Hour, p.tick)
	return ctx, p
}

// await begins to wait for an answer.
func (p *pace) await(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flowing, p.waits = false, d
	p.reset(d)
}

// flow begins to measure a body.
func (p *pace) flow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flowing = true
	p.own, p.all = p.moved.Load(), p.host.moved.Load()
	p.reset(p.opts.Window)
}

// reset sets the timer; p.mu is held.
func (p *pace) reset(d time.Duration) {
	p.due = time.Now().Add(d)
	p.timer.Reset(d)
}

func (p *pace) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
	p.cancel(nil)
}

func (p *pace) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.due) {
		return // it was set anew while it fired
	}
	if !p.flowing {
		p.cancel(fmt.Errorf("%w: no answer within %v", ErrSlow, p.waits))
		return
	}
	least := int64(p.opts.Window.Seconds() * float64(p.opts.Rate))
	own, all := p.moved.Load(), p.host.moved.Load()
	if own-p.own < least/int64(p.opts.PerHost) || all-p.all < least {
		p.cancel(fmt.Errorf("%w: %d bytes within %v", ErrSlow, own-p.own, p.opts.Window))
		return
	}
	p.own, p.all = own, all
	p.reset(p.opts.Window)
}

func (p *pace) count(n int) {
	p.moved.Add(int64(n))
	p.host.moved.Add(int64(n))
}

// An upload is a request's body. When all of it has been taken, the wait for
// the answer begins.
type upload struct {
	io.Reader
	pace   *pace
	answer time.Duration
}

func (u *upload) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	u.pace.count(n)
	if err != nil {
		u.pace.await(u.answer)
	}
	return n, err
}

func (u *upload) Close() error { return nil }
