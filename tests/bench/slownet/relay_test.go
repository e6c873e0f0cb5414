package slownet

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What goes in comes out, in both directions, on many connections at once.
func TestEveryByteArrives(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.(*net.TCPConn).CloseWrite()
			}()
		}
	}()
	r, err := Listen(echo.Addr().String(), Model{RoundTrip: time.Millisecond, Rate: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c, err := net.Dial("tcp", r.Addr())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			want := make([]byte, 1<<20+i)
			rand.NewChaCha8([32]byte{byte(i)}).Read(want)
			go func() {
				c.Write(want)
				c.(*net.TCPConn).CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes of %d came back: %v", len(got), len(want), err)
			}
		})
	}
	wg.Wait()
}

// By a clock that moves only when everybody waits: making a connection costs
// a round trip, what is sent half of one, and bytes what they weigh.
func TestTheNetworkIsAsSlowAsTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Relay{model: Model{RoundTrip: 20 * time.Millisecond}, up: link{rate: 1e6}, down: link{rate: 1e6}}
		client, near := net.Pipe()
		far, server := net.Pipe()
		var relay sync.WaitGroup
		relay.Go(func() { r.relay(near, far) })
		began := time.Now()
		since := func() time.Duration { return time.Since(began) }
		go client.Write(make([]byte, 1000))
		io.ReadFull(server, make([]byte, 1000))
		if got := since(); got != 30*time.Millisecond {
			t.Errorf("what is sent first arrives after %v, not after 30 ms", got)
		}
		began = time.Now()
		go server.Write(make([]byte, 500_000))
		io.ReadFull(client, make([]byte, 500_000))
		if got := since(); got != 510*time.Millisecond-burst {
			t.Errorf("500,000 bytes arrive after %v, not after 510 ms less a burst", got)
		}
		client.Close()
		server.Close()
		relay.Wait()
	})
}

// Two connections have between them what one would have.
func TestConnectionsShareTheBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Relay{model: Model{}, up: link{rate: 1e6}, down: link{rate: 1e6}}
		began := time.Now()
		var all sync.WaitGroup
		for range 2 {
			client, near := net.Pipe()
			far, server := net.Pipe()
			all.Go(func() { r.relay(near, far) })
			all.Go(func() { client.Write(make([]byte, 500_000)) })
			all.Go(func() {
				io.ReadFull(server, make([]byte, 500_000))
				server.Close()
				client.Close()
			})
		}
		all.Wait()
		if got := time.Since(began); got != time.Second-burst {
			t.Errorf("twice 500,000 bytes take %v, not a second less a burst", got)
		}
	})
}

// A reader that goes away takes what serves it along.
func TestCloseWaitsForNobody(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r, err := Listen(silent.Addr().String(), Model{RoundTrip: time.Millisecond, Rate: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	io.ReadAll(c) // ends
}
