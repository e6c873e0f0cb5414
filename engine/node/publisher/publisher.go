// Package publisher writes blobs through a publisher or an upload relay.
//
// Both take the bytes of a blob, encode it, and store its slivers on the nodes
// of Walrus. A Publisher also registers and certifies the blob on Sui, and pays
// for it. A Relay does not: blobs it takes have been registered by somebody
// else, and what it returns is the certificate with which somebody else
// certifies them. Neither is trusted with the blob's id, which is known before;
// that the blob is stored is their word, and for a relay the word of those who
// signed.
//
// Both are publish.Sinks.
package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

// ErrOtherID says that a blob got another id than it has: it was encoded for
// another number of shards.
var ErrOtherID = errors.New("encoded for another number of shards")

// Options are the settings of a Publisher; nil and zero mean the defaults.
type Options struct {
	Epochs int    // for how many epochs blobs are to be stored: default 1
	Token  string // that allows to publish, a JSON web token: default none
}

// A Publisher stores blobs through the HTTP API of Walrus publishers. It asks
// for permanent ones: the publisher owns what it registers, and could take back
// what is deletable. It is safe for concurrent use.
type Publisher struct {
	sender
	path   string
	header map[string]string

	mu    sync.Mutex // guards what follows
	until walrus.Epoch
}

// New returns the publisher at url, which begins with http:// or https://. It
// does not connect. nw should have patience: the answer to a blob comes when it
// is stored and certified.
func New(nw *node.Network, url string, opts *Options) (*Publisher, error) {
	at, err := node.NewEndpoint(nw, url, nil)
	if err != nil {
		return nil, fmt.Errorf("address of a publisher: %w", err)
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	p := &Publisher{
		sender: newSender(at), header: bodyHeader(),
		path: "/v1/blobs?permanent=true&epochs=" + strconv.Itoa(max(1, o.Epochs)),
	}
	if o.Token != "" {
		p.header["Authorization"] = "Bearer " + o.Token
	}
	return p, nil
}

// Until returns the epoch before which all blobs that were put are stored; 0 if
// none was.
func (p *Publisher) Until() walrus.Epoch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until
}

// Put implements publish.Sink. A blob that is certified for long enough already
// is not stored, nor paid for, again.
func (p *Publisher) Put(ctx context.Context, b *walrus.Encoded) error {
	body, err := p.send(ctx, node.Request{Method: http.MethodPut, Path: p.path, Header: p.header, Body: parts(b)})
	if err != nil {
		return fmt.Errorf("%s: %w", p.at, err)
	}
	got, err := parseStored(body)
	if err != nil {
		return fmt.Errorf("%s: %w", p.at, err)
	}
	if got.id != b.ID {
		return fmt.Errorf("%s stored it as blob %s: %w than %d", p.at, got.id, ErrOtherID, b.Params.N)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == 0 || got.end < p.until {
		p.until = got.end
	}
	return nil
}

// A stored is what a publisher says of a blob.
type stored struct {
	id  walrus.BlobID
	end walrus.Epoch // from which on it is not stored any more
}

// parseStored parses the answer of a publisher that has stored a blob.
func parseStored(body []byte) (stored, error) {
	var form struct {
		New *struct {
			Blob struct {
				ID        walrus.BlobID `json:"blobId"`
				Deletable bool          `json:"deletable"`
				Storage   struct {
					End walrus.Epoch `json:"endEpoch"`
				} `json:"storage"`
			} `json:"blobObject"`
		} `json:"newlyCreated"`
		Old *struct {
			ID  walrus.BlobID `json:"blobId"`
			End walrus.Epoch  `json:"endEpoch"`
		} `json:"alreadyCertified"`
	}
	if err := json.Unmarshal(body, &form); err != nil {
		return stored{}, fmt.Errorf("%w: %w", node.ErrProtocol, err)
	}
	var s stored
	switch {
	case (form.New == nil) == (form.Old == nil):
		return s, fmt.Errorf("%w: the blob is neither created nor certified already", node.ErrProtocol)
	case form.New != nil && form.New.Blob.Deletable:
		return s, fmt.Errorf("%w: the blob was stored as one that can be deleted", node.ErrProtocol)
	case form.New != nil:
		s = stored{form.New.Blob.ID, form.New.Blob.Storage.End}
	default:
		s = stored{form.Old.ID, form.Old.End}
	}
	if s.id == (walrus.BlobID{}) || s.end == 0 {
		return s, fmt.Errorf("%w: no blob id, or no epoch until which it is stored", node.ErrProtocol)
	}
	return s, nil
}
