package node_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// Whatever is asked, a node has an answer that blames whoever asks, and keeps
// nothing that is not proven.
func FuzzRequests(f *testing.F) {
	store := memory{}
	b := nodetest.Encode(f, nodetest.N, nodetest.Bytes(1, 500))
	at := walrus.SliverID{Axis: walrus.Primary, Index: 1}
	nodetest.Put(f, store, b, at)
	entries := len(store)
	h, err := node.NewHandler(store, node.HandlerOptions{N: nodetest.N, Shards: []int{0, 1, 2, 3, 4, 5, 6}, Key: walrus.GenerateKey()})
	if err != nil {
		f.Fatal(err)
	}
	blob := "/v1/blobs/" + b.ID.String()
	for _, path := range []string{
		"/metadata", "/metadata?pending=true", "/metadata/status", "/slivers/1/primary", "/slivers/8/secondary?pending=true", "/slivers/1/primary/status",
		"/confirmation/permanent", "/confirmation/deletable/0x" + strings.Repeat("2a", 32), "/status",
		"/recoverySymbols?id=1-2&id=3-4&proofAxis=primary", "/recoverySymbols?targetSliver=2&targetType=secondary",
		"/decodingSymbols?targetSlivers=1&targetType=secondary", "/inconsistencyProof/primary",
	} {
		for _, method := range []string{"GET", "PUT", "POST", "HEAD"} {
			f.Add(method, blob+path, "bytes=1-2", []byte{})
			f.Add(method, blob+path, "", bodyOf(b, at))
			f.Add(method, blob+path, "", b.Metadata.Append(nil))
		}
	}
	f.Add("GET", "/v1/health?detailed=true", "", []byte{})
	f.Fuzz(func(t *testing.T, method, target, rng string, body []byte) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://node", strings.NewReader(string(body)))
		if err != nil {
			return
		}
		if r.URL, err = r.URL.Parse(target); err != nil || r.URL.Host != "node" {
			return
		}
		r.Header.Set("Range", rng)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError || w.Code < 200 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if len(store) > entries+1 { // the one sliver whose body is a seed, at most
			t.Errorf("%d entries in the store", len(store))
		}
	})
}
