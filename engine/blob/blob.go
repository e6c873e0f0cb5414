// Package blob reads and writes one blob on many nodes: it picks nodes,
// decodes around those that fail, and names those that lie.
//
// Reads are systematic first: a range of a blob is a range of one or two
// primary slivers, asked for as it is and not decoded. If a sliver is missing
// or known to be false, the same range is computed from the same range of
// enough others. Neither is proven here: the reader proves what it gets by
// content hashes, and calls Recheck if that fails. Then whole slivers are
// proven against the blob's metadata, and the false ones are remembered.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

// ErrUnavailable says that too few good slivers could be read.
var ErrUnavailable = errors.New("not enough slivers")

// A Member is one node of a committee.
type Member struct {
	Name string // what errors and logs call it
	Node node.Store

	// Near says that reading from the node costs no more than reading from a
	// cache would, so that caching what it returns gains nothing.
	Near bool
}

// Options are a Client's settings; nil and zero mean the defaults.
type Options struct {
	Logger *slog.Logger // default: silent
}

// Client reads and writes blobs on its members, each of which may hold any
// sliver. It is safe for concurrent use.
type Client struct {
	members []Member
	log     *slog.Logger

	mu     sync.Mutex // guards health
	health map[walrus.BlobID]*health
}

// New returns a client of members, in order of preference. With none, every
// read fails: that is what being offline is.
func New(members []Member, opts *Options) *Client {
	c := &Client{members: members, log: slog.New(slog.DiscardHandler), health: make(map[walrus.BlobID]*health)}
	if opts != nil && opts.Logger != nil {
		c.log = opts.Logger
	}
	return c
}

// Metadata returns a blob's metadata, proven against its id, from the first
// member that has it.
func (c *Client) Metadata(ctx context.Context, id walrus.BlobID) (*walrus.Metadata, error) {
	var errs []error
	for _, m := range c.members {
		data, err := m.Node.Metadata(ctx, id)
		if err == nil {
			var meta *walrus.Metadata
			if meta, err = walrus.ProveMetadata(id, data); err == nil {
				return meta, nil
			}
			c.log.Warn("node served false metadata", "node", m.Name, "blob", id.String(), "error", err)
		}
		errs = append(errs, fmt.Errorf("%s: %w", m.Name, err))
	}
	return nil, fmt.Errorf("%w: no node has the metadata of blob %s: %w", unavailable(errs), id, errors.Join(errs...))
}

// unavailable returns the class of a failure of all members: that there is no
// such blob, if all say so.
func unavailable(errs []error) error {
	for _, err := range errs {
		if !errors.Is(err, fs.ErrNotExist) {
			return ErrUnavailable
		}
	}
	if len(errs) == 0 {
		return ErrUnavailable
	}
	return fs.ErrNotExist
}

// primary reads bytes of a primary sliver from the first member that has
// them. near is that member's.
func (c *Client) primary(ctx context.Context, id walrus.BlobID, params walrus.Params, row int, p []byte, off int64) (near bool, err error) {
	err = fmt.Errorf("no node to ask: %w", fs.ErrNotExist)
	for _, m := range c.members {
		if err = m.Node.ReadSliver(ctx, id, params, walrus.SliverID{Axis: walrus.Primary, Index: row}, p, off); err == nil {
			return m.Near, nil
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
	}
	return false, err
}

// health is what is known of a blob's primary slivers. It is a hint for
// choosing whom to ask: what is read is proven in any case.
type health struct {
	mu   sync.Mutex // guards what follows
	meta *walrus.Metadata
	rows map[int]verdict
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
		h = &health{rows: make(map[int]verdict)}
		c.health[id] = h
	}
	return h
}

func (h *health) bad(row int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.rows[row]
	return ok && !v.good && time.Since(v.at) < forgiven
}

func (h *health) good(row int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rows[row].good
}

func (h *health) set(row int, good bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rows[row] = verdict{good, time.Now()}
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
