package web_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/walrus"
)

func TestBlobsAreJoined(t *testing.T) {
	w := newWorld(t)
	a, b := random(1, 5000), random(2, 70_000)
	ids := []string{w.put(a).String(), w.put(nil).String(), w.put(b).String(), w.put(a).String()}
	all := bytes.Join([][]byte{a, b, a}, nil)
	path := "/v1alpha/blobs/concat?ids=" + strings.Join(ids, ",")
	etag := w.want(path, 200, all).Header.Get("ETag")
	w.want(path, 304, nil, "If-None-Match: "+etag)
	w.want(path, 206, all[4990:75_010], "Range: bytes=4990-75009")
	w.refuse(path+","+walrus.BlobID{9}.String(), 404, "BLOB_NOT_FOUND")
	w.refuse("/v1alpha/blobs/concat", 400, "INVALID_ID_FORMAT")
	w.refuse(path+strings.Repeat(","+ids[0], 100), 400, "MALFORMED_REQUEST")

	resp, err := http.Post(w.url+"/v1alpha/blobs/concat", "application/json", strings.NewReader(`{"ids":["`+strings.Join(ids, `","`)+`"]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || !bytes.Equal(got, all) {
		t.Errorf("POST: %d, %d bytes, %v", resp.StatusCode, len(got), err)
	}
	resp, err = http.Post(w.url+"/v1alpha/blobs/concat", "application/json", strings.NewReader(`{"ids":["`+strings.Repeat("x", 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("a body without end: %d", resp.StatusCode)
	}
}
