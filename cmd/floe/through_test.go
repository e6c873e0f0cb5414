package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

// A daemon is a publisher and an aggregator, written from the specification of
// their APIs: it encodes what it gets, for 10 shards.
type daemon struct {
	mu     sync.Mutex // guards what follows
	stored map[string][]byte
	asked  []string // of what wrote: token and query
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, get := strings.CutPrefix(r.URL.Path, "/v1/blobs/")
	switch {
	case r.Method == "PUT" && r.URL.Path == "/v1/blobs":
		d.asked = append(d.asked, r.Header.Get("Authorization")+" "+r.URL.RawQuery)
		data, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		enc, err := walrus.NewEncoder(10)
		if err != nil {
			panic(err)
		}
		b, err := enc.Encode(r.Context(), data, 0)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.stored[b.ID.String()] = data
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"newlyCreated":{"blobObject":{"blobId":%q,"storage":{"startEpoch":34,"endEpoch":37}}}}`, b.ID)
	case get && d.stored[id] != nil:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.stored[id]))
	default:
		http.NotFound(w, r)
	}
}

// What is put through a publisher has the id it has anywhere, and can be read
// from an aggregator with metadata from a node that has no sliver.
func TestPutThroughAPublisher(t *testing.T) {
	t.Run("directly", func(t *testing.T) {
		t.Setenv(tokenVariable, "secret")
		d, url := startDaemon(t)
		throughAndBack(t, d, url, "Bearer secret")
	})
	t.Run("by a proxy", func(t *testing.T) { // which alone could find the host
		d, url := startDaemon(t)
		throughAndBack(t, d, "http://walrus.invalid", "", "--proxy", url)
	})
}

func startDaemon(t *testing.T) (d *daemon, url string) {
	d = &daemon{stored: make(map[string][]byte)}
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	return d, srv.URL
}

func throughAndBack(t *testing.T, d *daemon, url, token string, flags ...string) {
	t.Setenv("HOME", t.TempDir())
	data, store := t.TempDir(), filepath.Join(t.TempDir(), "store")
	want := bytes.Repeat([]byte("worth keeping "), 10_000)
	if err := os.WriteFile(filepath.Join(data, "file"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	floe := func(args ...string) (out, said string) {
		t.Helper()
		var stdout, stderr strings.Builder
		if code := run(t.Context(), append([]string{"floe"}, args...), nil, &stdout, &stderr); code != 0 {
			t.Fatalf("%q: %d: %s", args, code, &stderr)
		}
		return stdout.String(), stderr.String()
	}
	id, _ := floe("put", "-q", "--n-shards", "10", "--to", store, data)
	out, said := floe(append([]string{"put", "--n-shards", "10", "--epochs", "3", "--to", url, data}, flags...)...)
	if out != id || !strings.Contains(said, "stored until epoch 37") {
		t.Errorf("put says %q and %q, want the id %s", out, said, id)
	}
	if len(d.asked) == 0 || len(d.asked) != len(d.stored) {
		t.Errorf("asked %d times to store %d blobs", len(d.asked), len(d.stored))
	}
	for _, a := range d.asked {
		if a != token+" permanent=true&epochs=3" {
			t.Errorf("asked %q", a)
		}
	}
	lose, err := filepath.Glob(filepath.Join(store, "blobs", "*", "*", "[ps][0-9]*"))
	if err != nil || len(lose) == 0 {
		t.Fatalf("no slivers in %s: %v", store, err)
	}
	for _, path := range lose {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := floe(append([]string{"cat", "--cache-dir", t.TempDir(), "--from", url, "--from", store, strings.TrimSpace(id) + "/file"}, flags...)...)
	if got != string(want) {
		t.Errorf("%d bytes are read, not as they were put", len(got))
	}
}
