package node_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// A name in a committee file may lead anywhere. What is not public is not
// dialled unless it may be, however it is written.
func TestPrivateAddressesAreNotDialled(t *testing.T) {
	n := nodetest.Serve(t, memory{}, node.HandlerOptions{N: nodetest.N})
	u, err := url.Parse(n.URL)
	if err != nil {
		t.Fatal(err)
	}
	nw := node.NewNetwork(nil)
	defer nw.Close()
	for _, host := range []string{
		"127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1",
		"[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "0", "0.0.0.0", "[::]",
		"127.0.0.1.", "127.127.127.127",
	} {
		c, err := node.NewClient(nw, "http://"+host+":"+u.Port(), nil)
		if err != nil {
			continue // not even an address
		}
		if _, err := c.Metadata(t.Context(), walrus.BlobID{1}); err == nil {
			t.Errorf("%s: no error", host)
		}
	}
	if n.Asked() > 0 {
		t.Errorf("%d requests came", n.Asked())
	}
	c, err := node.NewClient(nw, n.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Metadata(t.Context(), walrus.BlobID{1}); !errors.Is(err, node.ErrAddress) || node.Transient(err) {
		t.Errorf("got error %v, want ErrAddress", err)
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	nw := node.NewNetwork(nil)
	key := new(walrus.NetworkPublicKey)
	for _, c := range []struct {
		url  string
		opts *node.ClientOptions
	}{
		{"", nil}, {"127.0.0.1:9185", nil}, {"ftp://host", nil}, {"http://", nil}, {"http:host", nil}, {"http:///path", nil}, {"unix:///run/x", nil},
		{"http://user:secret@host", nil}, {"http://host?x=y", nil}, {"http://host#x", nil}, {"http://ho st", nil},
		{"http://host", &node.ClientOptions{Key: key}},
	} {
		_, err := node.NewClient(nw, c.url, c.opts)
		if err == nil {
			t.Errorf("%q: no error", c.url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", c.url, err)
		}
	}
	for in, want := range map[string]string{
		"http://host": "http://host", "https://host:1/": "https://host:1", "http://host/a/b//": "http://host/a/b",
	} {
		c, err := node.NewClient(nw, in, nil)
		if err != nil || c.String() != want {
			t.Errorf("%q: got %v, %v", in, c, err)
		}
	}
}

// certificate returns a certificate that its own key signed, and that has
// expired.
func certificate(t *testing.T, key any, public any) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "of no importance"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestPinnedKeys(t *testing.T) {
	ours, err := walrus.GenerateNetworkKey()
	if err != nil {
		t.Fatal(err)
	}
	pin, err := walrus.NewNetworkPublicKey(&ours.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	other, err := walrus.GenerateNetworkKey()
	if err != nil {
		t.Fatal(err)
	}
	long, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cert tls.Certificate
		pin  *walrus.NetworkPublicKey
		max  uint16 // version of TLS
		err  error  // nil: none; errAny: any
	}{
		{"the right key", certificate(t, ours, &ours.PublicKey), &pin, 0, nil},
		{"another key", certificate(t, other, &other.PublicKey), &pin, 0, node.ErrKey},
		{"a key on another curve", certificate(t, long, &long.PublicKey), &pin, 0, node.ErrKey},
		{"a key of another kind", certificate(t, rsaKey, &rsaKey.PublicKey), &pin, 0, node.ErrKey},
		{"an old version", certificate(t, ours, &ours.PublicKey), &pin, tls.VersionTLS12, errAny},
		{"no pin", certificate(t, ours, &ours.PublicKey), nil, 0, errAny},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int64
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.ProtoMajor != 1 {
					t.Errorf("asked in %s", r.Proto)
				}
				http.NotFound(w, r)
			}))
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{c.cert}, MaxVersion: c.max}
			srv.EnableHTTP2 = true
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.StartTLS()
			defer srv.Close()
			nw := node.NewNetwork(&node.NetworkOptions{Nets: node.AnyNet})
			defer nw.Close()
			client, err := node.NewClient(nw, srv.URL, &node.ClientOptions{Key: c.pin})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Metadata(t.Context(), walrus.BlobID{1})
			var status *node.StatusError
			switch {
			case c.err == nil && !errors.As(err, &status):
				t.Errorf("got error %v, want an answer", err)
			case c.err == nil && asked.Load() != 1, c.err != nil && asked.Load() != 0:
				t.Errorf("%d requests came", asked.Load())
			case c.err != nil && c.err != errAny && !errors.Is(err, c.err):
				t.Errorf("got error %v, want %v", err, c.err)
			}
		})
	}
}

var errAny = errors.New("any")

// Two clients of one address with different keys do not share a connection.
func TestAConnectionIsOfOneKey(t *testing.T) {
	key, err := walrus.GenerateNetworkKey()
	if err != nil {
		t.Fatal(err)
	}
	pin, err := walrus.NewNetworkPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, key, &key.PublicKey)}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	nw := node.NewNetwork(&node.NetworkOptions{Nets: node.AnyNet})
	defer nw.Close()
	wrong := pin
	wrong[5] ^= 1
	for _, c := range []struct {
		pin  walrus.NetworkPublicKey
		good bool
	}{{pin, true}, {wrong, false}, {pin, true}} {
		client, err := node.NewClient(nw, srv.URL, &node.ClientOptions{Key: &c.pin})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Metadata(t.Context(), walrus.BlobID{1}); errors.Is(err, node.ErrKey) == c.good {
			t.Errorf("good is %v: got error %v", c.good, err)
		}
	}
}

// A node that closes a connection which it thinks is idle costs nothing.
func TestIdleConnectionsMayBeClosed(t *testing.T) {
	h, err := node.NewHandler(memory{}, node.HandlerOptions{N: nodetest.N})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Config.IdleTimeout = 20 * time.Millisecond
	srv.Start()
	defer srv.Close()
	c := newClient(t, srv.URL, nil)
	b := nodetest.Encode(t, nodetest.N, nodetest.Bytes(1, 5003))
	for i := range 50 {
		if err := c.PutMetadata(t.Context(), b.ID, b.Metadata.Append(nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(19*time.Millisecond + time.Duration(i*50)*time.Microsecond)
	}
}

func TestStatusErrorsAreReadable(t *testing.T) {
	for _, c := range []struct {
		code int
		body string
		want string
	}{
		{404, `{"error":{"message":"not\nhere","details":[{"@type":"ErrorInfo","reason":"SLIVER_NOT_FOUND"}]}}`, "status 404 SLIVER_NOT_FOUND (not here)"},
		{500, "", "status 500"},
		{500, "\x1b[31mred\x00\xff\u202e", "status 500 ([31mred)"},
		{502, strings.Repeat("<html>", 10000), "status 502 (" + strings.Repeat("<html>", 33) + "<h…)"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(c.code)
			fmt.Fprint(w, c.body)
		}))
		_, err := newClient(t, srv.URL, nil).Metadata(t.Context(), walrus.BlobID{1})
		var status *node.StatusError
		if !errors.As(err, &status) || status.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
		srv.Close()
	}
}
