package web_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/floefs/floe/engine/walrus"
)

func TestBlobsAreServedWholeAndInRanges(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{0, 1, 17, 1000, 700_001} {
		data := random(uint64(n), n)
		id := w.put(data)
		path := "/v1/blobs/" + id.String()
		a := w.want(path, 200, data)
		if got := a.Header.Get("ETag"); got != `"`+id.String()+`"` {
			t.Errorf("ETag %s", got)
		}
		for k, v := range map[string]string{
			"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff", "Content-Type": "", "Accept-Ranges": "bytes",
			"Cache-Control": "public, max-age=86400, stale-while-revalidate=3600, immutable", "Content-Length": fmt.Sprint(n),
		} {
			if got := a.Header.Get(k); got != v {
				t.Errorf("%s: %q, want %q", k, got, v)
			}
		}
		w.want(path+"?strict_consistency_check=true", 200, data)
		w.want(path+"?skip_consistency_check=true", 200, data)
		w.want("/v1alpha/blobs/"+id.String()+"/stream", 200, data, "Range: bytes=0-0")
		w.want(path, 304, nil, `If-None-Match: "x", "`+id.String()+`"`)
		if head := w.ask("HEAD", path); head.StatusCode != 200 || head.ContentLength != int64(n) || len(head.body) > 0 {
			t.Errorf("HEAD: %d, length %d", head.StatusCode, head.ContentLength)
		}
		if n == 0 {
			continue
		}
		a = w.want(path, 206, data[n/2:], fmt.Sprintf("Range: bytes=%d-", n/2))
		if got, want := a.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", n/2, n-1, n); got != want {
			t.Errorf("Content-Range %q, want %q", got, want)
		}
		w.want(path, 206, data[n-n/3-1:], fmt.Sprintf("Range: bytes=-%d", n/3+1))
		w.want(path, 200, data, "Range: bytes=0-0", `If-Range: "other"`)
		a = w.refuse(path, 416, "INVALID_BYTE_RANGE", fmt.Sprintf("Range: bytes=%d-", n))
		if got := a.Header.Get("Content-Range"); got != fmt.Sprintf("bytes */%d", n) {
			t.Errorf("Content-Range of 416: %q", got)
		}
		rng := rand.New(rand.NewPCG(1, uint64(n)))
		for range 10 {
			from := rng.IntN(n)
			to := from + 1 + rng.IntN(n-from)
			w.want(path, 206, data[from:to], fmt.Sprintf("Range: bytes=%d-%d", from, to-1))
			part := w.want(fmt.Sprintf("%s/byte-range?start=%d&length=%d", path, from, to-from), 200, data[from:to], "Range: bytes=0-0")
			if got := part.Header.Get("ETag"); got != fmt.Sprintf(`"%s-%d-%d"`, id, from, to-from) {
				t.Errorf("ETag %s", got)
			}
		}
	}
}

func TestSeveralRangesAtOnce(t *testing.T) {
	w := newWorld(t)
	data := random(2, 500_000)
	path := "/v1/blobs/" + w.put(data).String()
	a := w.ask("GET", path, "Range: bytes=0-9,300000-420000,-7")
	_, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if a.StatusCode != 206 || err != nil {
		t.Fatalf("status %d, %q", a.StatusCode, a.Header.Get("Content-Type"))
	}
	parts := multipart.NewReader(bytes.NewReader(a.body), params["boundary"])
	for _, want := range [][]byte{data[:10], data[300000:420001], data[len(data)-7:]} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: differs (%v)", p.Header.Get("Content-Range"), err)
		}
	}
	many := "Range: bytes=0-0"
	for i := range 100 {
		many += fmt.Sprintf(",%d-%d", 1000*i, 1000*i)
	}
	w.want(path, 200, data, many)
}

func TestWhatCannotBeServedIsToldAsAggregatorsDo(t *testing.T) {
	w := newWorld(t)
	data := random(3, 100)
	id := w.put(data).String()
	path := "/v1/blobs/" + id
	absent := walrus.BlobID{1, 2, 3}.String()
	w.refuse("/v1/blobs/"+absent, 404, "BLOB_NOT_FOUND")
	w.refuse("/v1/blobs/"+absent+"/byte-range?start=0&length=1", 404, "BLOB_NOT_FOUND")
	w.refuse("/v1/quilts/"+absent+"/patches", 404, "BLOB_NOT_FOUND")
	w.refuse("/v1/quilts/"+id+"/patches", 404, "QUILT_PATCH_NOT_FOUND")
	w.refuse("/v1/datasets/"+absent+"/x", 404, "BLOB_NOT_FOUND")
	w.refuse("/v1/datasets/"+id+"/x", 404, "DATASET_NOT_FOUND")
	w.refuse("/v1/blobs/short", 400, "INVALID_ID_FORMAT")
	w.refuse("/v1/blobs/by-quilt-patch-id/byte-range", 400, "INVALID_ID_FORMAT")
	w.refuse("/v1/blobs/by-object-id/0x00", 404, "OBJECT_ID_RESOLUTION_FAILED")
	w.refuse(path+"?strict_consistency_check=true&skip_consistency_check=true", 400, "MALFORMED_REQUEST")
	for _, q := range []string{"start=0&length=0", "start=100&length=1", "start=1&length=100", "start=0", "start=1&length=18446744073709551615", "start=-1&length=2"} {
		w.refuse(path+"/byte-range?"+q, 400, "INVALID_BYTE_RANGE")
	}
	w.want("/status", 200, []byte("OK"))
	if a := w.ask("GET", "/nowhere"); a.StatusCode != 404 || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("an unknown path: %d, %q", a.StatusCode, a.Header.Get("Cache-Control"))
	}
	if a := w.ask("PUT", path); a.StatusCode != 405 {
		t.Errorf("PUT: %d", a.StatusCode)
	}
	if a := w.ask("OPTIONS", path, "Origin: http://x"); a.StatusCode != 204 || a.Header.Get("Access-Control-Allow-Headers") != "*" {
		t.Errorf("OPTIONS: %d", a.StatusCode)
	}
	if got := w.want(path, 200, data, "Accept: image/png").Header.Get("Content-Type"); got != "image/png" {
		t.Errorf("Content-Type %q", got)
	}
	if got := w.want(path, 200, data, "Accept: image/png, */*", "Content-Type: text/csv").Header.Get("Content-Type"); got != "text/csv" {
		t.Errorf("Content-Type %q", got)
	}
}

func TestADamagedStoreServesTheRightBytes(t *testing.T) {
	w := newWorld(t)
	data := random(4, 300_000)
	id := w.put(data)
	w.damage(id, 2)
	path := "/v1/blobs/" + id.String()
	w.want(path, 206, data[200:250_000], "Range: bytes=200-249999")
	w.want(path, 200, data)

	w.damage(id, 0) // one more than the store has to spare
	w.serve()
	a := w.refuse(path, 503, "BLOB_UNAVAILABLE")
	if a.Header.Get("Retry-After") == "" || bytes.Contains(a.body, []byte(w.store.Path())) {
		t.Errorf("%v: %s", a.Header, a.body)
	}
	w.want(path, 206, data[70_000:90_000], "Range: bytes=70000-89999") // of a row that is good
}

// What fails late breaks off; what came before is right.
func TestAnAnswerThatFailsLateIsNotWhole(t *testing.T) {
	w := newWorld(t)
	data := random(5, 2_900_000)
	id := w.put(data)
	w.damage(id, 3)
	w.damage(id, 4)
	a := w.ask("GET", "/v1/blobs/"+id.String())
	if a.err == nil || a.StatusCode != 200 || !bytes.HasPrefix(data, a.body) || len(a.body) < 1_000_000 {
		t.Errorf("status %d, %d bytes, %v", a.StatusCode, len(a.body), a.err)
	}
}

func TestReadersAtOnceAndWhatIsKept(t *testing.T) {
	w := newWorld(t)
	data := random(6, 400_000)
	id := w.put(data)
	path := "/v1/blobs/" + id.String()
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			from := i * 10_000
			w.want(path, 206, data[from:from+50_000], fmt.Sprintf("Range: bytes=%d-%d", from, from+49_999))
		})
	}
	wg.Wait()
	w.want(path, 200, data)
	names, err := filepath.Glob(filepath.Join(w.store.BlobDir(id), "p*"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	w.want(path, 200, data) // no sliver is fetched again
	w.serve()
	if a := w.ask("HEAD", path); a.StatusCode != 200 || a.ContentLength != int64(len(data)) {
		t.Errorf("HEAD without slivers: %d, length %d", a.StatusCode, a.ContentLength)
	}
	w.refuse(path, 503, "BLOB_UNAVAILABLE")
}
