package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/engine/web"
)

func TestPatchesOfQuilts(t *testing.T) {
	w := newWorld(t)
	files := []walrus.QuiltFile{
		{Identifier: "a/b.txt", Data: random(1, 5000), Tags: map[string]string{"content-type": "text/x-a", "x-secret": "1"}},
		{Identifier: "empty"},
		{Identifier: "ünï code", Data: random(2, 70_000)},
	}
	data, patches, err := walrus.EncodeQuilt(shards, files)
	if err != nil {
		t.Fatal(err)
	}
	id := w.put(data)
	w.damage(id, 1)
	var list []struct {
		Identifier string
		PatchID    string `json:"patch_id"`
		Tags       map[string]string
	}
	a := w.ask("GET", "/v1/quilts/"+id.String()+"/patches")
	if err := json.Unmarshal(a.body, &list); err != nil || len(list) != len(files) {
		t.Fatalf("%v: %s", err, a.body)
	}
	for i, x := range list {
		f := files[i]
		if x.Identifier != f.Identifier || x.PatchID != patches[i].ID(id).String() || len(x.Tags) != len(f.Tags) {
			t.Errorf("patch %d: %+v", i, x)
		}
		for _, path := range []string{"/v1/blobs/by-quilt-patch-id/" + x.PatchID, "/v1/blobs/by-quilt-id/" + id.String() + "/" + url.PathEscape(f.Identifier)} {
			a := w.want(path, 200, f.Data)
			if got := a.Header.Get("X-Quilt-Patch-Identifier"); got != f.Identifier || a.Header.Get("ETag") != `"`+id.String()+`"` {
				t.Errorf("identifier %q, ETag %q", got, a.Header.Get("ETag"))
			}
			if got := a.Header.Get("Content-Type"); got != f.Tags["content-type"] || a.Header.Get("X-Secret") != "" {
				t.Errorf("Content-Type %q of %v", got, f.Tags)
			}
			if n := len(f.Data); n > 0 {
				w.want(path, 206, f.Data[n/3:n/2], fmt.Sprintf("Range: bytes=%d-%d", n/3, n/2-1))
			}
		}
	}
	w.refuse("/v1/blobs/by-quilt-id/"+id.String()+"/none", 404, "QUILT_PATCH_NOT_FOUND")
	w.refuse("/v1/blobs/by-quilt-patch-id/"+walrus.PatchID{Quilt: id, Start: 1, End: 9}.String(), 404, "QUILT_PATCH_NOT_FOUND")
	w.damage(id, 0)
	w.serve()
	w.refuse("/v1/quilts/"+id.String()+"/patches", 503, "BLOB_UNAVAILABLE")
}

func buildTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	for name, n := range map[string]int{"a.json": 10, "d/big.bin": 1 << 20, "d/e/f.txt": 40_001, "empty": 0, `<b onclick="x">&'.html`: 5, "bad\xff": 7} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, random(uint64(n), n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"d/link": "../a.json", "out": "../../etc/passwd"} {
		if err := os.Symlink(to, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func TestFilesOfDatasets(t *testing.T) {
	w := newWorld(t)
	tree := buildTree(t)
	top := "/v1/datasets/" + w.putTree(tree).String()
	count := 0
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(tree, path)
		at := top
		for part := range strings.SplitSeq(rel, "/") {
			at += "/" + url.PathEscape(part)
		}
		count++
		a := w.want(at, 200, data)
		if got := a.Header.Get("Last-Modified"); got != info.ModTime().UTC().Format(http.TimeFormat) {
			t.Errorf("%q: Last-Modified %s", rel, got)
		}
		w.want(at, 304, nil, "If-None-Match: "+a.Header.Get("ETag"))
		if n := len(data); n > 0 {
			w.want(at, 206, data[n-1:], "Range: bytes=-1")
			w.want(at, 206, data[n/2:], fmt.Sprintf("Range: bytes=%d-", n/2))
		}
		if head := w.ask("HEAD", at); head.ContentLength != int64(len(data)) {
			t.Errorf("%q: HEAD says %d bytes", rel, head.ContentLength)
		}
		return nil
	})
	if err != nil || count != 6 {
		t.Fatalf("%d files: %v", count, err)
	}
	if got := w.want(top+"/d/link", 200, random(10, 10)).Header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("Content-Type %q", got)
	}
	if got := w.ask("HEAD", top+"/a.json").Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	for _, path := range []string{"/none", "/a.json/below", "/out", "/bad%ff/x", "/%2e%2e/%2e%2e/etc/passwd"} {
		w.refuse(top+path, 404, "FILE_NOT_FOUND")
	}
}

func TestDirectoriesOfDatasets(t *testing.T) {
	w := newWorld(t)
	top := "/v1/datasets/" + w.putTree(buildTree(t)).String()
	type listing struct {
		Path    string
		Next    int
		Entries []struct {
			Name, Type, Target, Href string
			Size                     int64
		}
	}
	var names []string
	for from, more := 0, true; more; {
		var l listing
		a := w.ask("GET", fmt.Sprintf("%s/?limit=2&from=%d", top, from))
		if err := json.Unmarshal(a.body, &l); err != nil || len(l.Entries) > 2 || a.Header.Get("Vary") != "Accept" {
			t.Fatalf("%v: %s", err, a.body)
		}
		for _, e := range l.Entries {
			names = append(names, e.Name)
			b := w.ask("GET", top+strings.TrimPrefix(e.Href, "."))
			if e.Type == "file" && (b.StatusCode != 200 || int64(len(b.body)) != e.Size) || e.Type == "dir" && b.StatusCode != 200 {
				t.Errorf("%s behind %q: %d, %d bytes", e.Type, e.Href, b.StatusCode, len(b.body))
			}
		}
		from, more = l.Next, l.Next > 0
	}
	if want := `<b onclick="x">&'.html a.json bad` + "\uFFFD d empty out"; strings.Join(names, " ") != want {
		t.Errorf("%q, want %q", names, want)
	}
	html := "Accept: text/html,*/*"
	page := w.ask("GET", top+"/", html)
	if page.Header.Get("Content-Type") != "text/html; charset=utf-8" || page.Header.Get("Content-Security-Policy") == "" ||
		bytes.Contains(page.body, []byte("<b onclick")) || !bytes.Contains(page.body, []byte(`href="./a.json"`)) {
		t.Errorf("%v: %s", page.Header, page.body)
	}
	a := w.ask("GET", top+"/d?limit=3", html)
	if to := a.Header.Get("Location"); a.StatusCode != 302 || to != top+"/d/?limit=3" {
		t.Errorf("%d to %q", a.StatusCode, to)
	}
	w.want(top+"/", 304, nil, html, "If-None-Match: "+page.Header.Get("ETag"))
	w.refuse(top+"/?limit=x", 400, "MALFORMED_REQUEST")
}

func TestADamagedDatasetServesTheRightBytesOrNone(t *testing.T) {
	w := newWorld(t)
	id := w.putTree(buildTree(t))
	path := "/v1/datasets/" + id.String() + "/d/big.bin"
	spoil := func(row int) {
		for blob, err := range w.store.Blobs() {
			if err != nil {
				t.Fatal(err)
			}
			w.damage(blob, row)
		}
	}
	spoil(1)
	w.serve()
	w.want(path, 200, random(1<<20, 1<<20))
	w.want(path, 206, random(1<<20, 1<<20)[100_000:900_000], "Range: bytes=100000-899999")
	spoil(0)
	w.serve()
	w.refuse(path, 503, "BLOB_UNAVAILABLE")
}

func TestMoreRequestsThanAllowedAreRefused(t *testing.T) {
	release, held := make(chan struct{}), make(chan struct{})
	eng := engine.New(waiting{held: held, release: release}, nil, nil)
	defer eng.Close()
	h := web.New(eng, &web.Options{Requests: 1})
	path := "/v1/blobs/" + walrus.BlobID{1}.String()
	done := make(chan int)
	ask := func() *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		return rec
	}
	go func() { done <- ask().Code }()
	<-held
	if rec := ask(); rec.Code != 429 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d: %s", rec.Code, rec.Body)
	}
	close(release)
	if code := <-done; code != 404 {
		t.Errorf("the first: %d", code)
	}
}

// waiting has no blobs, and takes its time to say so.
type waiting struct {
	engine.Blobs
	held, release chan struct{}
}

func (w waiting) Metadata(context.Context, walrus.BlobID) (*walrus.Metadata, error) {
	close(w.held)
	<-w.release
	return nil, fs.ErrNotExist
}
