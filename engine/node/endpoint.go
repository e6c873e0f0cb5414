package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"github.com/floefs/floe/engine/walrus"
)

// An Endpoint is a server at a URL, asked under the rules of a Network: what
// speaks another API than that of storage nodes is asked by one too. It is safe
// for concurrent use.
type Endpoint struct {
	url  string // without a slash at its end
	nw   *Network
	host *host
	rt   http.RoundTripper
}

// NewEndpoint returns the server at url, which begins with http:// or https://.
// With a key it may have any certificate of that key; if key is nil it needs
// one that the web's authorities signed. NewEndpoint does not connect.
func NewEndpoint(nw *Network, rawURL string, key *walrus.NetworkPublicKey) (*Endpoint, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("%s is none: want http://HOST:PORT or https://HOST:PORT", u.Redacted())
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s has more than host and path", u.Redacted())
	case key != nil && u.Scheme != "https":
		return nil, fmt.Errorf("%s: only with https:// can a node prove its key", u)
	}
	return &Endpoint{
		url:  strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"),
		nw:   nw,
		host: nw.host(u.Scheme + "://" + u.Host),
		rt:   nw.transport(key),
	}, nil
}

// String returns the URL.
func (e *Endpoint) String() string { return e.url }

// A Request is one to an Endpoint.
type Request struct {
	Method string
	Path   string            // behind the endpoint's URL, with its query
	Header map[string]string // beside what every request has
	Body   [][]byte          // in parts; nil is none
}

// ByteRange is the header that asks for n bytes from first on.
func ByteRange(first, n int64) map[string]string {
	return map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", first, first+n-1)}
}

// Send sends a request and returns the answer, whatever its status. Its body is
// not bounded, and fails if it comes too slowly. Whoever gets it closes it.
func (e *Endpoint) Send(ctx context.Context, r Request) (*http.Response, error) {
	select {
	case e.host.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	caller := ctx
	ctx, pace := newPace(ctx, &e.nw.opts, e.host)
	done := func() {
		pace.stop()
		<-e.host.slots
	}
	resp, err := e.roundTrip(ctx, pace, r)
	for err != nil && ctx.Err() == nil && errors.Is(err, errIdle) {
		resp, err = e.roundTrip(ctx, pace, r)
	}
	if err != nil {
		err = explain(caller, ctx, err)
		done()
		return nil, err
	}
	pace.flow()
	resp.Body = &download{ReadCloser: resp.Body, pace: pace, caller: caller, ctx: ctx, done: done}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: body in encoding %q, which was not asked for", ErrProtocol, printable(coding))
	}
	return resp, nil
}

// errIdle says that a body could not be sent over a connection that had been
// idle: the node may have closed it at the same moment. All requests may be
// repeated, and each failure takes one such connection away. Requests without
// a body are repeated by the transport.
var errIdle = errors.New("the connection was idle before")

func (e *Endpoint) roundTrip(ctx context.Context, pace *pace, r Request) (*http.Response, error) {
	reused := false
	if r.Body != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
		})
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, e.url+r.Path, nil)
	if err != nil {
		return nil, err
	}
	req.Header["User-Agent"] = []string{"floe"}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	if r.Body == nil {
		pace.await(e.nw.opts.Answer)
		return e.rt.RoundTrip(req)
	}
	var parts []io.Reader
	for _, part := range r.Body {
		parts = append(parts, bytes.NewReader(part))
		req.ContentLength += int64(len(part))
	}
	req.Body = &upload{io.MultiReader(parts...), pace, e.nw.opts.Store}
	req.Header["Content-Type"] = []string{octets}
	pace.flow()
	resp, err := e.rt.RoundTrip(req)
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

// ReadAnswer returns the body of a success, of at most most bytes.
func ReadAnswer(resp *http.Response, most int64) ([]byte, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, StatusOf(resp)
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

// ReadPart fills p with the body of a 206 answer, which must be the bytes from
// first on of total, just as many.
func ReadPart(resp *http.Response, p []byte, first, total int64) error {
	want := fmt.Sprintf("bytes %d-%d/%d", first, first+int64(len(p))-1, total)
	if got := resp.Header.Get("Content-Range"); got != want {
		return fmt.Errorf("%w: range %q, want %q", ErrProtocol, printable(got), want)
	}
	return ReadExactly(resp, p)
}

// ReadExactly fills p with the body of an answer, which must be just as long.
func ReadExactly(resp *http.Response, p []byte) error {
	if err := checkLength(resp, int64(len(p))); err != nil {
		return err
	}
	return readAll(resp.Body, p)
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

// drained is how much of a body is read for nothing: less than a new
// connection costs.
const drained = 64 << 10
