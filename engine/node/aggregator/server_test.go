package aggregator_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/aggregator"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// A server is what aggregators and caches in front of them are like, written
// from the specification of their API.
type server struct {
	kind

	mu    sync.Mutex // guards what follows
	blobs map[walrus.BlobID][]byte
	asked []string // path, query and range of each request
}

// A kind of server is what it can do.
type kind struct {
	ranges bool          // it knows the Range header, closed ones
	query  bool          // it has .../byte-range
	slow   chan struct{} // if set, the second half of a whole blob waits until it is closed
}

// whole reports whether it knows no parts of blobs.
func (k kind) whole() bool { return !k.ranges && !k.query }

// kinds are the servers there are.
var kinds = map[string]kind{
	"an aggregator":         {ranges: true, query: true},
	"an older one":          {query: true},
	"a cache of files":      {},
	"a cache that knows it": {ranges: true},
}

// start starts a server with faults that has a blob, and returns it with a
// client.
func start(t *testing.T, kind kind, blobs ...*walrus.Encoded) (*server, *nodetest.Node, *aggregator.Store) {
	t.Helper()
	s := &server{kind: kind, blobs: make(map[walrus.BlobID][]byte)}
	for _, b := range blobs {
		s.blobs[b.ID] = content(b)
	}
	n := nodetest.Wrap(t, s)
	return s, n, client(t, n.URL)
}

func client(t *testing.T, url string) *aggregator.Store {
	t.Helper()
	const short = 300 * time.Millisecond
	nw := node.NewNetwork(&node.NetworkOptions{Nets: node.AnyNet, Connect: short, Answer: short, Window: short})
	a, err := aggregator.New(nw, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		nw.Close()
	})
	return a
}

// content returns the bytes of a blob.
func content(b *walrus.Encoded) []byte {
	var data []byte
	for r := range b.Params.K1 {
		data = append(data, b.Sliver(primary(r))...)
	}
	return data[:b.Params.Size]
}

func primary(row int) walrus.SliverID { return walrus.SliverID{Axis: walrus.Primary, Index: row} }

// requests returns what was asked since the last time.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.asked
	s.asked = nil
	return all
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSpace(r.URL.RequestURI()+" "+r.Header.Get("Range")))
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/blobs/"), "/")
	id, err := walrus.ParseBlobID(name)
	data, ok := s.blobs[id]
	s.mu.Unlock()
	switch {
	case err != nil || rest != "" && (rest != "byte-range" || !s.query):
		http.NotFound(w, r)
	case !ok:
		fail(w, http.StatusNotFound, "NOT_FOUND", "BLOB_NOT_FOUND")
	case rest == "byte-range":
		q := r.URL.Query()
		start, err1 := strconv.Atoi(q.Get("start"))
		n, err2 := strconv.Atoi(q.Get("length"))
		if err1 != nil || err2 != nil || n == 0 || start+n > len(data) {
			fail(w, http.StatusBadRequest, "INVALID_ARGUMENT", "INVALID_BYTE_RANGE")
			return
		}
		w.Write(data[start : start+n])
	case s.ranges && r.Header.Get("Range") != "":
		var from, to int
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n != 2 || from > to || to >= len(data) {
			fail(w, http.StatusRequestedRangeNotSatisfiable, "RANGE_NOT_SATISFIABLE", "INVALID_BYTE_RANGE")
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(data)))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(data[from : to+1])
	default:
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		for half := len(data) / 2; s.slow != nil && half > 0; half = 0 {
			w.Write(data[:half])
			http.NewResponseController(w).Flush()
			data = data[half:]
			<-s.slow
		}
		w.Write(data)
	}
}

func fail(w http.ResponseWriter, code int, status, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"error":{"status":%q,"code":%d,"message":"no","details":[{"@type":"ErrorInfo","reason":%q,"domain":"daemon.walrus.space","metadata":{}}]}}`,
		status, code, reason)
}
