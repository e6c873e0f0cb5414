package web_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/engine/web"
)

const shards = 13 // K1 = 5, K2 = 9

// A world is a store and who serves it.
type world struct {
	*testing.T
	store  *dir.Store
	writer *blob.Writer
	url    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := dir.Open(filepath.Join(t.TempDir(), "store"), true)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, store: store}
	if w.writer, err = blob.New([]blob.Member{{Name: "store", Node: store}}, nil).Writer(); err != nil {
		t.Fatal(err)
	}
	w.serve()
	return w
}

// serve starts a server that remembers nothing.
func (w *world) serve() {
	w.Helper()
	client := blob.New([]blob.Member{{Name: "store", Node: w.store}}, nil)
	eng := engine.New(client, nil, nil)
	srv := httptest.NewServer(web.New(eng, nil))
	w.Cleanup(func() { srv.Close(); eng.Close() })
	w.url = srv.URL
}

// put stores a blob.
func (w *world) put(data []byte) walrus.BlobID {
	w.Helper()
	p, err := walrus.NewParams(shards, uint64(len(data)))
	if err != nil {
		w.Fatal(err)
	}
	enc, err := walrus.NewEncoder(shards)
	if err != nil {
		w.Fatal(err)
	}
	e, err := enc.Encode(w.Context(), data, w.writer.Rows(p))
	if err == nil {
		err = w.writer.Put(w.Context(), e)
	}
	if err != nil {
		w.Fatal(err)
	}
	return e.ID
}

// putTree publishes a directory.
func (w *world) putTree(tree string) walrus.BlobID {
	w.Helper()
	sink, err := blob.New([]blob.Member{{Name: "store", Node: w.store}}, nil).Writer()
	if err != nil {
		w.Fatal(err)
	}
	res, err := publish.Dir(w.Context(), tree, sink, &publish.Options{Shards: shards, BlobSize: 13 * 16 << 10})
	if err != nil {
		w.Fatal(err)
	}
	return res.ID
}

// damage spoils the file of a primary sliver.
func (w *world) damage(id walrus.BlobID, row int) {
	w.Helper()
	names, err := filepath.Glob(filepath.Join(w.store.BlobDir(id), fmt.Sprintf("p%d", row)))
	if err != nil || len(names) != 1 {
		w.Fatalf("sliver %d of %s: %v, %v", row, id, names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		w.Fatal(err)
	}
	for i := range data {
		data[i] ^= 0x55
	}
	if err := os.WriteFile(names[0], data, 0o644); err != nil {
		w.Fatal(err)
	}
}

// An answer is a response, read to its end.
type answer struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

// ask sends a request with headers given as "Name: value".
func (w *world) ask(method, path string, headers ...string) answer {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	client := http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp, body, err}
}

// want asks with GET and demands a status and a body.
func (w *world) want(path string, code int, body []byte, headers ...string) answer {
	w.Helper()
	a := w.ask("GET", path, headers...)
	switch {
	case a.err != nil:
		w.Errorf("GET %s: %v", path, a.err)
	case a.StatusCode != code:
		w.Errorf("GET %s %v: status %d, want %d: %.200s", path, headers, a.StatusCode, code, a.body)
	case !bytes.Equal(a.body, body):
		w.Errorf("GET %s %v: %d bytes differ from the %d that are right", path, headers, len(a.body), len(body))
	}
	return a
}

// refuse asks with GET and demands an error.
func (w *world) refuse(path string, code int, reason string, headers ...string) answer {
	w.Helper()
	a := w.ask("GET", path, headers...)
	if a.StatusCode != code || !bytes.Contains(a.body, []byte(`"reason":"`+reason+`"`)) ||
		!bytes.Contains(a.body, []byte(`"domain":"`)) || a.Header.Get("Content-Type") != "application/json" {
		w.Errorf("GET %s %v: status %d, want %d %s: %.300s", path, headers, a.StatusCode, code, reason, a.body)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" || a.Header.Get("ETag") != "" {
		w.Errorf("GET %s: an error may be cached: %q, ETag %q", path, got, a.Header.Get("ETag"))
	}
	return a
}

func random(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}
