package blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

const (
	// attempt is how long one request to a remote node may take. A read has
	// several before its own deadline.
	attempt = 10 * time.Second

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
)

// errFalse says that a node served bytes that prove false.
var errFalse = merkle.ErrMismatch

// A peer is a member and what is known of how it behaves.
type peer struct {
	Member
	slots chan struct{} // one per request in flight; nil: not limited

	mu       sync.Mutex // guards what follows
	stats    NodeStats
	failures int // in a row
	rest     time.Duration
	restedAt time.Time // until when it is left alone
	parole   time.Duration
	paroleTo time.Time
	times    [64]time.Duration // of the latest requests, a ring
}

// NodeStats is how a node has behaved since the client was made.
type NodeStats struct {
	Name         string
	Requests     int64
	Errors       int64 // requests that failed, what is absent not counted
	Absent       int64 // requests for what the node does not have
	Bytes        int64 // received
	Lies         int64 // slivers and metadata that proved false
	P50, P95     time.Duration
	Resting      time.Duration // left alone for so long after failures
	Quarantined  time.Duration // asked last for so long after lies
	LastError    string
	LastErrorAge time.Duration

	lastErrorAt time.Time
}

func newPeer(m Member) *peer {
	p := &peer{Member: m}
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

// metadata returns a blob's metadata, proven.
func (p *peer) metadata(ctx context.Context, id walrus.BlobID) (meta *walrus.Metadata, err error) {
	var data []byte
	err = p.do(ctx, 0, func(ctx context.Context) error {
		data, err = p.Node.Metadata(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if meta, err = walrus.ProveMetadata(id, data); err != nil {
		p.lied(err)
	}
	return meta, err
}

// do runs one request of the node and takes note of how it went.
func (p *peer) do(ctx context.Context, n int, request func(context.Context) error) error {
	if p.slots != nil {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, attempt, fmt.Errorf("no answer within %v", attempt))
		defer cancel()
	}
	began := time.Now()
	err := request(ctx)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return context.Cause(ctx) // whoever asked has gone: nobody's fault
	}
	p.note(n, time.Since(began), err)
	return err
}

func (p *peer) note(n int, took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.stats
	p.times[s.Requests%int64(len(p.times))] = took
	s.Requests++
	switch {
	case err == nil:
		s.Bytes += int64(n)
		p.failures, p.rest = 0, 0
	case errors.Is(err, fs.ErrNotExist):
		s.Absent++
	default:
		s.Errors++
		s.LastError, s.lastErrorAt = err.Error(), time.Now()
		if p.failures++; p.failures >= failuresAllowed && p.Remote {
			p.rest = min(max(restFirst, 2*p.rest), restMost)
			p.restedAt = time.Now().Add(p.rest)
		}
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
	_, p95 := p.percentiles()
	return max(hedgeFloor, p95)
}

// percentiles returns the median and the 95th percentile of the latest
// requests. mu is held.
func (p *peer) percentiles() (p50, p95 time.Duration) {
	n := int(min(p.stats.Requests, int64(len(p.times))))
	if n == 0 {
		return 0, 0
	}
	t := slices.Clone(p.times[:n])
	slices.Sort(t)
	return t[n/2], t[n*95/100]
}

// Nodes returns how the members have behaved, in order of preference.
func (c *Client) Nodes() []NodeStats {
	var all []NodeStats
	now := time.Now()
	for _, p := range c.peers {
		p.mu.Lock()
		s := p.stats
		s.Name = p.Name
		s.P50, s.P95 = p.percentiles()
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
