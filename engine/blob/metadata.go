package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

// ErrNoMetadata says that all members have rows and nothing else, so that there
// is nobody to ask for metadata.
var ErrNoMetadata = errors.New("no node is named that has metadata")

// Metadata returns a blob's metadata, proven against its id, from the first
// member that has it. While a remote one does not answer the next is asked. An
// error wraps fs.ErrNotExist if all say they have none. Those that have only rows
// are not asked.
func (c *Client) Metadata(ctx context.Context, id walrus.BlobID) (*walrus.Metadata, error) {
	type answer struct {
		p    *peer
		meta *walrus.Metadata
		err  error
	}
	peers := slices.DeleteFunc(c.inOrder(), func(p *peer) bool { return p.Rows })
	if len(peers) == 0 && len(c.peers) > 0 {
		return nil, fmt.Errorf("%w: metadata of blob %s: %w", ErrUnavailable, id, ErrNoMetadata)
	}
	answers := make(chan answer) // from each who is asked
	asking, stop := context.WithCancelCause(ctx)
	next, asked := 0, 0 // of peers; of whom no answer came yet
	defer func() {
		for stop(errOvertaken); asked > 0; asked-- {
			<-answers
		}
	}()
	var errs []error
	for next < len(peers) || asked > 0 {
		var patience <-chan time.Time
		switch {
		case next == len(peers):
		case asked == 0:
			patience = time.After(0)
		case peers[next-1].Remote:
			patience = time.After(peers[next-1].hedge())
		}
		select {
		case <-patience:
			p := peers[next]
			next, asked = next+1, asked+1
			go func() {
				meta, err := c.metadataOf(asking, p, id)
				answers <- answer{p, meta, err}
			}()
		case a := <-answers:
			asked--
			if a.err == nil {
				return a.meta, nil
			}
			if ctx.Err() != nil {
				return nil, c.late(context.Cause(ctx))
			}
			errs = append(errs, fmt.Errorf("%s: %w", a.p.Name, a.err))
		}
	}
	return nil, fmt.Errorf("%w: no node has the metadata of blob %s: %w", unavailable(errs), id, errors.Join(errs...))
}

// metadataOf returns a blob's metadata from one node, proven.
func (c *Client) metadataOf(ctx context.Context, p *peer, id walrus.BlobID) (*walrus.Metadata, error) {
	var data []byte
	err := p.do(ctx, 0, func(ctx context.Context) (err error) {
		data, err = p.Node.Metadata(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	meta, err := walrus.ProveMetadata(id, data)
	if err != nil {
		p.lied(err)
		c.log.Warn("node served false metadata", "node", p.Name, "blob", id.String(),
			"evidence", c.accuseOfMetadata(p, id, data, err), "error", err)
	}
	return meta, err
}

// unavailable returns the class of a failure of all members: that there is no
// such blob, if all say so.
func unavailable(errs []error) error {
	for _, err := range errs {
		if !errors.Is(err, fs.ErrNotExist) {
			return ErrUnavailable
		}
	}
	return fs.ErrNotExist
}
