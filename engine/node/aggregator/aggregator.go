// Package aggregator reads blobs of an aggregator or a CDN: a node that has the
// systematic rows only and no metadata.
//
// Aggregators send bytes of blobs, not slivers, and so do caches in front of
// them. Since primary slivers below K1 are consecutive slices of the blob, a
// part of one is a part of the blob, and is proven as if a node had sent it.
//
// # What it asks of the server
//
// It speaks the HTTP API of Walrus aggregators, over which three ways lead to a
// part of a blob, the later ones taken where those before are not there:
//
//	GET /v1/blobs/ID                             Range: bytes=A-B, closed, of one span: 206
//	GET /v1/blobs/ID/byte-range?start=&length=   200, so that caches keep it
//	GET /v1/blobs/ID                             200: the whole blob
//
// Which way a server knows is remembered for ten minutes. Of a server that only
// sends whole blobs they are kept for as long, in temporary files that have no
// name, at most 512 MiB of them at a time and no larger blob.
package aggregator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

var _ node.Store = (*Store)(nil)

// remembered is for how long it is believed which way a server knows, and what
// it sent whole: it may be another tomorrow.
const remembered = 10 * time.Minute

// A way is one in which a server sends parts of blobs.
type way int

const (
	byRange way = iota // the first, tried again when what is remembered is old
	byQuery
	byWhole
)

// Store is a node.Store behind the HTTP API of aggregators. Nothing it returns
// is proven. Metadata it has none, and it stores nothing.
type Store struct {
	at     *node.Endpoint
	wholes *wholes

	mu    sync.Mutex // guards what follows
	way   way
	since time.Time // way is known
}

// New returns the aggregator at url, which begins with http:// or https://. It
// does not connect. Whoever is done with it closes it.
func New(nw *node.Network, url string) (*Store, error) {
	at, err := node.NewEndpoint(nw, url, nil)
	if err != nil {
		return nil, fmt.Errorf("address of an aggregator: %w", err)
	}
	return &Store{at: at, wholes: newWholes(at)}, nil
}

// String returns the URL.
func (s *Store) String() string { return s.at.String() }

// Close ends what is being fetched, and forgets what was.
func (s *Store) Close() { s.wholes.close() }

// Status asks the server how it is. Whether it is an aggregator can be told by
// the path alone: a cache has no status of its own, and answers with a
// node.StatusError.
func (s *Store) Status(ctx context.Context) (string, error) {
	resp, err := s.at.Send(ctx, node.Request{Method: http.MethodGet, Path: "/status"})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := node.ReadAnswer(resp, maxStatus)
	return string(body), err
}

// maxStatus bounds what a server says of itself.
const maxStatus = 256

var errNoMetadata = fmt.Errorf("aggregators have no metadata: %w", fs.ErrNotExist)

// Metadata implements node.Store: there is none.
func (s *Store) Metadata(_ context.Context, id walrus.BlobID) ([]byte, error) {
	return nil, fmt.Errorf("metadata of blob %s: %w", id, errNoMetadata)
}

var errReadOnly = fmt.Errorf("aggregators are only read from: %w", fs.ErrPermission)

// PutMetadata implements node.Store: it refuses.
func (s *Store) PutMetadata(_ context.Context, id walrus.BlobID, _ []byte) error {
	return fmt.Errorf("storing metadata of blob %s: %w", id, errReadOnly)
}

// PutSliver implements node.Store: it refuses.
func (s *Store) PutSliver(_ context.Context, id walrus.BlobID, _ walrus.Params, at walrus.SliverID, _ []byte) error {
	return fmt.Errorf("storing %s of blob %s: %w", at, id, errReadOnly)
}

// ReadSliver implements node.Store. Bytes behind the end of the blob are zero
// and not asked for.
func (s *Store) ReadSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	err := node.CheckRange(params, at, len(p), off)
	if err == nil && (at.Axis != walrus.Primary || at.Index >= params.K1) {
		err = fmt.Errorf("aggregators have the bytes of blobs, and no others: %w", fs.ErrNotExist)
	}
	if err == nil {
		first := int64(at.Index)*int64(params.SliverLen(walrus.Primary)) + off
		n := max(0, min(int64(len(p)), int64(params.Size)-first))
		clear(p[n:])
		if n > 0 {
			err = s.read(ctx, id, int64(params.Size), p[:n], first)
		}
	}
	if err != nil {
		return fmt.Errorf("%s of blob %s at %d: %w", at, id, off, err)
	}
	return nil
}

// read fills p with bytes from first on of a blob of size bytes, in the way that
// is known, or in the first that is there.
func (s *Store) read(ctx context.Context, id walrus.BlobID, size int64, p []byte, first int64) error {
	w := s.known()
	if w == byRange {
		err := s.readRange(ctx, id, size, p, first)
		if !errors.Is(err, errOtherWay) {
			return err
		}
	}
	if w != byWhole {
		err := s.readQuery(ctx, id, p, first, w == byQuery)
		if !errors.Is(err, errOtherWay) {
			if err == nil && w != byQuery {
				s.remember(byQuery)
			}
			return err
		}
		s.remember(byWhole)
	}
	return s.wholes.read(ctx, id, size, p, first)
}

// errOtherWay says that a server does not know a way.
var errOtherWay = errors.New("the server sends parts of blobs in another way")

func (s *Store) known() way {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.since) > remembered {
		s.way = byRange
	}
	return s.way
}

func (s *Store) remember(w way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.way, s.since = w, time.Now()
}

func (s *Store) readRange(ctx context.Context, id walrus.BlobID, size int64, p []byte, first int64) error {
	req := node.Request{Method: http.MethodGet, Path: blobPath(id), Header: node.ByteRange(first, int64(len(p)))}
	resp, err := s.at.Send(ctx, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		return node.ReadPart(resp, p, first, size)
	case resp.StatusCode == http.StatusOK && int64(len(p)) == size:
		return node.ReadExactly(resp, p) // all of it was asked for
	case resp.StatusCode == http.StatusOK:
		return errOtherWay
	}
	return node.StatusOf(resp)
}

// readQuery is readRange by another path. sure says that the server has that
// path.
func (s *Store) readQuery(ctx context.Context, id walrus.BlobID, p []byte, first int64, sure bool) error {
	path := fmt.Sprintf("%s/byte-range?start=%d&length=%d", blobPath(id), first, len(p))
	resp, err := s.at.Send(ctx, node.Request{Method: http.MethodGet, Path: path})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	known := sure || resp.StatusCode == http.StatusOK && resp.ContentLength == int64(len(p))
	if resp.StatusCode == http.StatusOK {
		err = node.ReadExactly(resp, p)
	} else {
		err = node.StatusOf(resp)
	}
	var status *node.StatusError
	if err != nil && !known && ctx.Err() == nil && (!errors.As(err, &status) || !node.Transient(err)) {
		return errOtherWay // the blob is there: the server has just begun to send it
	}
	return err
}

func blobPath(id walrus.BlobID) string { return "/v1/blobs/" + id.String() }
