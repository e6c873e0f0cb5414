package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

// NetworkOptions are the settings of a Network; nil and zero mean the
// defaults.
type NetworkOptions struct {
	// Nets are the networks that may be dialled although they are not part of
	// the public internet, as the loopback and private ones: default none.
	// AnyNet holds all. It is the address that is checked, after names have
	// been resolved.
	Nets []netip.Prefix

	// Advice is what the error about an address that may not be dialled says
	// behind the address: what can be done about it.
	Advice string

	PerHost int           // requests to one host at a time: default 16
	Connect time.Duration // for a connection and its handshake: default 5 s
	Answer  time.Duration // for the beginning of an answer: default 10 s
	Store   time.Duration // for the answer to a body, which is proven and made durable: default 60 s
	Window  time.Duration // in which Rate is measured: default 5 s
	Rate    int           // bytes/s that must flow while a body does: default 32 KiB/s

	// Proxy says which proxy to take: default none. The proxy's address is the
	// one that is checked.
	Proxy func(*http.Request) (*url.URL, error)
}

// AnyNet holds all addresses, for NetworkOptions.Nets.
var AnyNet = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

func (o *NetworkOptions) withDefaults() NetworkOptions {
	var d NetworkOptions
	if o != nil {
		d = *o
	}
	for _, x := range []struct {
		v    *time.Duration
		none time.Duration
	}{
		{&d.Connect, 5 * time.Second}, {&d.Answer, 10 * time.Second},
		{&d.Store, 60 * time.Second}, {&d.Window, 5 * time.Second},
	} {
		if *x.v == 0 {
			*x.v = x.none
		}
	}
	if d.PerHost == 0 {
		d.PerHost = 16
	}
	if d.Rate == 0 {
		d.Rate = 32 << 10
	}
	return d
}

// A Network is what the clients of a process share: connections, limits for
// each host, and the rules by which connections are made. It follows no
// redirects, asks for no compression, and speaks HTTP/1.1, which takes a third
// of the processor time HTTP/2 does.
type Network struct {
	opts NetworkOptions

	mu     sync.Mutex      // guards what follows
	web    *http.Transport // to nodes without a certain key
	pinned map[walrus.NetworkPublicKey]*http.Transport
	hosts  map[string]*host
}

// A host is what is shared by all requests to one address.
type host struct {
	slots chan struct{} // one for each request under way
	moved atomic.Int64  // bytes of bodies, both ways
}

// NewNetwork returns a Network, which lives as long as its clients.
func NewNetwork(opts *NetworkOptions) *Network {
	return &Network{
		opts:   opts.withDefaults(),
		pinned: make(map[walrus.NetworkPublicKey]*http.Transport),
		hosts:  make(map[string]*host),
	}
}

// Close closes the connections that are not in use.
func (nw *Network) Close() {
	nw.mu.Lock()
	defer nw.mu.Unlock()
	for _, t := range nw.pinned {
		t.CloseIdleConnections()
	}
	if nw.web != nil {
		nw.web.CloseIdleConnections()
	}
}

func (nw *Network) host(name string) *host {
	nw.mu.Lock()
	defer nw.mu.Unlock()
	h := nw.hosts[name]
	if h == nil {
		h = &host{slots: make(chan struct{}, nw.opts.PerHost)}
		nw.hosts[name] = h
	}
	return h
}

// transport returns the transport to nodes with a certain key, if key is not
// nil. A connection that was proven to reach one key never serves another.
func (nw *Network) transport(key *walrus.NetworkPublicKey) *http.Transport {
	nw.mu.Lock()
	defer nw.mu.Unlock()
	if key == nil {
		if nw.web == nil {
			nw.web = nw.newTransport(nil)
		}
		return nw.web
	}
	t := nw.pinned[*key]
	if t == nil {
		t = nw.newTransport(key)
		nw.pinned[*key] = t
	}
	return t
}

func (nw *Network) newTransport(key *walrus.NetworkPublicKey) *http.Transport {
	dialer := &net.Dialer{Timeout: nw.opts.Connect, KeepAlive: 30 * time.Second, ControlContext: nw.checkAddress}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  nw.opts.Proxy,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        tlsConfig(key),
		TLSHandshakeTimeout:    nw.opts.Connect,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    nw.opts.PerHost,
		MaxConnsPerHost:        nw.opts.PerHost,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  time.Second, // for requests that ask first whether their body is wanted
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// ErrAddress says that an address is not one that may be dialled.
var ErrAddress = errors.New("address is not on the public internet")

// checkAddress is called with the resolved address of every connection.
func (nw *Network) checkAddress(_ context.Context, network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || (network != "tcp4" && network != "tcp6") {
		return fmt.Errorf("%w: %s %s", ErrAddress, network, address)
	}
	addr := ap.Addr().Unmap().WithZone("")
	for _, p := range nw.opts.Nets {
		if p.Contains(addr) {
			return nil
		}
	}
	if !public(addr) {
		return fmt.Errorf("%w: %s%s", ErrAddress, addr, nw.opts.Advice)
	}
	return nil
}

// notPublic are the networks that are not part of the public internet.
var notPublic = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

var (
	unicast6 = netip.MustParsePrefix("2000::/3") // all that is in use
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// public reports whether addr is an address on the public internet.
func public(addr netip.Addr) bool {
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.Is6() && !unicast6.Contains(addr) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(addr) {
			return false
		}
	}
	return addr.IsValid()
}

// ErrKey says that a node does not have the key that it should have.
var ErrKey = errors.New("node has another key")

// tlsConfig returns the configuration for nodes with a certain network key, or
// with a certificate of the web's authorities if key is nil.
func tlsConfig(key *walrus.NetworkPublicKey) *tls.Config {
	if key == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The key is all that counts: names, dates and issuers say nothing
		// beyond it. The handshake proves that the other side has it.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			var got walrus.NetworkPublicKey
			if k, ok := s.PeerCertificates[0].PublicKey.(*ecdsa.PublicKey); ok {
				got, _ = walrus.NewNetworkPublicKey(k) // zero if it is another kind of key
			}
			if got != *key {
				return fmt.Errorf("%w: %x, want %x", ErrKey, got, *key)
			}
			return nil
		},
	}
}
