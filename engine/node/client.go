package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

var _ Store = (*Client)(nil)

// A Client is a Store behind the HTTP API of storage nodes. What comes back is
// bounded by what can come back, in bytes and in time, and is not proven.
type Client struct {
	url  string // without a slash at its end
	nw   *Network
	host *host
	rt   http.RoundTripper

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
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("address of a node: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("%s is no address of a node: want http://HOST:PORT or https://HOST:PORT", u.Redacted())
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("address of a node: %s has more than host and path", u.Redacted())
	case opts.Key != nil && u.Scheme != "https":
		return nil, fmt.Errorf("%s: only with https:// can a node prove its key", u)
	}
	return &Client{
		url:  strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"),
		nw:   nw,
		host: nw.host(u.Scheme + "://" + u.Host),
		rt:   nw.transport(opts.Key),
	}, nil
}

// String returns the node's URL.
func (c *Client) String() string { return c.url }

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
	err := checkRange(params, at, len(p), off)
	if err == nil && len(p) > 0 {
		err = c.readSliver(ctx, id, params, at, p, off)
	}
	if err != nil {
		return fmt.Errorf("%s of blob %s at %d: %w", at, id, off, err)
	}
	return nil
}

func checkRange(params walrus.Params, at walrus.SliverID, n int, off int64) error {
	size := int64(params.SliverLen(at.Axis))
	switch {
	case at.Index < 0 || at.Index >= params.N:
		return fmt.Errorf("%d shards: %w", params.N, fs.ErrNotExist)
	case off < 0:
		return fmt.Errorf("negative offset: %w", fs.ErrInvalid)
	case off > size || int64(n) > size-off:
		return fmt.Errorf("sliver has %d bytes: %w", size, io.ErrUnexpectedEOF)
	}
	return nil
}

func (c *Client) readSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	header, _ := params.Frame(at)
	total := int64(params.BodyLen(at.Axis))
	first := int64(len(header)) + off
	req := request{method: http.MethodGet, path: sliverPath(id, params, at)}
	whole := len(p) == params.SliverLen(at.Axis)
	if !whole {
		req.rng = fmt.Sprintf("bytes=%d-%d", first, first+int64(len(p))-1)
	}
	resp, err := c.send(ctx, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusPartialContent && !whole:
		c.noRanges.Store(0)
		want := fmt.Sprintf("bytes %d-%d/%d", first, first+int64(len(p))-1, total)
		if got := resp.Header.Get("Content-Range"); got != want {
			return fmt.Errorf("%w: range %q, want %q", ErrProtocol, printable(got), want)
		}
		if err := checkLength(resp, int64(len(p))); err != nil {
			return err
		}
		return readAll(resp.Body, p)
	case resp.StatusCode == http.StatusOK:
		if !whole {
			c.noRanges.Store(time.Now().Add(forgetRanges).UnixNano())
		}
		if err := checkLength(resp, total); err != nil {
			return err
		}
		return readBody(resp.Body, params, at, p, off)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, statusError(resp))
	}
	return statusError(resp)
}

// checkLength refuses an answer that says of itself that it is not want bytes
// long.
func checkLength(resp *http.Response, want int64) error {
	if resp.ContentLength >= 0 && resp.ContentLength != want {
		err := fmt.Errorf("%w: body of %d bytes, want %d", ErrProtocol, resp.ContentLength, want)
		if resp.ContentLength < want {
			err = fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
		}
		return err
	}
	return nil
}

// readAll fills p from r, which must end there.
func readAll(r io.Reader, p []byte) error {
	if _, err := io.ReadFull(r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	var more [1]byte
	switch n, err := io.ReadFull(r, more[:]); {
	case n > 0:
		return fmt.Errorf("%w: body goes on after its end", ErrProtocol)
	case err != io.EOF:
		return err
	}
	return nil
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
	err := checkRange(params, at, len(data), 0)
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
	resp, err := c.send(ctx, request{method: http.MethodGet, path: path})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readAnswer(resp, most)
}

// readAnswer returns the body of a success.
func readAnswer(resp *http.Response, most int64) ([]byte, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp)
	}
	var body bytes.Buffer
	if resp.ContentLength >= 0 {
		if resp.ContentLength > most {
			return nil, fmt.Errorf("%w: body of %d bytes, at most %d can be", ErrProtocol, resp.ContentLength, most)
		}
		body.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(io.LimitReader(resp.Body, most+1)); err != nil {
		return nil, err
	}
	if int64(body.Len()) > most {
		return nil, fmt.Errorf("%w: body of more than %d bytes", ErrProtocol, most)
	}
	return body.Bytes(), nil
}

// put stores a body, given in parts.
func (c *Client) put(ctx context.Context, path string, parts ...[]byte) error {
	resp, err := c.send(ctx, request{method: http.MethodPut, path: path, body: parts})
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
	return statusError(resp)
}

// drained is how much of a body is read for nothing: less than a new
// connection costs.
const drained = 64 << 10

type request struct {
	method, path string
	rng          string   // of bytes, as in the header
	body         [][]byte // in parts
}

// send sends a request and returns the answer, whatever its status. Its body
// fails if it comes too slowly. Whoever gets it closes it.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	select {
	case c.host.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	caller := ctx
	ctx, pace := newPace(ctx, &c.nw.opts, c.host)
	done := func() {
		pace.stop()
		<-c.host.slots
	}
	resp, err := c.roundTrip(ctx, pace, r)
	for err != nil && ctx.Err() == nil && errors.Is(err, errIdle) {
		resp, err = c.roundTrip(ctx, pace, r)
	}
	if err != nil {
		err = explain(caller, ctx, err)
		done()
		return nil, err
	}
	pace.flow()
	resp.Body = &download{ReadCloser: resp.Body, pace: pace, caller: caller, ctx: ctx, done: done}
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: body in encoding %q, which was not asked for", ErrProtocol, printable(e))
	}
	return resp, nil
}

// errIdle says that a body could not be sent over a connection that had been
// idle: the node may have closed it at the same moment. All requests may be
// repeated, and each failure takes one such connection away. Requests without
// a body are repeated by the transport.
var errIdle = errors.New("the connection was idle before")

func (c *Client) roundTrip(ctx context.Context, pace *pace, r request) (*http.Response, error) {
	reused := false
	if r.body != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
		})
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.url+r.path, nil)
	if err != nil {
		return nil, err
	}
	req.Header["User-Agent"] = []string{"floe"}
	if r.rng != "" {
		req.Header["Range"] = []string{r.rng}
	}
	if r.body == nil {
		pace.await(c.nw.opts.Answer)
		return c.rt.RoundTrip(req)
	}
	var parts []io.Reader
	for _, part := range r.body {
		parts = append(parts, bytes.NewReader(part))
		req.ContentLength += int64(len(part))
	}
	req.Body = &upload{io.MultiReader(parts...), pace, c.nw.opts.Store}
	req.Header["Content-Type"] = []string{octets}
	pace.flow()
	resp, err := c.rt.RoundTrip(req)
	if err != nil && reused {
		err = fmt.Errorf("%w: %w", errIdle, err)
	}
	return resp, err
}

// A download is the body of an answer.
type download struct {
	io.ReadCloser
	pace        *pace
	caller, ctx context.Context
	done        func()
}

func (d *download) Read(b []byte) (int, error) {
	n, err := d.ReadCloser.Read(b)
	d.pace.count(n)
	if err != nil && err != io.EOF {
		err = explain(d.caller, d.ctx, err)
	}
	return n, err
}

func (d *download) Close() error {
	err := d.ReadCloser.Close()
	if d.done != nil {
		d.done()
		d.done = nil
	}
	return err
}

// explain returns why a request under ctx failed: because the caller gave up,
// because it did not get on, or because of err.
func explain(caller, ctx context.Context, err error) error {
	if caller.Err() != nil {
		return context.Cause(caller)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return shortError{err}
}

// A shortError is an error whose text, of which a part may be a node's, is
// fit for a log.
type shortError struct{ error }

func (e shortError) Error() string { return printable(e.error.Error()) }
func (e shortError) Unwrap() error { return e.error }
