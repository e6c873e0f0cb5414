package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"time"

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
		k, err := c.readPatiently(ctx, h, id, params, row, part, at)
		if err != nil {
			return false, err
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

// first reads from the holders of a primary sliver, and from the secondary
// slivers beside them if the first holder is slower than it usually is.
func (c *Client) first(ctx context.Context, h *health, holders []*peer, id walrus.BlobID, params walrus.Params, row int, p []byte, off int64) (near bool, err error) {
	if !holders[0].Remote {
		return c.ask(ctx, h, holders, id, params, primary(row), p, off)
	}
	direct, stopDirect := context.WithCancel(ctx)
	defer stopDirect()
	done := make(chan error, 1)
	go func() {
		_, err := c.ask(direct, h, holders, id, params, primary(row), p, off)
		done <- err
	}()
	timer := time.NewTimer(holders[0].hedge())
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
		left, err := c.columns(beside, h, id, params, row, buf, off)
		if err == nil && len(left) > 0 {
			err = ErrUnavailable
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
		stopDirect()
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

// ask reads bytes of a sliver from the first of its holders that has them.
// near is that holder's. A sliver that is not there is remembered.
func (c *Client) ask(ctx context.Context, h *health, holders []*peer, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) (near bool, err error) {
	err = fmt.Errorf("nobody has it: %w", fs.ErrNotExist)
	for _, peer := range holders {
		if err = peer.read(ctx, id, params, at, p, off); err == nil {
			return peer.Near, nil
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		// A remote node that failed may have the sliver all the same.
		if !peer.Remote || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) {
			h.set(peer, at, false)
		}
		err = fmt.Errorf("%s: %w", peer.Name, err)
	}
	return false, err
}
