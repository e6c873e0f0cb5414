package blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

const (
	attempt = 10 * time.Second // default of Options.Attempt
	storing = 6                // times as long what is stored may take: it is proven and made durable first

	// After failures in a row a node is left alone, for restFirst and then
	// twice as long each time, up to restMost.
	failuresAllowed = 3
	restFirst       = time.Second
	restMost        = time.Minute

	// After that many proven lies a node is asked last, for paroleFirst and
	// then twice as long each time, up to paroleMost.
	liesAllowed = 3
	paroleFirst = time.Minute
	paroleMost  = time.Hour

	// inFlight is how many requests one remote node gets at once.
	inFlight = 16

	// hedgeFloor is the least time before another way is tried beside a slow
	// node.
	hedgeFloor = 20 * time.Millisecond

	// A node lags if it takes that many times as long as others, at the
	// median. One read in probing asks it all the same: it may have recovered.
	lagging = 4
	probing = 32
)

// errResting says that a node was left alone while a request waited its turn.
var errResting = errors.New("node is left alone after failures")

// errOvertaken ends a request when another way had the bytes first.
var errOvertaken = errors.New("another way was faster")

// A peer is a member and what is known of how it behaves.
type peer struct {
	Member
	attempt time.Duration
	slots   chan struct{} // one per request in flight; nil: not limited

	mu       sync.Mutex // guards what follows
	stats    NodeStats
	failures int // in a row
	rest     time.Duration
	restedAt time.Time // until when it is left alone
	parole   time.Duration
	paroleTo time.Time
	times    [64]time.Duration // of the latest requests that were answered, a ring
	answers  int64             // that times has seen
	p50, p95 time.Duration     // of times, a few answers ago
}

// NodeStats is how a node has behaved since the client was made.
type NodeStats struct {
	Name         string
	Requests     int64
	Overtaken    int64 // requests given up since another way was faster
	Errors       int64 // requests that failed, what is absent not counted
	Absent       int64 // requests for what the node does not have
	Bytes        int64 // received
	Stored       int64 // bytes of slivers it took
	Lies         int64 // slivers and metadata that proved false
	P50, P95     time.Duration
	Resting      time.Duration // left alone for so long after failures
	Quarantined  time.Duration // asked last for so long after lies
	LastError    string
	LastErrorAge time.Duration

	lastErrorAt time.Time
}

func newPeer(m Member, attempt time.Duration) *peer {
	p := &peer{Member: m, attempt: attempt}
	if m.Remote {
		p.slots = make(chan struct{}, inFlight)
	}
	return p
}

// read fills b from a sliver. What it returns is not proven.
func (p *peer) read(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, b []byte, off int64) error {
	return p.do(ctx, len(b), func(ctx context.Context) error {
		return p.Node.ReadSliver(ctx, id, params, at, b, off)
	})
}

// do runs one request for n bytes of the node and takes note of how it went.
func (p *peer) do(ctx context.Context, n int, request func(context.Context) error) error {
	return p.within(ctx, p.attempt, n, request)
}

func (p *peer) within(ctx context.Context, limit time.Duration, n int, request func(context.Context) error) error {
	if p.slots != nil {
		if err := p.enter(ctx); err != nil {
			return err
		}
		defer func() { <-p.slots }()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
		defer cancel()
	}
	began := time.Now()
	err := request(ctx)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		if context.Cause(ctx) == errOvertaken {
			p.overtaken(time.Since(began))
		}
		return context.Cause(ctx) // whoever asked has gone: nobody's fault
	}
	p.note(n, time.Since(began), err)
	return err
}

// put runs a request that stores something, as insist does.
func (p *peer) put(ctx context.Context, request func(context.Context) error) error {
	return p.insist(ctx, storing*p.attempt, request)
}

// insist runs a request, again if it failed at once for a reason that may pass.
// Whoever keeps failing or does not answer is not waited for: that would be for
// each blob.
func (p *peer) insist(ctx context.Context, limit time.Duration, request func(context.Context) error) error {
	for wait, try := firstWait, 1; ; wait, try = 2*wait, try+1 {
		began := time.Now()
		err := p.within(ctx, limit, 0, request)
		if err == nil || !p.Remote || try == tries || !node.Transient(err) || ctx.Err() != nil ||
			time.Since(began) > p.attempt/2 || p.standing() != 0 {
			return err
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
			return err
		}
	}
}

// enter waits for one of the node's slots.
func (p *peer) enter(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
	default:
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if p.standing() == 1 { // those before this request found it so
			<-p.slots
			return errResting
		}
	}
	// After a rest one request tries; until it has an answer, others go
	// around.
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.failures >= failuresAllowed && now.After(p.restedAt) {
		p.restedAt = now.Add(p.attempt)
	}
	return nil
}

func (p *peer) note(n int, took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.stats
	s.Requests++
	switch {
	case err == nil:
		s.Bytes += int64(n)
		p.answered(took)
	case errors.Is(err, fs.ErrNotExist):
		s.Absent++
		p.answered(took)
	default:
		s.Errors++
		s.LastError, s.lastErrorAt = err.Error(), time.Now()
		p.fail()
	}
}

// overtaken notes that a request was given up after so long, because another
// way had the bytes. It is a failure, or a node that never answers would get
// another chance with each read.
func (p *peer) overtaken(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Requests++
	p.stats.Overtaken++
	p.observe(took) // it would have taken at least that
	if p.fail(); p.failures >= failuresAllowed {
		p.stats.LastError, p.stats.lastErrorAt = fmt.Sprintf("no answer within %v, when another way had it", took.Round(time.Millisecond)), time.Now()
	}
}

// fail counts a failure in a row. mu is held.
func (p *peer) fail() {
	if p.failures++; p.failures >= failuresAllowed && p.Remote {
		p.rest = min(max(restFirst, 2*p.rest), restMost)
		p.restedAt = time.Now().Add(p.rest)
	}
}

// answered ends failures in a row. mu is held.
func (p *peer) answered(took time.Duration) {
	p.failures, p.rest, p.restedAt = 0, 0, time.Time{}
	p.observe(took)
}

// observe notes how long an answer took. mu is held.
func (p *peer) observe(took time.Duration) {
	p.times[p.answers%int64(len(p.times))] = took
	if p.answers++; p.answers < 8 || p.answers%8 == 0 {
		n := int(min(p.answers, int64(len(p.times))))
		t := slices.Sorted(slices.Values(p.times[:n]))
		p.p50, p.p95 = t[n/2], t[n*95/100]
	}
}

// lied notes that the node served something that proved false.
func (p *peer) lied(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Lies++
	p.stats.LastError, p.stats.lastErrorAt = err.Error(), time.Now()
	if p.Remote && p.stats.Lies >= liesAllowed { // a disk at hand rots here and there; it does not choose to
		p.parole = min(max(paroleFirst, 2*p.parole), paroleMost)
		p.paroleTo = time.Now().Add(p.parole)
	}
}

// standing orders nodes by whether they may be asked: 0 as they come, 1 after
// others since they fail, 2 last of all since they lie.
func (p *peer) standing() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case now.Before(p.paroleTo):
		return 2
	case now.Before(p.restedAt):
		return 1
	}
	return 0
}

// hedge returns after how long another way is tried beside the node: its own
// 95th percentile.
func (p *peer) hedge() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(hedgeFloor, p.p95)
}

// lags reports whether a node takes far longer than the others do: then ways
// without it are tried first.
func (c *Client) lags(p *peer) bool {
	p.mu.Lock()
	own := p.p50
	p.mu.Unlock()
	if !p.Remote || own <= hedgeFloor {
		return false
	}
	var others []time.Duration
	for _, o := range c.peers {
		if o == p || !o.Remote {
			continue
		}
		o.mu.Lock()
		if o.answers > 0 {
			others = append(others, o.p50)
		}
		o.mu.Unlock()
	}
	if len(others) == 0 {
		return false
	}
	slices.Sort(others)
	return own > lagging*others[len(others)/2]
}

// Nodes returns how the members have behaved, in order of preference.
func (c *Client) Nodes() []NodeStats {
	var all []NodeStats
	now := time.Now()
	for _, p := range c.peers {
		p.mu.Lock()
		s := p.stats
		s.Name = p.Name
		s.P50, s.P95 = p.p50, p.p95
		s.Resting = max(0, p.restedAt.Sub(now))
		s.Quarantined = max(0, p.paroleTo.Sub(now))
		if s.LastError != "" {
			s.LastErrorAge = now.Sub(s.lastErrorAt)
		}
		p.mu.Unlock()
		all = append(all, s)
	}
	return all
}

// inOrder returns the members, those in good standing first.
func (c *Client) inOrder() []*peer {
	return byStanding(slices.Clone(c.peers))
}

// holders returns who may have a sliver and is not known to have it wrong,
// those in good standing first.
func (c *Client) holders(h *health, id walrus.BlobID, params walrus.Params, at walrus.SliverID) []*peer {
	var all []*peer
	for _, p := range c.peers {
		if p.mayHave(id, params, at) && !h.bad(p, at) {
			all = append(all, p)
		}
	}
	return byStanding(all)
}

// sound returns the holders if the first of them neither fails nor lies.
func (c *Client) sound(h *health, id walrus.BlobID, params walrus.Params, at walrus.SliverID) []*peer {
	if all := c.holders(h, id, params, at); len(all) > 0 && all[0].standing() == 0 {
		return all
	}
	return nil
}

func byStanding(peers []*peer) []*peer {
	if len(peers) > 1 {
		slices.SortStableFunc(peers, func(a, b *peer) int { return cmp.Compare(a.standing(), b.standing()) })
	}
	return peers
}
