package blob

import (
	"context"
	"sync"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

// health is what is known of a blob's slivers. It is a hint for choosing whom
// to ask: what is read is proven in any case.
type health struct {
	mu       sync.Mutex // guards what follows
	meta     *walrus.Metadata
	verdicts map[onNode]verdict
}

// onNode names a sliver on one node: another may have it right.
type onNode struct {
	p  *peer
	at walrus.SliverID
}

type verdict struct {
	good bool
	at   time.Time // of the verdict
}

// forgiven is after how long a sliver that was bad is tried again: it may
// have been repaired.
const forgiven = time.Minute

// maxHealth is for how many blobs verdicts are kept.
const maxHealth = 4096

func (c *Client) healthOf(id walrus.BlobID) *health {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.health[id]
	if h == nil {
		if len(c.health) >= maxHealth {
			clear(c.health)
		}
		h = &health{verdicts: make(map[onNode]verdict)}
		c.health[id] = h
	}
	return h
}

// forget drops what is known of a blob that was just stored: slivers that
// were missing are there now.
func (c *Client) forget(id walrus.BlobID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.health, id)
}

// bad reports whether p does not have a sliver, or has it false.
func (h *health) bad(p *peer, at walrus.SliverID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.verdicts[onNode{p, at}]
	return ok && !v.good && time.Since(v.at) < forgiven
}

// good reports whether p was seen to have a sliver right.
func (h *health) good(p *peer, at walrus.SliverID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.verdicts[onNode{p, at}].good
}

func (h *health) set(p *peer, at walrus.SliverID, good bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.verdicts[onNode{p, at}] = verdict{good, time.Now()}
}

// metadata returns the blob's proven metadata, obtained once.
func (h *health) metadata(ctx context.Context, c *Client, id walrus.BlobID) (*walrus.Metadata, error) {
	h.mu.Lock()
	meta := h.meta
	h.mu.Unlock()
	if meta != nil {
		return meta, nil
	}
	meta, err := c.Metadata(ctx, id)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.meta = meta
	return meta, nil
}
