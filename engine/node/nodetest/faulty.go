package nodetest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

// A Fault is a way in which a node misbehaves.
type Fault string

// The faults there are. Those of a Store are on top, those that only a Node
// can have below.
const (
	None       Fault = ""
	Dead       Fault = "dead"        // resets connections
	Hung       Fault = "hung"        // takes requests and never answers
	Slow       Fault = "slow"        // answers rightly, after a delay
	Truncating Fault = "truncating"  // breaks off in the middle
	Lying      Fault = "lying"       // alters a bit of what it sends
	WrongBlob  Fault = "wrong blob"  // sends the same thing of another blob it has
	WrongShard Fault = "wrong shard" // sends another sliver it has
	Forgetful  Fault = "forgetful"   // denies to have anything
	Failing    Fault = "failing"     // answers that it failed
	Busy       Fault = "busy"        // answers that it has too much to do
	Losing     Fault = "losing"      // does what it is asked to, and breaks off instead of saying so

	Dripping    Fault = "dripping"     // sends a byte at a time, with delays
	Redirecting Fault = "redirecting"  // sends clients elsewhere
	HeaderBomb  Fault = "header bomb"  // sends a megabyte of headers
	HintFlood   Fault = "hint flood"   // sends early hints without end
	GzipBomb    Fault = "gzip bomb"    // sends a short body that is long when unpacked
	Endless     Fault = "endless"      // sends a body without end
	Padding     Fault = "padding"      // sends a byte more than there is
	WrongRange  Fault = "wrong range"  // sends other bytes than were asked for, and says so
	WholeRange  Fault = "whole range"  // sends all where a part is asked for, as it may
	NotHTTP     Fault = "not HTTP"     // sends nonsense
	FalseLength Fault = "false length" // says that a body is a terabyte long
)

// Faults are all faults that a Node can have, but None.
var Faults = []Fault{
	Dead, Hung, Slow, Truncating, Lying, WrongBlob, WrongShard, Forgetful, Failing, Busy, Losing,
	Dripping, Redirecting, HeaderBomb, HintFlood, GzipBomb, Endless, Padding, WrongRange, WholeRange, NotHTTP, FalseLength,
}

// switches is what faulty things have in common.
type switches struct {
	mu    sync.Mutex // guards what follows
	fault Fault
	delay time.Duration
	other []walrus.BlobID // blobs that were stored or asked for

	asked, faults atomic.Int64
}

// Set makes the node misbehave from the next request on. Without a delay,
// Slow takes 100 ms and Dripping 100 ms for a byte.
func (s *switches) Set(f Fault, delay time.Duration) {
	if delay == 0 {
		delay = 100 * time.Millisecond
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.delay = f, delay
}

// Asked returns how many requests came, and Faulted at how many of them the
// node misbehaved.
func (s *switches) Asked() int   { return int(s.asked.Load()) }
func (s *switches) Faulted() int { return int(s.faults.Load()) }

// now returns what to do about a request.
func (s *switches) now() (Fault, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked.Add(1)
	if s.fault != None {
		s.faults.Add(1)
	}
	return s.fault, s.delay
}

// instead returns another blob than id that the node has seen.
func (s *switches) instead(id walrus.BlobID) (walrus.BlobID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.other {
		if o != id {
			return o, true
		}
	}
	return id, false
}

func (s *switches) saw(id walrus.BlobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.other {
		if o == id {
			return
		}
	}
	s.other = append(s.other, id)
}

// A Store misbehaves as another would not.
type Store struct {
	switches
	node.Store

	honest bool // about metadata
}

// NewStore returns a Store that passes everything on to s, until Set.
func NewStore(s node.Store) *Store { return &Store{Store: s} }

// errFailed is what a failing node says.
var errFailed = errors.New("the node failed")

// begin does what is to be done before a request.
func (s *Store) begin(ctx context.Context) (Fault, error) {
	fault, delay := s.now()
	switch fault {
	case Dead:
		return fault, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	case Hung:
		<-ctx.Done()
		return fault, context.Cause(ctx)
	case Slow:
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return fault, context.Cause(ctx)
		}
	case Truncating:
		return fault, io.ErrUnexpectedEOF
	case Forgetful:
		return fault, fmt.Errorf("the node has nothing: %w", fs.ErrNotExist)
	case Failing:
		return fault, errFailed
	case Busy:
		return fault, &node.StatusError{Code: http.StatusServiceUnavailable, Reason: "UNAVAILABLE", RetryAfter: time.Second}
	}
	return fault, nil
}

// end returns the error of a request that was done.
func end(fault Fault, err error) error {
	if err == nil && fault == Losing {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Metadata implements node.Store.
func (s *Store) Metadata(ctx context.Context, id walrus.BlobID) ([]byte, error) {
	fault, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	if fault == WrongBlob && !s.honest {
		id, _ = s.instead(id)
	}
	data, err := s.Store.Metadata(ctx, id)
	if fault == Lying && err == nil {
		lie(data)
	}
	return data, end(fault, err)
}

// ReadSliver implements node.Store.
func (s *Store) ReadSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	fault, err := s.begin(ctx)
	if err != nil {
		return err
	}
	s.saw(id)
	if fault == WrongBlob {
		if o, ok := s.instead(id); ok && s.readAny(ctx, o, params, at, 0, p, off) {
			return nil
		}
	}
	if fault == WrongShard && s.readAny(ctx, id, params, at, 1, p, off) {
		return nil
	}
	err = s.Store.ReadSliver(ctx, id, params, at, p, off)
	if fault == Lying && err == nil {
		lie(p)
	}
	return end(fault, err)
}

// readAny reads from the first sliver that there is from first places behind
// at on.
func (s *Store) readAny(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, first int, p []byte, off int64) bool {
	for i := first; i < params.N; i++ {
		o := walrus.SliverID{Axis: at.Axis, Index: (at.Index + i) % params.N}
		if s.Store.ReadSliver(ctx, id, params, o, p, off) == nil {
			return true
		}
	}
	return false
}

// PutMetadata implements node.Store.
func (s *Store) PutMetadata(ctx context.Context, id walrus.BlobID, data []byte) error {
	fault, err := s.begin(ctx)
	if err != nil {
		return err
	}
	s.saw(id)
	return end(fault, s.Store.PutMetadata(ctx, id, data))
}

// PutSliver implements node.Store.
func (s *Store) PutSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, data []byte) error {
	fault, err := s.begin(ctx)
	if err != nil {
		return err
	}
	return end(fault, s.Store.PutSliver(ctx, id, params, at, data))
}

// lie alters a bit of data, if there is one.
func lie(data []byte) {
	if len(data) > 0 {
		data[len(data)/2] ^= 0x40
	}
}

// A Node is a storage node on the loopback, with faults.
type Node struct {
	switches
	URL string

	inner http.Handler
	wrong *Store // beneath inner; only sends the wrong things. Nil: inner serves no store
	srv   *httptest.Server
	quit  chan struct{} // closed by Close
	once  sync.Once     // for Close
}

// Serve returns a Node that serves s until the test ends.
func Serve(t testing.TB, s node.Store, opts node.HandlerOptions) *Node {
	t.Helper()
	// A handler serves no metadata that it cannot prove; see wrongBlob.
	n := &Node{wrong: &Store{Store: s, honest: true}, quit: make(chan struct{})}
	h, err := node.NewHandler(n.wrong, opts)
	if err != nil {
		t.Fatal(err)
	}
	n.inner = h
	n.srv = httptest.NewServer(n)
	n.URL = n.srv.URL
	t.Cleanup(n.Close)
	return n
}

// Wrap returns a Node that serves h until the test ends: another API, of which
// the paths name blobs as /v1/blobs/ID. It cannot have the fault WrongShard.
func Wrap(t testing.TB, h http.Handler) *Node {
	t.Helper()
	n := &Node{inner: h, quit: make(chan struct{})}
	n.srv = httptest.NewServer(n)
	n.URL = n.srv.URL
	t.Cleanup(n.Close)
	return n
}

// Close ends the node. From then on connections are refused.
func (n *Node) Close() {
	n.once.Do(func() {
		close(n.quit)
		n.srv.CloseClientConnections()
		n.srv.Close()
	})
}

// Set makes the node misbehave from the next request on.
func (n *Node) Set(f Fault, delay time.Duration) {
	n.switches.Set(f, delay)
	if f == GzipBomb {
		gzipBomb() // so that it takes no time later
	}
	if n.wrong == nil {
		return
	}
	if f != WrongBlob && f != WrongShard {
		f = None
	}
	n.wrong.Set(f, delay)
}

// Client returns a client of the node alone.
func (n *Node) Client(t testing.TB, opts *node.NetworkOptions) *node.Client {
	t.Helper()
	if opts == nil {
		opts = new(node.NetworkOptions)
	}
	o := *opts
	o.Nets = node.AnyNet
	nw := node.NewNetwork(&o)
	t.Cleanup(nw.Close)
	c, err := node.NewClient(nw, n.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ServeHTTP implements http.Handler.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault, delay := n.now()
	switch fault {
	case Dead:
		hangUp(w)
	case Hung:
		io.Copy(io.Discard, r.Body)
		n.wait(r, time.Hour)
	case Slow:
		n.wait(r, delay)
		n.inner.ServeHTTP(w, r)
	case Forgetful:
		http.Error(w, `{"error":{"status":"NOT_FOUND","code":404,"message":"no","details":[{"reason":"SLIVER_NOT_FOUND"}]}}`, http.StatusNotFound)
	case Failing:
		http.Error(w, "the node failed", http.StatusInternalServerError)
	case Busy:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "later", http.StatusServiceUnavailable)
	case Losing:
		n.record(r)
		hangUp(w)
	case WrongBlob:
		n.wrongBlob(w, r)
	case Redirecting:
		http.Redirect(w, r, "http://"+r.Host+"/elsewhere", http.StatusTemporaryRedirect)
	case HintFlood:
		for !n.gone(r) {
			w.Header().Set("Link", "</>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
		}
	case NotHTTP:
		if c := hijack(w); c != nil {
			c.Write([]byte("SSH-2.0-OpenSSH_9.9 " + strings.Repeat("\x00\xff\x1b[2J", 5000)))
			c.Close()
		}
	case WholeRange:
		r.Header.Del("Range")
		n.inner.ServeHTTP(w, r)
	case None, WrongShard:
		n.inner.ServeHTTP(w, r)
	default:
		n.spoil(w, r, fault, delay)
	}
}

// spoil sends a spoiled answer.
func (n *Node) spoil(w http.ResponseWriter, r *http.Request, fault Fault, delay time.Duration) {
	answer := n.record(r)
	body := answer.Body.Bytes()
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	send := func() {
		w.WriteHeader(answer.Code)
		w.Write(body)
	}
	switch fault {
	case Lying:
		lie(body)
		send()
	case Truncating:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
		send()
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case Dripping:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(answer.Code)
		for i := range body {
			w.Write(body[i : i+1])
			http.NewResponseController(w).Flush()
			if n.wait(r, delay); n.gone(r) {
				return
			}
		}
	case HeaderBomb:
		for i := range 1024 {
			w.Header().Set(fmt.Sprintf("X-Bomb-%d", i), strings.Repeat("x", 1024))
		}
		send()
	case GzipBomb:
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Del("Content-Length")
		body = gzipBomb()
		send()
	case Endless:
		w.Header().Del("Content-Length")
		send()
		for !n.gone(r) {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	case Padding:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
		body = append(body, 0)
		send()
	case WrongRange:
		if answer.Code == http.StatusPartialContent {
			w.Header().Set("Content-Range", "bytes 0-"+strconv.Itoa(len(body)-1)+"/"+strconv.Itoa(len(body)))
		}
		send()
	case FalseLength:
		w.Header().Set("Content-Length", strconv.Itoa(1<<40))
		send()
		http.NewResponseController(w).Flush()
		n.wait(r, time.Hour)
	}
}

var gzipBomb = sync.OnceValue(func() []byte {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for range 64 {
		z.Write(make([]byte, 1<<20))
	}
	z.Close()
	return packed.Bytes()
})

func (n *Node) record(r *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	n.inner.ServeHTTP(answer, r)
	return answer
}

// wrongBlob answers about another blob; slivers are the inner store's affair.
func (n *Node) wrongBlob(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	seen, swap := &n.switches, len(parts) > 3
	if n.wrong != nil {
		seen, swap = &n.wrong.switches, len(parts) == 5 && parts[4] == "metadata" && r.Method == http.MethodGet
	}
	if swap {
		if id, err := walrus.ParseBlobID(parts[3]); err == nil {
			seen.saw(id)
			o, _ := seen.instead(id)
			parts[3] = o.String()
			r.URL.Path = strings.Join(parts, "/")
		}
	}
	n.inner.ServeHTTP(w, r)
}

// wait waits for d, or until the client or the node is gone.
func (n *Node) wait(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	case <-n.quit:
	}
}

func (n *Node) gone(r *http.Request) bool {
	select {
	case <-r.Context().Done():
	case <-n.quit:
	default:
		return false
	}
	return true
}

func hijack(w http.ResponseWriter) net.Conn {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil
	}
	return c
}

// hangUp resets the connection.
func hangUp(w http.ResponseWriter) {
	if c := hijack(w); c != nil {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
}
