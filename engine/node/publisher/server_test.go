package publisher_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// A daemon is a publisher and an upload relay, written from the specification
// of their APIs: it encodes what it gets.
type daemon struct {
	URL string

	refusing sync.WaitGroup // requests that are being refused

	n     int // shards
	limit int // bytes of a body; 0: any
	token string
	tip   string // JSON; empty: it knows of none
	keys  []*walrus.PrivateKey
	alter func(answer string) string

	mu     sync.Mutex // guards what follows
	stored map[walrus.BlobID][]byte
	fails  []int // status codes of the next answers
	asked  []string
	read   int // bytes of bodies
}

func start(t *testing.T, d *daemon) *daemon {
	t.Helper()
	if d.n == 0 {
		d.n = 10
	}
	d.stored = make(map[walrus.BlobID][]byte)
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	d.URL = srv.URL
	return d
}

func network(t *testing.T) *node.Network {
	nw := node.NewNetwork(&node.NetworkOptions{Nets: node.AnyNet, Window: 2 * time.Second})
	t.Cleanup(nw.Close)
	return nw
}

// requests returns what was asked since the last time.
func (d *daemon) requests() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.asked
	d.asked = nil
	return all
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.asked = append(d.asked, r.Method+" "+r.URL.RequestURI())
	code := 0
	if len(d.fails) > 0 {
		code, d.fails = d.fails[0], d.fails[1:]
	}
	d.mu.Unlock()
	q := r.URL.Query()
	switch {
	case d.token != "" && r.Header.Get("Authorization") != "Bearer "+d.token:
		http.Error(w, "unauthorized", http.StatusUnauthorized)
	case d.limit > 0 && r.ContentLength > int64(d.limit):
		// What is sent all the same is counted, until the other end has heard.
		if c, in, err := http.NewResponseController(w).Hijack(); err == nil {
			d.refusing.Add(1)
			defer d.refusing.Done()
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			io.WriteString(c, "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 21\r\nConnection: close\r\n\r\nlength limit exceeded")
			n, _ := io.Copy(io.Discard, in)
			c.Close()
			d.mu.Lock()
			d.read += int(n)
			d.mu.Unlock()
		}
	case code == http.StatusGatewayTimeout:
		w.WriteHeader(code)
		io.WriteString(w, `{"error":{"status":"DEADLINE_EXCEEDED","code":504,"message":"the service timed-out while waiting for confirmations, please try again","details":[{"@type":"ErrorInfo","reason":"INSUFFICIENT_CONFIRMATIONS","domain":"daemon.walrus.space","metadata":{}}]}}`)
	case code > 0:
		http.Error(w, "no", code)
	case r.Method == "PUT" && r.URL.Path == "/v1/blobs":
		for name := range q {
			if !slices.Contains([]string{"epochs", "permanent"}, name) {
				http.Error(w, "unknown field "+name, http.StatusBadRequest)
				return
			}
		}
		id, size, again := d.store(w, r)
		switch {
		case size < 0:
		case again:
			d.answer(w, fmt.Sprintf(`{"alreadyCertified":{"blobId":%q,"event":{"txDigest":"CLE41JTPR2CgZRC1gyKK6P3xpQRHCetQMsmtEgqGjwst","eventSeq":"0"},"endEpoch":57}}`, id))
		default:
			d.answer(w, fmt.Sprintf(`{"newlyCreated":{"blobObject":{"id":"0x%064d","registeredEpoch":34,"blobId":%q,"size":%d,"encodingType":"RS2","certifiedEpoch":34,"storage":{"id":"0x%064d","startEpoch":34,"endEpoch":%s7,"storageSize":66034000},"deletable":%t},"resourceOperation":{"registerFromScratch":{"encodedLength":66034000,"epochsAhead":1}},"cost":132300}}`,
				1, id, size, 2, q.Get("epochs"), q.Get("permanent") != "true"))
		}
	case r.Method == "GET" && r.URL.Path == "/v1/tip-config" && d.tip != "":
		io.WriteString(w, d.tip)
	case r.Method == "POST" && r.URL.Path == "/v1/blob-upload-relay":
		id, size, _ := d.store(w, r)
		switch {
		case size < 0:
		case id.String() != q.Get("blob_id"):
			http.Error(w, "the provided blob ID and the blob ID resulting from the blob encoding do not match", http.StatusBadRequest)
		default:
			d.answer(w, d.certify(id))
		}
	default:
		http.NotFound(w, r)
	}
}

// store encodes and keeps a blob. A size below 0 says that it has answered.
func (d *daemon) store(w http.ResponseWriter, r *http.Request) (id walrus.BlobID, size int, again bool) {
	data, err := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read += len(data)
	if err != nil || r.ContentLength != int64(len(data)) {
		http.Error(w, "no length, or not that many bytes", http.StatusBadRequest)
		return id, -1, false
	}
	enc, err := walrus.NewEncoder(d.n)
	if err != nil {
		panic(err)
	}
	b, err := enc.Encode(r.Context(), data, 0)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return id, -1, false
	}
	_, again = d.stored[b.ID]
	d.stored[b.ID] = data
	return b.ID, len(data), again
}

// certify returns what a relay answers.
func (d *daemon) certify(id walrus.BlobID) string {
	message := walrus.StoredMessage{Epoch: 21, Blob: id}.Bytes()
	var all []walrus.Signature
	var signers []int
	for i, k := range d.keys {
		all, signers = append(all, k.Sign(message)), append(signers, 3*i)
	}
	sum, err := walrus.Aggregate(all)
	if err != nil {
		panic(err)
	}
	numbers, _ := json.Marshal(signers)
	return fmt.Sprintf(`{"blob_id":%q,"confirmation_certificate":{"signers":%s,"serialized_message":%s,"signature":%q}}`,
		id, numbers, list(message), sum)
}

// list returns bytes as a list of numbers, which is how relays write them.
func list(b []byte) string { return strings.ReplaceAll(fmt.Sprint(b), " ", ",") }

func (d *daemon) answer(w http.ResponseWriter, body string) {
	if d.alter != nil {
		body = d.alter(body)
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, body)
}

func encode(t testing.TB, seed uint64, size int) *walrus.Encoded {
	return nodetest.Encode(t, 10, nodetest.Bytes(seed, size))
}
