package s3_test

import (
	"bytes"
	"encoding/pem"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// A bucket serves a blob alone: what is not asked for is not sent, and slivers
// that are gone or cut short are done without.
func TestABlobIsReadFromABucket(t *testing.T) {
	needGateway(t)
	bucket := newBucket(t)
	rec := record(t)
	client := blob.New([]blob.Member{{Name: "bucket", Node: open(t, "s3://"+bucket+"/data"), Remote: true}}, nil)
	w, err := client.Writer()
	if err != nil {
		t.Fatal(err)
	}
	const n, chunk = 13, 64 << 10
	data := nodetest.Bytes(7, 2<<20)
	p, err := walrus.NewParams(n, uint64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	enc, err := walrus.NewEncoder(n)
	if err != nil {
		t.Fatal(err)
	}
	e, err := enc.Encode(t.Context(), data, w.Rows(p))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Put(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if stored, err := w.Stored(t.Context(), e.ID, p, data); !stored || err != nil {
		t.Errorf("stored: %v, error %v", stored, err)
	}
	check := func() {
		t.Helper()
		got := make([]byte, chunk)
		for off := 0; off < len(data); off += chunk {
			if _, err := client.ReadAt(t.Context(), e.ID, p, got, int64(off)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, data[off:off+chunk]) {
				t.Fatalf("%d bytes at %d differ", chunk, off)
			}
		}
	}
	rec.take()
	check()
	asked, _ := rec.take()
	if most := len(data)/chunk + p.K1; len(asked) > most {
		t.Errorf("%d requests for %d chunks in %d slivers", len(asked), len(data)/chunk, p.K1)
	}
	for _, a := range asked {
		if !strings.HasPrefix(a, "GET bytes=") {
			t.Errorf("the store asked %q", a)
		}
	}
	id := e.ID.String()
	dir := filepath.Join(server.root, bucket, "data", "blobs", id[:2], id)
	if blob.Kept(p) == p.K1 {
		t.Fatal("the bucket keeps no more than it must")
	}
	if err := os.Truncate(filepath.Join(dir, "p1"), 1000); err != nil {
		t.Fatal(err)
	}
	check()
	if err := os.Remove(filepath.Join(dir, "p1")); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestAnAuthorityOfOnesOwnIsTrusted(t *testing.T) {
	needGateway(t)
	front := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: server.address}))
	defer front.Close()
	t.Setenv("AWS_ENDPOINT_URL", front.URL)
	address := "s3://" + newBucket(t)
	if err := open(t, address).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: got error %v", err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	if err := os.WriteFile(file, cert, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", file)
	s, b := open(t, address), nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	nodetest.Put(t, s, b, primary(0))
	got := make([]byte, 10)
	if err := s.ReadSliver(t.Context(), b.ID, b.Params, primary(0), got, 5); err != nil || !bytes.Equal(got, b.Sliver(primary(0))[5:15]) {
		t.Errorf("what was put is not what is read (error %v)", err)
	}
}
