package s3_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

func primary(i int) walrus.SliverID { return walrus.SliverID{Axis: walrus.Primary, Index: i} }

func TestTheContract(t *testing.T) {
	needGateway(t)
	nodetest.Run(t, func(t *testing.T) node.Store {
		return open(t, "s3://"+newBucket(t)+"/some/prefix")
	})
}

// What is copied from a directory store to a bucket is a bucket store, and
// slivers stored one by one are there as a directory store has them.
func TestADirectoryStoreCanBeCopiedToABucket(t *testing.T) {
	needGateway(t)
	b := nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	local, err := dir.Open(filepath.Join(t.TempDir(), "store"), true)
	if err != nil {
		t.Fatal(err)
	}
	bare, deep := newBucket(t), newBucket(t)
	nodetest.Put(t, local, b)
	nodetest.Put(t, open(t, "s3://"+bare), b)
	if err := os.CopyFS(filepath.Join(server.root, deep, "a", "b"), os.DirFS(local.Path())); err != nil {
		t.Fatal(err)
	}
	want := files(t, local.Path())
	delete(want, "floe-store")
	for path := range want {
		if strings.HasSuffix(path, "meta.copy") {
			delete(want, path)
		}
	}
	got := files(t, filepath.Join(server.root, bare))
	if len(got) != len(want) {
		t.Errorf("%d objects, want %d", len(got), len(want))
	}
	for path, data := range want {
		if !bytes.Equal(got[path], data) {
			t.Errorf("%s differs", path)
		}
	}
	copied := openExpecting(t, "s3://"+deep+"/a/b", alone)
	for _, at := range nodetest.All(b.Params) {
		whole := make([]byte, b.Params.SliverLen(at.Axis))
		if err := copied.ReadSliver(t.Context(), b.ID, b.Params, at, whole, 0); err != nil || !bytes.Equal(whole, b.Sliver(at)) {
			t.Errorf("%s of the copy differs (error %v)", at, err)
		}
	}
}

// files returns the contents of all files of a tree.
func files(t *testing.T, root string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, _ := filepath.Rel(root, path)
		all[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEqualIsLeftAndDamagedIsHealed(t *testing.T) {
	needGateway(t)
	bucket := newBucket(t)
	s, b := open(t, "s3://"+bucket), nodetest.Encode(t, 10, nodetest.Bytes(1, 1<<20))
	nodetest.Put(t, s, b, primary(0), primary(1), primary(2))
	path := func(name string) string {
		id := b.ID.String()
		return filepath.Join(server.root, bucket, "blobs", id[:2], id, name)
	}
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	damage := map[string]func(data []byte) []byte{
		"p1": func(data []byte) []byte { data[len(data)-1] ^= 1; return data },
		"p2": func(data []byte) []byte { return data[:len(data)/2] },
	}
	for _, name := range []string{"meta", "p0", "p1", "p2"} {
		if change := damage[name]; change != nil {
			data, err := os.ReadFile(path(name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path(name), change(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(path(name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	nodetest.Put(t, s, b, primary(0), primary(1), primary(2))
	for i, name := range []string{"p0", "p1", "p2", "meta"} {
		fi, err := os.Stat(path(name))
		if err != nil {
			t.Fatal(err)
		}
		if written := !fi.ModTime().Equal(long); written != (damage[name] != nil) {
			t.Errorf("%s: written again: %v", name, written)
		}
		if name == "meta" {
			continue
		}
		data, err := os.ReadFile(path(name))
		if err != nil || !bytes.Equal(data, b.Sliver(primary(i))) {
			t.Errorf("%s differs (error %v)", name, err)
		}
	}
}

// A recorder passes requests on to the gateway.
type recorder struct {
	mu    sync.Mutex // guards what follows
	asked []string   // method and range, or LIST
	from  []string   // addresses of clients
	sent  int64      // bytes of objects
}

func (rec *recorder) take() (asked, from []string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	asked, from, rec.asked, rec.from = rec.asked, rec.from, nil, nil
	slices.Sort(from)
	return asked, slices.Compact(from)
}

func record(t *testing.T) *recorder {
	t.Helper()
	rec := new(recorder)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: server.address})
	proxy.ModifyResponse = func(resp *http.Response) error {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.sent += max(0, resp.ContentLength)
		return nil
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what := strings.TrimSpace(r.Method + " " + r.Header.Get("Range"))
		if r.URL.Query().Has("list-type") {
			what = "LIST"
		}
		rec.mu.Lock()
		rec.asked = append(rec.asked, what)
		rec.from = append(rec.from, r.RemoteAddr)
		rec.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	t.Setenv("AWS_ENDPOINT_URL", front.URL)
	return rec
}

func TestAReadIsOneRangedGetOnOneConnection(t *testing.T) {
	needGateway(t)
	rec := record(t)
	s, b := open(t, "s3://"+newBucket(t)+"/x"), nodetest.Encode(t, 10, nodetest.Bytes(1, 1<<20))
	nodetest.Put(t, s, b, primary(0))
	if asked, _ := rec.take(); !slices.Equal(asked, []string{"GET", "PUT", "LIST", "PUT"}) {
		t.Errorf("to store metadata and a sliver, the store asked %q", asked)
	}
	p := make([]byte, 64<<10)
	for range 3 {
		if err := s.ReadSliver(t.Context(), b.ID, b.Params, primary(0), p, 1000); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, b.Sliver(primary(0))[1000:1000+len(p)]) {
			t.Error("what was read differs")
		}
	}
	asked, from := rec.take()
	if want := "GET bytes=1000-66535"; !slices.Equal(asked, []string{want, want, want}) {
		t.Errorf("to read three times, the store asked %q", asked)
	}
	if len(from) != 1 {
		t.Errorf("three reads took %d connections", len(from))
	}
}

// fail checks that all that can be done fails, and says why.
func fail(t *testing.T, address string, is error, says string) {
	t.Helper()
	s, b := open(t, address), nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	_, metadata := s.Metadata(t.Context(), b.ID)
	for what, err := range map[string]error{
		"check":        s.Check(t.Context()),
		"metadata":     metadata,
		"read sliver":  s.ReadSliver(t.Context(), b.ID, b.Params, primary(0), make([]byte, 10), 0),
		"put metadata": s.PutMetadata(t.Context(), b.ID, b.Metadata.Append(nil)),
		"put sliver":   s.PutSliver(t.Context(), b.ID, b.Params, primary(0), b.Sliver(primary(0))),
	} {
		t.Logf("%s: %v", what, err)
		if err == nil || is != nil && !errors.Is(err, is) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got error %v, want one that is %v and says %q", what, err, is, says)
		}
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: says that there is no such blob: %v", what, err)
		}
		if err != nil && strings.Contains(err.Error(), secretKey) {
			t.Errorf("%s: the secret is in the error: %v", what, err)
		}
	}
}

func TestWrongSecretIsRefused(t *testing.T) {
	needGateway(t)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	fail(t, "s3://"+newBucket(t), fs.ErrPermission, "credentials are refused")
}

func TestUnknownKeyIsRefused(t *testing.T) {
	needGateway(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "nobody")
	// This server says 404; others, that it is forbidden.
	fail(t, "s3://"+newBucket(t), fs.ErrInvalid, "No user exists with the provided access key")
}

func TestCredentialsAreReadFromFiles(t *testing.T) {
	needGateway(t)
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"} {
		os.Unsetenv(v) // which needGateway restores
	}
	home := t.TempDir()
	t.Setenv("AWS_PROFILE", "mine")
	for v, text := range map[string]string{
		"AWS_CONFIG_FILE":             "[profile mine]\nregion = us-east-1\nendpoint_url = http://" + server.address + "\n",
		"AWS_SHARED_CREDENTIALS_FILE": "[mine]\naws_access_key_id = " + accessKey + "\naws_secret_access_key = " + secretKey + "\n",
	} {
		path := filepath.Join(home, v)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(v, path)
	}
	if err := open(t, "s3://"+newBucket(t)).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMissingBucketIsNamed(t *testing.T) {
	needGateway(t)
	fail(t, "s3://no-such-bucket/prefix", fs.ErrInvalid, "there is no bucket no-such-bucket at http://"+server.address)
}
