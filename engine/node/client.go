package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

var _ Store = (*Client)(nil)

// A Client is a Store behind the HTTP API of storage nodes. What comes back is
// bounded by what can come back, in bytes and in time, and is not proven.
type Client struct {
	at *Endpoint

	// noRanges is until when the node is taken for one that sends only whole
	// slivers, in Unix nanoseconds.
	noRanges atomic.Int64
}

// ClientOptions are the settings of one Client; nil and zero mean the
// defaults.
type ClientOptions struct {
	// Key is the node's network key. With it the node may have any certificate
	// of that key; without, it needs one that the web's authorities signed.
	Key *walrus.NetworkPublicKey
}

// NewClient returns a client of the node at url, which begins with http:// or
// https://. It does not connect.
func NewClient(nw *Network, rawURL string, opts *ClientOptions) (*Client, error) {
	if opts == nil {
		opts = new(ClientOptions)
	}
	at, err := NewEndpoint(nw, rawURL, opts.Key)
	if err != nil {
		return nil, fmt.Errorf("address of a node: %w", err)
	}
	return &Client{at: at}, nil
}

// String returns the node's URL.
func (c *Client) String() string { return c.at.String() }

// forgetRanges is after how long a node that sent a whole sliver for a part of
// it is asked for parts again.
const forgetRanges = 10 * time.Minute

// Ranges reports whether the node is believed to send parts of slivers. Of one
// that does not, whoever wants a part fetches all, and had better keep it.
func (c *Client) Ranges() bool { return time.Now().UnixNano() >= c.noRanges.Load() }

// Metadata implements Store.
func (c *Client) Metadata(ctx context.Context, id walrus.BlobID) ([]byte, error) {
	data, err := c.metadata(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("metadata of blob %s: %w", id, err)
	}
	return data, nil
}

func (c *Client) metadata(ctx context.Context, id walrus.BlobID) ([]byte, error) {
	body, err := c.get(ctx, blobPath(id)+"/metadata", int64(len(id))+walrus.MaxMetadata)
	if err != nil {
		return nil, err
	}
	put, ok := bytes.CutPrefix(body, id[:])
	if !ok {
		return nil, fmt.Errorf("%w: metadata of another blob", ErrProtocol)
	}
	return put, nil
}

// ReadSliver implements Store.
func (c *Client) ReadSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	err := CheckRange(params, at, len(p), off)
	if err == nil && len(p) > 0 {
		err = c.readSliver(ctx, id, params, at, p, off)
	}
	if err != nil {
		return fmt.Errorf("%s of blob %s at %d: %w", at, id, off, err)
	}
	return nil
}

func (c *Client) readSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	header, _ := params.Frame(at)
	total := int64(params.BodyLen(at.Axis))
	first := int64(len(header)) + off
	req := Request{Method: http.MethodGet, Path: sliverPath(id, params, at)}
	whole := len(p) == params.SliverLen(at.Axis)
	if !whole {
		req.Header = ByteRange(first, int64(len(p)))
	}
	resp, err := c.at.Send(ctx, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusPartialContent && !whole:
		c.noRanges.Store(0)
		return ReadPart(resp, p, first, total)
	case resp.StatusCode == http.StatusOK:
		if !whole {
			c.noRanges.Store(time.Now().Add(forgetRanges).UnixNano())
		}
		if err := checkLength(resp, total); err != nil {
			return err
		}
		return readBody(resp.Body, params, at, p, off)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, StatusOf(resp))
	}
	return StatusOf(resp)
}

// readBody fills p from offset off on of the sliver that body r holds. It reads
// no more of it than it needs, and a little that keeps the connection usable.
func readBody(r io.Reader, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	header, footer := params.Frame(at)
	frame := make([]byte, max(len(header), len(footer)))
	got := frame[:len(header)]
	if err := readPart(r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, header) {
		return fmt.Errorf("%w: body does not begin like that of a sliver of %d bytes", ErrProtocol, params.SliverLen(at.Axis))
	}
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		return unexpected(err)
	}
	if err := readPart(r, p); err != nil {
		return err
	}
	rest := int64(params.SliverLen(at.Axis)) - off - int64(len(p))
	if rest > drained {
		return nil
	}
	if _, err := io.CopyN(io.Discard, r, rest); err != nil {
		return unexpected(err)
	}
	got = frame[:len(footer)]
	if err := readAll(r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, footer) {
		return fmt.Errorf("%w: body ends like that of another sliver", ErrProtocol)
	}
	return nil
}

func readPart(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	return unexpected(err)
}

// unexpected makes the end of a body an error: more was to come.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// PutMetadata implements Store.
func (c *Client) PutMetadata(ctx context.Context, id walrus.BlobID, data []byte) error {
	if err := c.put(ctx, blobPath(id)+"/metadata", data); err != nil {
		return fmt.Errorf("storing metadata of blob %s: %w", id, err)
	}
	return nil
}

// PutSliver implements Store. The node must have the blob's metadata.
func (c *Client) PutSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, data []byte) error {
	err := CheckRange(params, at, len(data), 0)
	if err == nil {
		header, footer := params.Frame(at)
		err = c.put(ctx, sliverPath(id, params, at), header, data, footer)
	}
	if err != nil {
		return fmt.Errorf("storing %s of blob %s: %w", at, id, err)
	}
	return nil
}

func blobPath(id walrus.BlobID) string { return "/v1/blobs/" + id.String() }

func sliverPath(id walrus.BlobID, params walrus.Params, at walrus.SliverID) string {
	return blobPath(id) + "/slivers/" + strconv.Itoa(at.Pair(params.N)) + "/" + at.Axis.String()
}

// get returns the body that a path has, of at most most bytes.
func (c *Client) get(ctx context.Context, path string, most int64) ([]byte, error) {
	resp, err := c.at.Send(ctx, Request{Method: http.MethodGet, Path: path})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return ReadAnswer(resp, most)
}

// put stores a body, given in parts.
func (c *Client) put(ctx context.Context, path string, parts ...[]byte) error {
	resp, err := c.at.Send(ctx, Request{Method: http.MethodPut, Path: path, Body: parts})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated:
		io.CopyN(io.Discard, resp.Body, drained)
		return nil
	case http.StatusAccepted:
		// It would be kept in memory until somebody registers the blob.
		return fmt.Errorf("%w: node only buffered it", ErrProtocol)
	}
	return StatusOf(resp)
}
