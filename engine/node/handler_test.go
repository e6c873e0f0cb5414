package node_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// An answer is what a raw request got.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// reason returns the code and the reason of an error, or the data of a success.
func (a answer) String() string {
	var form struct {
		Success *struct {
			Code int
			Data any
		}
		Error *struct {
			Code    int
			Status  string
			Message string
			Details []map[string]any
		}
	}
	if json.Unmarshal(a.body, &form) == nil {
		switch {
		case form.Success != nil && form.Success.Code == a.code:
			return fmt.Sprint(a.code, " ", form.Success.Data)
		case form.Error != nil && form.Error.Code == a.code && form.Error.Message != "" && form.Error.Details[0]["@type"] == "ErrorInfo":
			return fmt.Sprint(a.code, " ", form.Error.Status, " ", form.Error.Details[0]["reason"])
		}
	}
	return fmt.Sprint(a.code, " ", strings.Split(a.header.Get("Content-Type"), ";")[0])
}

// ask sends a request. Headers are given as name, value.
func ask(t testing.TB, method, url string, body []byte, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{resp.StatusCode, resp.Header, data}
}

// start serves a store as a node and returns its URL.
func start(t testing.TB, s node.Store, opts node.HandlerOptions) string {
	t.Helper()
	h, err := node.NewHandler(s, opts)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, h)
}

// blobURL is where a node has what belongs to a blob.
func blobURL(url string, b *walrus.Encoded) string { return url + "/v1/blobs/" + b.ID.String() }

func sliverURL(url string, b *walrus.Encoded, at walrus.SliverID) string {
	return fmt.Sprintf("%s/slivers/%d/%s", blobURL(url, b), at.Pair(b.Params.N), at.Axis)
}

func bodyOf(b *walrus.Encoded, at walrus.SliverID) []byte {
	return b.Params.AppendSliver(nil, at, b.Sliver(at))
}

func flip(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 1
	return b
}

// Which of several things that are wrong an answer names, and in what words.
func TestErrorsAndTheirOrder(t *testing.T) {
	const n = 13
	b := nodetest.Encode(t, n, nodetest.Bytes(1, 5003))
	other := nodetest.Encode(t, n, nodetest.Bytes(2, 333)) // of which only metadata is stored
	larger := nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	store := newDir(t)
	url := start(t, store, node.HandlerOptions{N: n, Shards: []int{0, 1, 2, 3}, Epoch: 7})
	c := newClient(t, url, nil)
	on := func(b *walrus.Encoded, shard int, a walrus.Axis) walrus.SliverID {
		return a.OfPair(b.ID.ShardToPair(shard, n), n)
	}
	ours, foreign := on(b, 0, walrus.Primary), on(b, 9, walrus.Primary)
	nodetest.Put(t, c, b, ours)
	nodetest.Put(t, c, other, on(other, 2, walrus.Primary))
	unstored, unstored2 := on(other, 0, walrus.Primary), on(other, 1, walrus.Secondary)

	nothing := nodetest.Encode(t, n, nodetest.Bytes(3, 100)) // unknown
	const octets = "application/octet-stream"
	for _, q := range []struct {
		what, method, url string
		body              []byte
		headers           []string
		want              string
	}{
		{"unknown blob", "GET", blobURL(url, nothing) + "/metadata", nil, nil, "404 NOT_FOUND METADATA_NOT_FOUND"},
		{"unknown blob", "GET", blobURL(url, nothing) + "/metadata/status", nil, nil, "200 nonexistent"},
		{"unknown blob", "GET", blobURL(url, nothing) + "/status", nil, nil, "200 nonexistent"},
		{"unknown blob before foreign shard", "GET", sliverURL(url, nothing, on(nothing, 9, walrus.Primary)), nil, nil, "404 NOT_FOUND SLIVER_NOT_FOUND"},
		{"unknown blob", "GET", sliverURL(url, nothing, on(nothing, 0, walrus.Primary)) + "/status", nil, nil, "200 nonexistent"},
		{"blob of another committee", "GET", blobURL(url, larger) + "/metadata", nil, nil, "404 NOT_FOUND METADATA_NOT_FOUND"},
		{"malformed blob id", "GET", url + "/v1/blobs/notablobid/metadata", nil, nil, "400 text/plain"},
		{"malformed sliver type", "GET", blobURL(url, b) + "/slivers/0/tertiary", nil, nil, "400 text/plain"},
		{"malformed pair", "GET", blobURL(url, b) + "/slivers/-1/primary", nil, nil, "400 text/plain"},
		{"pair beyond 16 bits", "GET", blobURL(url, b) + "/slivers/65536/primary", nil, nil, "400 text/plain"},
		{"pair out of range", "GET", blobURL(url, b) + "/slivers/13/primary", nil, nil, "400 INVALID_ARGUMENT INDEX_OUT_OF_RANGE"},
		{"no such path", "GET", url + "/v1/blob", nil, nil, "404 text/plain"},
		{"wrong method", "DELETE", blobURL(url, b) + "/metadata", nil, nil, "405 text/plain"},

		{"foreign shard", "GET", sliverURL(url, b, foreign), nil, nil, "400 INVALID_ARGUMENT SHARD_NOT_ASSIGNED"},
		{"foreign shard", "GET", sliverURL(url, b, foreign) + "/status", nil, nil, "400 INVALID_ARGUMENT SHARD_NOT_ASSIGNED"},
		{"sliver that is not there", "GET", sliverURL(url, other, unstored), nil, nil, "404 NOT_FOUND SLIVER_NOT_FOUND"},
		{"sliver that is not there", "GET", sliverURL(url, other, unstored) + "/status", nil, nil, "200 nonexistent"},
		{"sliver that is there", "GET", sliverURL(url, b, ours) + "/status", nil, nil, "200 stored"},
		{"metadata that is there", "GET", blobURL(url, b) + "/metadata/status", nil, nil, "200 stored"},

		{"metadata of another blob", "PUT", blobURL(url, nothing) + "/metadata", b.Metadata.Append(nil), nil, "400 INVALID_ARGUMENT INVALID_METADATA"},
		{"metadata for another committee", "PUT", blobURL(url, larger) + "/metadata", larger.Metadata.Append(nil), nil, "400 INVALID_ARGUMENT INVALID_METADATA"},
		{"false metadata", "PUT", blobURL(url, nothing) + "/metadata", flip(nothing.Metadata.Append(nil), 20), nil, "400 INVALID_ARGUMENT INVALID_METADATA"},
		{"other encoding", "PUT", blobURL(url, nothing) + "/metadata", flip(nothing.Metadata.Append(nil), 1), nil, "400 INVALID_ARGUMENT UNSUPPORTED_ENCODING_TYPE"},
		{"metadata that is none", "PUT", blobURL(url, nothing) + "/metadata", []byte("hello"), nil, "400 INVALID_ARGUMENT INVALID_CONTENT_TYPE"},
		{"metadata with something behind", "PUT", blobURL(url, nothing) + "/metadata", nothing.Metadata.Append(nil)[:700], nil, "400 INVALID_ARGUMENT INVALID_CONTENT_TYPE"},
		{"metadata too long", "PUT", blobURL(url, nothing) + "/metadata", make([]byte, 70_000), nil, "413 text/plain"},
		{"wrong content type", "PUT", blobURL(url, nothing) + "/metadata", nothing.Metadata.Append(nil), []string{"Content-Type", "text/plain"}, "400 INVALID_ARGUMENT INVALID_CONTENT_TYPE"},
		{"unknown query field", "PUT", blobURL(url, nothing) + "/metadata?force=true", nothing.Metadata.Append(nil), nil, "400 text/plain"},
		{"query that is no boolean", "PUT", blobURL(url, nothing) + "/metadata?pending=1", nothing.Metadata.Append(nil), nil, "400 text/plain"},
		{"metadata again", "PUT", blobURL(url, b) + "/metadata", b.Metadata.Append(nil), []string{"Content-Type", octets}, "200 metadata already stored"},
		{"metadata again, pending", "PUT", blobURL(url, b) + "/metadata?pending=true", b.Metadata.Append(nil), nil, "200 metadata already stored"},

		{"pair before all", "PUT", blobURL(url, nothing) + "/slivers/13/primary", []byte("x"), nil, "400 INVALID_ARGUMENT INDEX_OUT_OF_RANGE"},
		{"body before metadata", "PUT", sliverURL(url, nothing, foreign), []byte{255, 255, 255}, nil, "400 INVALID_ARGUMENT INVALID_CONTENT_TYPE"},
		{"mismatch before metadata", "PUT", sliverURL(url, nothing, walrus.SliverID{Axis: walrus.Primary, Index: 3}), bodyOf(nothing, walrus.SliverID{Axis: walrus.Primary, Index: 4}), nil, "400 INVALID_ARGUMENT SLIVER_INDEX_MISMATCH"},
		{"metadata before shard", "PUT", sliverURL(url, nothing, on(nothing, 9, walrus.Primary)), bodyOf(nothing, on(nothing, 9, walrus.Primary)), nil, "400 FAILED_PRECONDITION METADATA_NOT_FOUND"},
		{"mismatch before shard", "PUT", sliverURL(url, b, foreign), bodyOf(b, ours), nil, "400 INVALID_ARGUMENT SLIVER_INDEX_MISMATCH"},
		{"shard before content", "PUT", sliverURL(url, b, foreign), flip(bodyOf(b, foreign), 5), nil, "400 INVALID_ARGUMENT SHARD_NOT_ASSIGNED"},
		{"false sliver", "PUT", sliverURL(url, other, unstored), flip(bodyOf(other, unstored), 5), nil, "400 INVALID_ARGUMENT INVALID_SLIVER"},
		{"false symbol size", "PUT", sliverURL(url, other, unstored), flip(bodyOf(other, unstored), len(bodyOf(other, unstored))-4), nil, "400 INVALID_ARGUMENT INVALID_SLIVER"},
		{"wrong index", "PUT", sliverURL(url, other, unstored), flip(bodyOf(other, unstored), len(bodyOf(other, unstored))-2), nil, "400 INVALID_ARGUMENT SLIVER_INDEX_MISMATCH"},
		{"short sliver", "PUT", sliverURL(url, other, unstored), larger.Params.AppendSliver(nil, unstored, make([]byte, larger.Params.SliverLen(walrus.Primary))), nil, "400 INVALID_ARGUMENT INVALID_SLIVER"},
		{"sliver cut off", "PUT", sliverURL(url, other, unstored), bodyOf(other, unstored)[:20], nil, "400 INVALID_ARGUMENT INVALID_CONTENT_TYPE"},
		{"sliver with something behind", "PUT", sliverURL(url, other, unstored), append(bodyOf(other, unstored), 0), nil, "400 INVALID_ARGUMENT INVALID_CONTENT_TYPE"},
		{"length with needless zeros", "PUT", sliverURL(url, other, unstored), []byte{0x80, 0x00, 1, 2, 3, 4}, nil, "400 INVALID_ARGUMENT INVALID_CONTENT_TYPE"},
		{"empty body", "PUT", sliverURL(url, other, unstored), nil, nil, "400 INVALID_ARGUMENT INVALID_CONTENT_TYPE"},
		{"sliver too long", "PUT", sliverURL(url, other, unstored), make([]byte, walrus.MaxBodyLen(n)+1), nil, "413 text/plain"},
		{"wrong content type", "PUT", sliverURL(url, other, unstored), bodyOf(other, unstored), []string{"Content-Type", "text/plain"}, "400 INVALID_ARGUMENT INVALID_CONTENT_TYPE"},
		{"sliver", "PUT", sliverURL(url, other, unstored), bodyOf(other, unstored), []string{"Content-Type", octets}, "201 sliver stored successfully"},
		{"sliver, pending", "PUT", sliverURL(url, other, unstored2) + "?pending=true", bodyOf(other, unstored2), nil, "202 sliver buffered pending registration"},
		{"that sliver", "GET", sliverURL(url, other, unstored2) + "/status", nil, nil, "200 stored"},
		{"that sliver again", "PUT", sliverURL(url, other, unstored2) + "?pending=true", bodyOf(other, unstored2), nil, "200 sliver already stored"},
		{"false sliver that is there", "PUT", sliverURL(url, other, unstored), flip(bodyOf(other, unstored), 5), nil, "200 sliver already stored"},
		{"short sliver that is there", "PUT", sliverURL(url, b, ours), larger.Params.AppendSliver(nil, ours, make([]byte, larger.Params.SliverLen(walrus.Primary))), nil, "200 sliver already stored"},

		{"confirmation without a key", "GET", blobURL(url, b) + "/confirmation/permanent", nil, nil, "503 UNAVAILABLE NO_KEY"},
		{"malformed object id", "GET", blobURL(url, b) + "/confirmation/deletable/7", nil, nil, "400 text/plain"},
		{"no symbols", "GET", blobURL(url, b) + "/recoverySymbols", nil, nil, "400 INVALID_ARGUMENT NO_SYMBOLS_SPECIFIED"},
		{"both filters", "GET", blobURL(url, b) + "/recoverySymbols?id=1-1&targetSliver=2", nil, nil, "400 INVALID_ARGUMENT INVALID_FILTER"},
		{"half a filter", "GET", blobURL(url, b) + "/recoverySymbols?targetSliver=2", nil, nil, "400 INVALID_ARGUMENT INVALID_FILTER"},
		{"symbol out of range", "GET", blobURL(url, b) + "/recoverySymbols?id=13-1", nil, nil, "400 INVALID_ARGUMENT RECOVERY_SYMBOL_OUT_OF_RANGE"},
		{"target out of range", "GET", blobURL(url, b) + "/recoverySymbols?targetSliver=13&targetType=primary", nil, nil, "400 INVALID_ARGUMENT RECOVERY_SYMBOL_OUT_OF_RANGE"},
		{"malformed symbol", "GET", blobURL(url, b) + "/recoverySymbols?id=1-x", nil, nil, "400 text/plain"},
		{"malformed axis", "GET", blobURL(url, b) + "/recoverySymbols?id=1-1&proofAxis=x", nil, nil, "400 text/plain"},
		{"symbols of an unknown blob", "GET", blobURL(url, nothing) + "/recoverySymbols?id=1-1", nil, nil, "404 NOT_FOUND SLIVER_NOT_FOUND"},
		{"foreign symbol", "GET", fmt.Sprintf("%s/recoverySymbols?id=%d-0&proofAxis=primary", blobURL(url, b), foreign.Index), nil, nil, "400 INVALID_ARGUMENT SYMBOL_NOT_PRESENT_AT_SHARDS"},
		{"symbol of a sliver that is not there", "GET", fmt.Sprintf("%s/recoverySymbols?id=%d-0&proofAxis=primary", blobURL(url, b), on(b, 1, walrus.Primary).Index), nil, nil, "404 NOT_FOUND SLIVER_NOT_FOUND"},
		{"no targets", "GET", blobURL(url, b) + "/decodingSymbols?targetType=primary", nil, nil, "400 INVALID_ARGUMENT NO_TARGET_SLIVERS_SPECIFIED"},
		{"target that is not systematic", "GET", blobURL(url, b) + "/decodingSymbols?targetType=primary&targetSlivers=5", nil, nil, "400 INVALID_ARGUMENT RECOVERY_SYMBOL_OUT_OF_RANGE"},
	} {
		if got := ask(t, q.method, q.url, q.body, q.headers...).String(); got != q.want {
			t.Errorf("%s: %s: got %s, want %s", q.method, q.what, got, q.want)
		}
	}
	// The false bodies have had no effect.
	for _, at := range []walrus.SliverID{unstored, unstored2} {
		got := make([]byte, other.Params.SliverLen(at.Axis))
		if err := store.ReadSliver(t.Context(), other.ID, other.Params, at, got, 0); err != nil || !bytes.Equal(got, other.Sliver(at)) {
			t.Errorf("%s: not as it was (%v)", at, err)
		}
	}
	// What SHARD_NOT_ASSIGNED tells.
	a := ask(t, "GET", sliverURL(url, b, foreign), nil)
	if !strings.Contains(string(a.body), `"metadata":{"epoch":"7","shard":"9"}`) || !strings.Contains(string(a.body), `"domain":"storage.walrus.space"`) {
		t.Errorf("got %s", a.body)
	}
}

func TestRangesOfBodies(t *testing.T) {
	b := nodetest.Encode(t, nodetest.N, nodetest.Bytes(1, 1<<20))
	at := walrus.SliverID{Axis: walrus.Primary, Index: 1}
	for name, store := range map[string]node.Store{"files": newDir(t), "memory": memory{}} {
		t.Run(name, func(t *testing.T) {
			nodetest.Put(t, store, b, at)
			url := sliverURL(start(t, store, node.HandlerOptions{N: nodetest.N}), b, at)
			body := bodyOf(b, at)
			n := len(body)
			for _, c := range []struct {
				header   string
				from, to int // of a 206; -1: 200 and all
			}{
				{"", -1, 0}, {"bytes=0-0", 0, 1}, {"bytes=0-2", 0, 3}, {"bytes=2-4", 2, 5}, {"bytes=3-1002", 3, 1003},
				{fmt.Sprintf("bytes=%d-%d", n-1, n-1), n - 1, n}, {fmt.Sprintf("bytes=%d-%d", n-6, n-3), n - 6, n - 2},
				{fmt.Sprintf("bytes=%d-", n-10), n - 10, n}, {"bytes=0-", 0, n}, {"bytes=5-99999999999", 5, n},
				{"bytes=-1", n - 1, n}, {"bytes=-4", n - 4, n}, {"bytes=-5", n - 5, n}, {"bytes=-99999999999", 0, n}, {fmt.Sprintf("bytes=0-%d", n-1), 0, n},
				// None of these need be understood.
				{"bytes=5-4", -1, 0}, {"bytes=a-b", -1, 0}, {"bytes=", -1, 0}, {"bytes=-", -1, 0}, {"lines=1-2", -1, 0}, {"bytes=0-1,4-5", -1, 0}, {"bytes=--1", -1, 0}, {"bytes=99999999999999999999-", -1, 0},
			} {
				var headers []string
				if c.header != "" {
					headers = []string{"Range", c.header}
				}
				a := ask(t, "GET", url, nil, headers...)
				want, code, contentRange := body, 200, ""
				if c.from >= 0 {
					want, code = body[c.from:c.to], 206
					contentRange = fmt.Sprintf("bytes %d-%d/%d", c.from, c.to-1, n)
				}
				if a.code != code || !bytes.Equal(a.body, want) || a.header.Get("Content-Range") != contentRange || a.header.Get("Accept-Ranges") != "bytes" {
					t.Errorf("%s: got %d, %d bytes, range %q", c.header, a.code, len(a.body), a.header.Get("Content-Range"))
				}
			}
			for _, header := range []string{fmt.Sprintf("bytes=%d-", n), "bytes=99999999999-", "bytes=-0"} {
				a := ask(t, "GET", url, nil, "Range", header)
				if a.String() != "416 RANGE_NOT_SATISFIABLE INVALID_BYTE_RANGE" || a.header.Get("Content-Range") != fmt.Sprintf("bytes */%d", n) {
					t.Errorf("%s: got %s, range %q", header, a, a.header.Get("Content-Range"))
				}
			}
			if a := ask(t, "GET", url, nil, "Range", "bytes=0-1", "If-Range", `"x"`); a.code != 200 {
				t.Errorf("If-Range: got %d", a.code)
			}
			a := ask(t, "HEAD", url, nil, "Range", "bytes=0-1")
			if a.code != 200 || a.header.Get("Content-Length") != fmt.Sprint(n) || len(a.body) > 0 {
				t.Errorf("HEAD: got %d, length %s", a.code, a.header.Get("Content-Length"))
			}
			missing := strings.Replace(url, fmt.Sprintf("/%d/", at.Pair(nodetest.N)), "/2/", 1)
			if a := ask(t, "HEAD", missing, nil); a.code != 404 {
				t.Errorf("HEAD of what is not there: got %d", a.code)
			}
		})
	}
}

// A sliver that is damaged on the node's disk is mended by whoever puts the
// true one.
func TestATrueSliverReplacesADamagedOne(t *testing.T) {
	b := nodetest.Encode(t, nodetest.N, nodetest.Bytes(1, 100_000))
	store := newDir(t)
	c := newClient(t, start(t, store, node.HandlerOptions{N: nodetest.N}), nil)
	nodetest.Put(t, c, b)
	at := walrus.SliverID{Axis: walrus.Primary, Index: 3}
	path := filepath.Join(store.BlobDir(b.ID), "p3")
	for what, damage := range map[string]func() error{
		"flipped":   func() error { return os.WriteFile(path, flip(b.Sliver(at), 100), 0o644) },
		"cut short": func() error { return os.Truncate(path, 100) },
		"too long":  func() error { return os.Truncate(path, int64(len(b.Sliver(at))+1)) },
		"removed":   func() error { return os.Remove(path) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if err := c.PutSliver(t.Context(), b.ID, b.Params, at, b.Sliver(at)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b.Sliver(at)) {
			t.Errorf("%s: not mended (%v)", what, err)
		}
	}
	// Metadata too, of which there are two copies.
	for _, name := range []string{"meta", "meta.copy"} {
		if err := os.WriteFile(filepath.Join(store.BlobDir(b.ID), name), []byte("rot"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.PutMetadata(t.Context(), b.ID, b.Metadata.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if good, of := store.CheckMetadata(b.ID); good != of {
			t.Errorf("%d of %d copies of metadata are good", good, of)
		}
	}
}

func TestANodeThatIsReadOnly(t *testing.T) {
	b := nodetest.Encode(t, nodetest.N, nodetest.Bytes(1, 5003))
	store := newDir(t)
	url := start(t, store, node.HandlerOptions{N: nodetest.N, ReadOnly: true})
	at := walrus.SliverID{Axis: walrus.Primary, Index: 3}
	for _, u := range []string{blobURL(url, b) + "/metadata", sliverURL(url, b, at)} {
		if a := ask(t, "PUT", u, bodyOf(b, at)); a.String() != "403 PERMISSION_DENIED READ_ONLY" {
			t.Errorf("got %s", a)
		}
	}
	nodetest.Put(t, store, b)
	if a := ask(t, "GET", sliverURL(url, b, at), nil); !bytes.Equal(a.body, bodyOf(b, at)) {
		t.Errorf("got %s", a)
	}
}

func TestBrowsersMayAsk(t *testing.T) {
	url := start(t, memory{}, node.HandlerOptions{N: nodetest.N})
	for _, method := range []string{"OPTIONS", "GET"} {
		a := ask(t, method, url+"/v1/health", nil, "Origin", "http://example.org", "Access-Control-Request-Method", "PUT")
		if a.header.Get("Access-Control-Allow-Origin") != "*" || a.code >= 300 {
			t.Errorf("%s: got %d, %v", method, a.code, a.header)
		}
		if method == "OPTIONS" && !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "PUT") {
			t.Errorf("methods: %v", a.header)
		}
	}
}

func TestHealth(t *testing.T) {
	key := walrus.GenerateKey()
	url := start(t, memory{}, node.HandlerOptions{N: nodetest.N, Shards: []int{7, 3}, Epoch: 5, Key: key})
	h, err := newClient(t, url, nil).Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h.Epoch != 5 || h.PublicKey != key.Public().String() || h.Status != "Active" || h.Summary.Owned != 2 || h.Summary.Status.Ready != 2 ||
		!slices.Equal(h.Detail.Owned, []node.ShardStatus{{Shard: 3, Status: "ready"}, {Shard: 7, Status: "ready"}}) {
		t.Errorf("got %+v", h)
	}
	if a := ask(t, "GET", url+"/v1/health", nil); strings.Contains(string(a.body), "shardDetail") {
		t.Errorf("got %s", a.body)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, o := range []node.HandlerOptions{{}, {N: 3}, {N: 1001}, {N: 10, Shards: []int{10}}, {N: 10, Shards: []int{-1}}, {N: 10, Shards: []int{1, 1}}} {
		if _, err := node.NewHandler(memory{}, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
