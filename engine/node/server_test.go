package node_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// A pipes listener hands out one end of pipes, which know virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{} // closed by Close
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial() net.Conn {
	a, b := net.Pipe()
	p.conns <- a
	return b
}

// served runs test with a server of s, in virtual time.
func served(t *testing.T, s node.Store, opts *node.ServeOptions, test func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		h, err := node.NewHandler(s, node.HandlerOptions{N: nodetest.N})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ln := newPipes()
		ended := make(chan error)
		go func() { ended <- node.Serve(ctx, ln, h, opts) }()
		test(t, ln.dial)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// closedAfter returns what comes over c and how long it takes until it ends.
func closedAfter(c net.Conn) (string, time.Duration) {
	begun := time.Now()
	got, _ := io.ReadAll(c)
	return string(got), time.Since(begun)
}

func TestWhoeverIsSlowIsCutOff(t *testing.T) {
	b := nodetest.Encode(t, nodetest.N, nodetest.Bytes(1, 1<<20))
	at := walrus.SliverID{Axis: walrus.Primary, Index: 0}
	store := memory{}
	nodetest.Put(t, store, b, at)
	get := fmt.Sprintf("GET /v1/blobs/%s/slivers/0/primary HTTP/1.1\r\nHost: x\r\n\r\n", b.ID)
	put := fmt.Sprintf("PUT /v1/blobs/%s/slivers/1/primary HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", b.ID, b.Params.BodyLen(walrus.Primary))
	drip := func(c net.Conn, s string) {
		for i := range s {
			if _, err := c.Write([]byte(s[i : i+1])); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	for _, q := range []struct {
		name   string
		client func(c net.Conn)
		within time.Duration
	}{
		{"says nothing", func(c net.Conn) {}, 6 * time.Second},
		{"headers by the byte", func(c net.Conn) { drip(c, get) }, 6 * time.Second},
		{"body by the byte", func(c net.Conn) {
			io.WriteString(c, put)
			drip(c, strings.Repeat("x", 1000))
		}, 10 * time.Second},
		{"no body", func(c net.Conn) { io.WriteString(c, put) }, 10 * time.Second},
		{"no second request", func(c net.Conn) { io.WriteString(c, get) }, 130 * time.Second},
	} {
		t.Run(q.name, func(t *testing.T) {
			served(t, store, nil, func(t *testing.T, dial func() net.Conn) {
				c := dial()
				var wg sync.WaitGroup
				wg.Go(func() { q.client(c) })
				defer wg.Wait()
				defer c.Close()
				if _, took := closedAfter(c); took > q.within {
					t.Errorf("the connection was closed after %v, want %v", took, q.within)
				}
			})
		})
	}
	t.Run("does not read", func(t *testing.T) {
		served(t, store, nil, func(t *testing.T, dial func() net.Conn) {
			c := dial()
			defer c.Close()
			io.WriteString(c, get)
			c.Read(make([]byte, 100))
			time.Sleep(10 * time.Second)
			if _, err := io.ReadFull(c, make([]byte, b.Params.BodyLen(walrus.Primary))); err == nil {
				t.Error("the answer was still there after 10 s")
			}
		})
	})
}

func TestHeadersAreBounded(t *testing.T) {
	served(t, memory{}, nil, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		defer c.Close()
		go io.WriteString(c, "GET /v1/health HTTP/1.1\r\nHost: x\r\nX-Bomb: "+strings.Repeat("x", 1<<20))
		got, took := closedAfter(c)
		if !strings.HasPrefix(got, "HTTP/1.1 431 ") || took > 6*time.Second {
			t.Errorf("got %.40q after %v", got, took)
		}
	})
}

// Walrus' own clients speak HTTP/2 alone, ours HTTP/1.1 alone.
func TestServingWithTLS(t *testing.T) {
	key, err := walrus.GenerateNetworkKey()
	if err != nil {
		t.Fatal(err)
	}
	pin, err := walrus.NewNetworkPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := certificate(t, key, &key.PublicKey)
	h, err := node.NewHandler(newDir(t), node.HandlerOptions{N: nodetest.N})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- node.Serve(ctx, ln, h, &node.ServeOptions{Certificate: &cert}) }()

	nw := node.NewNetwork(&node.NetworkOptions{Nets: node.AnyNet})
	defer nw.Close()
	url := "https://" + ln.Addr().String()
	c, err := node.NewClient(nw, url, &node.ClientOptions{Key: &pin})
	if err != nil {
		t.Fatal(err)
	}
	b := nodetest.Encode(t, nodetest.N, nodetest.Bytes(1, 1<<20))
	nodetest.Put(t, c, b)
	at := walrus.SliverID{Axis: walrus.Secondary, Index: 4}
	got := make([]byte, 1000)
	if err := c.ReadSliver(t.Context(), b.ID, b.Params, at, got, 100); err != nil || !bytes.Equal(got, b.Sliver(at)[100:1100]) {
		t.Errorf("HTTP/1.1: %v", err)
	}
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer tr.CloseIdleConnections()
	for rng, want := range map[string][]byte{"": bodyOf(b, at), "bytes=500-300000": nil} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, sliverURL(url, b, at), nil)
		if err != nil {
			t.Fatal(err)
		}
		if rng != "" {
			req.Header.Set("Range", rng)
			want = bodyOf(b, at)[500:min(300001, len(bodyOf(b, at)))]
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.ProtoMajor != 2 || !bytes.Equal(got, want) {
			t.Errorf("%s of range %q: %d bytes, %v", resp.Proto, rng, len(got), err)
		}
	}
	tr.CloseIdleConnections()
	nw.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	served(t, memory{}, &node.ServeOptions{Conns: 2}, func(t *testing.T, dial func() net.Conn) {
		a, b, c := dial(), dial(), dial()
		defer a.Close()
		defer b.Close()
		if _, took := closedAfter(c); took > 0 {
			t.Errorf("the third was closed after %v", took)
		}
		a.Close()
		synctest.Wait()
		d := dial()
		defer d.Close()
		go io.WriteString(d, "GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if got, _ := closedAfter(d); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("the fourth got %.40q", got)
		}
	})
}

// A server that is told to end lets requests finish, for a while.
func TestServingEndsGracefully(t *testing.T) {
	for _, delay := range []time.Duration{3 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			store := nodetest.NewStore(memory{})
			b := nodetest.Encode(t, nodetest.N, nodetest.Bytes(1, 5003))
			nodetest.Put(t, store, b)
			store.Set(nodetest.Slow, delay)
			h, err := node.NewHandler(store, node.HandlerOptions{N: nodetest.N})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ln := newPipes()
			ended := make(chan error)
			go func() { ended <- node.Serve(ctx, ln, h, nil) }()
			c := ln.dial()
			defer c.Close()
			io.WriteString(c, fmt.Sprintf("GET /v1/blobs/%s/metadata HTTP/1.1\r\nHost: x\r\n\r\n", b.ID))
			synctest.Wait()
			begun := time.Now()
			cancel()
			answered := make(chan error)
			go func() {
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
				}
				answered <- err
			}()
			err = <-answered
			if served := err == nil; served != (delay < 10*time.Second) {
				t.Errorf("a request of %v: %v", delay, err)
			}
			if err := <-ended; err != nil || time.Since(begun) > 11*time.Second {
				t.Errorf("ended after %v: %v", time.Since(begun), err)
			}
		})
	}
}

// Requests that cost much are done one by one, and refused when too many wait.
func TestExpensiveRequestsAreLimited(t *testing.T) {
	b := nodetest.Encode(t, nodetest.N, nodetest.Bytes(1, 5003))
	store := nodetest.NewStore(memory{})
	nodetest.Put(t, store, b)
	url := start(t, store, node.HandlerOptions{N: nodetest.N})
	client := newClient(t, url, &node.NetworkOptions{Nets: node.AnyNet, PerHost: 1000})
	if _, err := client.Metadata(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	store.Set(nodetest.Hung, 0)
	ctx, cancel := context.WithCancel(t.Context())
	const requests = 200
	busy := make(chan error, requests) // takes what ends before cancel
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			_, err := client.RecoverySymbols(ctx, b.ID, b.Params, walrus.SliverID{Axis: walrus.Primary, Index: 1})
			if ctx.Err() == nil {
				busy <- err
			}
		})
	}
	var status *node.StatusError
	for range requests / 2 { // fewer run and wait on any machine with less than 160 cores
		if err := <-busy; !errors.As(err, &status) || status.Code != 503 || status.RetryAfter == 0 || !node.Transient(err) {
			t.Fatalf("got error %v, want 503 and when to come again", err)
		}
	}
	cancel()
	wg.Wait()
	store.Set(nodetest.None, 0)
	// The server hears in its own time that nobody waits any more.
	for try := 1; ; try++ {
		_, err := client.RecoverySymbols(t.Context(), b.ID, b.Params, walrus.SliverID{Axis: walrus.Primary, Index: 1})
		if err == nil {
			break
		}
		if try == 500 || !node.Transient(err) {
			t.Fatalf("afterwards, try %d: %v", try, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
