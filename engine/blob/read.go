package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

// tries is how often a read is begun again when too few nodes answered, as
// long as its context lasts: nodes come back.
const (
	tries     = 4
	firstWait = 100 * time.Millisecond // before the second, then doubling, jittered
)

// ReadAt fills p with the blob's bytes from off on. They are not proven. keep
// says that reading them again would cost more than reading them from a
// cache. An error wraps ErrUnavailable and says how many slivers are missing.
func (c *Client) ReadAt(ctx context.Context, id walrus.BlobID, params walrus.Params, p []byte, off int64) (keep bool, err error) {
	h := c.healthOf(id)
	width := int64(params.SliverLen(walrus.Primary))
	for len(p) > 0 {
		row, at := int(off/width), off%width
		part := p[:min(int64(len(p)), width-at)]
		// What was proven false a moment ago has been had another way.
		k := true
		if n := c.stash.proven(id, params, row, part, int(at)); n > 0 {
			part = part[:n]
		} else if k, err = c.readPatiently(ctx, h, id, params, row, part, at); err != nil {
			return false, c.late(err)
		}
		keep = keep || k
		p, off = p[len(part):], off+int64(len(part))
	}
	return keep, nil
}

// readPatiently is readRow, tried again if remote nodes may come back.
func (c *Client) readPatiently(ctx context.Context, h *health, id walrus.BlobID, params walrus.Params, row int, p []byte, off int64) (keep bool, err error) {
	for wait, try := firstWait, 1; ; wait, try = 2*wait, try+1 {
		keep, err = c.readRow(ctx, h, id, params, row, p, off)
		if err == nil || try == tries || !c.remote() || ctx.Err() != nil {
			return keep, err
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
			return false, err
		}
	}
}

// late makes an error that only says that time is up name the nodes that took
// it.
func (c *Client) late(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w in time: %w; nodes that do not answer: %s", ErrUnavailable, err, c.troubled(0))
}

// namedMost is how many nodes an error names.
const namedMost = 4

// troubled names the nodes that fail at the moment, or have failed or lied
// within the time that is past, and says how.
func (c *Client) troubled(past time.Duration) string {
	var names []string
	for _, p := range c.peers {
		p.mu.Lock()
		if p.failures > 0 || p.stats.LastError != "" && time.Since(p.stats.lastErrorAt) < past {
			names = append(names, fmt.Sprintf("%s (%s)", p.Name, p.stats.LastError))
		}
		p.mu.Unlock()
	}
	if more := len(names) - namedMost; more > 0 {
		names = append(names[:namedMost], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// remote reports whether any member is.
func (c *Client) remote() bool {
	for _, p := range c.peers {
		if p.Remote {
			return true
		}
	}
	return false
}

func primary(row int) walrus.SliverID { return walrus.SliverID{Axis: walrus.Primary, Index: row} }

func secondary(col int) walrus.SliverID { return walrus.SliverID{Axis: walrus.Secondary, Index: col} }

// readRow fills p from primary sliver row in one of the three ways.
func (c *Client) readRow(ctx context.Context, h *health, id walrus.BlobID, params walrus.Params, row int, p []byte, off int64) (keep bool, err error) {
	sound := c.sound(h, id, params, primary(row))
	if sound != nil && c.lags(sound[0]) && c.detours.Add(1)%probing != 0 && c.swift(h, id, params, row, len(p), off) {
		if left, err := c.columns(ctx, h, id, params, row, p, off, true); err != nil || len(left) == 0 {
			return true, err
		}
	}
	if sound != nil {
		near, err := c.first(ctx, h, sound, id, params, row, p, off)
		if err == nil {
			return !near, nil
		}
		if ctx.Err() != nil {
			return false, err
		}
		c.log.Debug("sliver not readable, going around it", "blob", id.String(), "primary", row, "error", err)
	}
	if err = c.around(ctx, h, id, params, row, p, off); err == nil || ctx.Err() != nil {
		return true, err
	}
	// Whoever rests after failures or lies is better than no one: what it
	// says is proven like all else.
	if sound == nil {
		if _, e := c.ask(ctx, h, c.holders(h, id, params, primary(row)), id, params, primary(row), p, off); e == nil {
			return true, nil
		}
	}
	return false, err
}

// first reads from the holders of a primary sliver, and around them at the
// same time if the first is slower than it usually is.
func (c *Client) first(ctx context.Context, h *health, holders []*peer, id walrus.BlobID, params walrus.Params, row int, p []byte, off int64) (near bool, err error) {
	if !holders[0].Remote {
		return c.ask(ctx, h, holders, id, params, primary(row), p, off)
	}
	direct, stopDirect := context.WithCancelCause(ctx)
	defer stopDirect(nil)
	done := make(chan error, 1)
	go func() {
		_, err := c.ask(direct, h, holders, id, params, primary(row), p, off)
		done <- err
	}()
	wait := holders[0].hedge()
	if c.lags(holders[0]) {
		wait = hedgeFloor // its own past is no measure
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case err := <-done:
		return false, err
	case <-timer.C:
	}
	if !c.mayHedge(len(p)) {
		return false, <-done
	}
	beside, stopBeside := context.WithCancel(ctx)
	defer stopBeside()
	buf, other := make([]byte, len(p)), make(chan error, 1)
	go func() {
		left, err := c.columns(beside, h, id, params, row, buf, off, true)
		for _, s := range left {
			// Decoding takes a lot more: seldom.
			if err == nil && !c.mayHedge((params.K1-1)*(s.to-s.from)) {
				err = ErrUnavailable
			}
			if err == nil {
				err = c.decode(beside, h, id, params, row, buf[s.from-int(off):s.to-int(off)], s, false)
			}
		}
		other <- err
	}()
	select {
	case err = <-done:
		if err != nil {
			if err = <-other; err == nil {
				copy(p, buf)
			}
			return false, err
		}
		stopBeside()
		<-other
		return false, nil
	case err = <-other:
		if err != nil {
			return false, <-done
		}
		stopDirect(errOvertaken)
		<-done // it writes to p no more
		copy(p, buf)
		return false, nil
	}
}

// mayHedge reports whether n more bytes may be asked for twice: at most one
// in twenty.
func (c *Client) mayHedge(n int) bool {
	var all int64
	for _, p := range c.peers {
		p.mu.Lock()
		all += p.stats.Bytes
		p.mu.Unlock()
	}
	for {
		used := c.hedged.Load()
		if used+int64(n) > all/20+(1<<20) {
			return false
		}
		if c.hedged.CompareAndSwap(used, used+int64(n)) {
			return true
		}
	}
}

// settled reports whether an error says that p does not have a sliver. A
// remote node that failed or broke off may have it all the same.
func (p *peer) settled(err error) bool {
	return !p.Remote || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) && !node.Transient(err)
}

// ask reads bytes of a sliver from the first of its holders that has them.
// near is that holder's. A sliver that is not there is remembered.
func (c *Client) ask(ctx context.Context, h *health, holders []*peer, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) (near bool, err error) {
	err = fmt.Errorf("nobody has it: %w", fs.ErrNotExist)
	for _, peer := range holders {
		if err = c.read(ctx, peer, id, params, at, p, off); err == nil {
			return peer.Near, nil
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if peer.settled(err) {
			h.set(peer, at, false)
		}
		err = fmt.Errorf("%s: %w", peer.Name, err)
	}
	return false, err
}
