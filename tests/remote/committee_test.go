// Package remote tests reading, writing and healing blobs on committees of
// nodes on the loopback, of which some misbehave.
package remote

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/tests/world"
)

// Much shorter than the defaults. A read has time for several requests.
const (
	attempt     = 500 * time.Millisecond
	readTimeout = 16 * attempt
)

// A committee is nodes on the loopback that hold n shards between them.
type committee struct {
	t     testing.TB
	n     int
	nodes []*member
	net   *node.Network
	dir   string
}

// A member is one node of a committee. Its requests and what it sends are
// counted on the way.
type member struct {
	*nodetest.Node // misbehaves beneath the counting
	name           string
	shards         []int
	key            *walrus.PrivateKey // with which it signs
	store          *dir.Store
	front          *httptest.Server
	before         func(*http.Request) // if set, sees each request first

	requests, sent atomic.Int64
}

// newCommittee starts nodes that hold so many shards each, dealt out at random
// but always in the same way: the slivers that hold a blob's bytes as they are
// lie on neighbouring shards.
func newCommittee(t testing.TB, sizes ...int) *committee {
	t.Helper()
	c := &committee{t: t, dir: world.Scratch(t)}
	c.net = node.NewNetwork(&node.NetworkOptions{Nets: node.AnyNet, Connect: attempt, Answer: 2 * attempt, Window: attempt})
	t.Cleanup(c.net.Close)
	for _, size := range sizes {
		c.n += size
	}
	deal := rand.New(rand.NewPCG(3, 0)).Perm(c.n)
	for i, size := range sizes {
		c.nodes = append(c.nodes, &member{name: fmt.Sprintf("node-%d", i), shards: deal[:size]})
		deal = deal[size:]
	}
	for _, m := range c.nodes {
		var err error
		m.store, err = dir.Open(filepath.Join(c.dir, m.name), true)
		must(t, err)
		m.key = walrus.GenerateKey()
		m.Node = nodetest.Serve(t, m.store, node.HandlerOptions{N: c.n, Shards: m.shards, Key: m.key})
		m.front = httptest.NewServer(m)
		t.Cleanup(m.stop)
	}
	return c
}

// stop ends the node: from then on connections are refused.
func (m *member) stop() {
	m.Node.Close()
	m.front.CloseClientConnections()
	m.front.Close()
}

// ServeHTTP implements http.Handler.
func (m *member) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.requests.Add(1)
	if m.before != nil {
		m.before(r)
	}
	m.Node.ServeHTTP(&countingWriter{w, &m.sent}, r)
}

type countingWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.sent.Add(int64(len(p))) // before whoever reads can look
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// members returns the nodes as a client has them.
func (c *committee) members() []blob.Member {
	c.t.Helper()
	var all []blob.Member
	for _, m := range c.nodes {
		n, err := node.NewClient(c.net, m.front.URL, nil)
		must(c.t, err)
		shards, err := blob.NewShards(c.n, m.shards)
		must(c.t, err)
		all = append(all, blob.Member{Name: m.name, Node: n, Shards: shards, Remote: true})
	}
	return all
}

// client returns a client of the nodes that knows nothing of them yet.
// Evidence goes to c.evidence().
func (c *committee) client() *blob.Client {
	c.t.Helper()
	return blob.New(c.members(), c.options())
}

func (c *committee) options() *blob.Options {
	return &blob.Options{Evidence: c.evidence(), Attempt: attempt, Logger: slog.New(slog.DiscardHandler)}
}

func (c *committee) evidence() string { return filepath.Join(c.dir, "evidence") }

// put publishes a directory on the nodes.
func (c *committee) put(source string, blobSize int64) walrus.BlobID {
	c.t.Helper()
	w, err := c.client().Writer()
	must(c.t, err)
	res, err := publish.Dir(c.t.Context(), source, w, &publish.Options{Shards: c.n, BlobSize: blobSize, TempDir: c.dir})
	must(c.t, err)
	return res.ID
}

// open opens a dataset. No cache stands between its readers and the nodes.
func open(t testing.TB, ctx context.Context, client *blob.Client, id walrus.BlobID) (*engine.Dataset, error) {
	eng := engine.New(client, nil, &engine.Options{Fetch: readTimeout})
	t.Cleanup(func() { eng.Close() })
	return eng.Open(ctx, id)
}

func mustOpen(t testing.TB, client *blob.Client, id walrus.BlobID) *engine.Dataset {
	t.Helper()
	ds, err := open(t, t.Context(), client, id)
	must(t, err)
	return ds
}

// reset forgets what was counted.
func (c *committee) reset() {
	for _, m := range c.nodes {
		m.requests.Store(0)
		m.sent.Store(0)
	}
}

// sent returns how many bytes all nodes have sent.
func (c *committee) sent() (n int64) {
	for _, m := range c.nodes {
		n += m.sent.Load()
	}
	return n
}

// bad makes some nodes misbehave.
func (c *committee) bad(f nodetest.Fault, nodes ...int) {
	for _, i := range nodes {
		delay := 20 * time.Millisecond // of a dripping node for each byte
		if f == nodetest.Slow {
			delay = attempt / 2
		}
		c.nodes[i].Set(f, delay)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
