// Package slownet relays TCP connections as slowly as a network would: with a
// latency, and with a bandwidth that all connections share.
//
// What it leaves out makes it kinder than a real network: nothing is lost, and
// connections begin at full speed. Its own cost is one copy of every byte by
// this process.
package slownet

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// A Model is what a network is like.
type Model struct {
	RoundTrip time.Duration
	Rate      float64 // bytes per second in each direction
}

// window is how many bytes of one connection can be on their way in one
// direction.
const window = 4 << 20

const packet = 64 << 10

// A Relay passes connections on to one address.
type Relay struct {
	model    Model
	listener net.Listener
	to       string
	up, down link
	wg       sync.WaitGroup // of all that it has started

	mu     sync.Mutex // guards what follows
	open   map[net.Conn]bool
	closed bool
}

// Listen returns a relay to an address, on a free port of the loopback.
func Listen(to string, m Model) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{model: m, listener: l, to: to, up: link{rate: m.Rate}, down: link{rate: m.Rate}, open: map[net.Conn]bool{}}
	r.wg.Go(r.accept)
	return r, nil
}

// Addr returns the address that the relay listens on.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Close ends all connections, and returns when nothing of the relay is left.
func (r *Relay) Close() error {
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for c := range r.open {
		c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
	return err
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.wg.Go(func() {
			defer client.Close()
			server, err := net.Dial("tcp", r.to)
			if err != nil {
				return
			}
			defer server.Close()
			if r.note(client, server) {
				r.relay(client, server)
			}
			r.forget(client, server)
		})
	}
}

// note remembers connections that Close has to end. It reports whether there
// is still time to.
func (r *Relay) note(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.open[c] = true
	}
	return !r.closed
}

func (r *Relay) forget(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		delete(r.open, c)
	}
}

// relay passes bytes on in both directions until both ends have no more. The
// client has its connection at once, so what it sends first waits for the
// round trip that making one takes.
func (r *Relay) relay(client, server net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { pass(client, server, &r.up, r.model.RoundTrip/2, time.Now().Add(r.model.RoundTrip)) })
	both.Go(func() { pass(server, client, &r.down, r.model.RoundTrip/2, time.Time{}) })
	both.Wait()
}

// A link is one direction of a network's bandwidth.
type link struct {
	rate float64

	mu   sync.Mutex
	free time.Time // when what was sent last has left; guarded by mu
}

// burst is how much of the time that the link has been idle it makes up for:
// sleeps are longer than they should be, and would cost bandwidth.
const burst = 2 * time.Millisecond

// send returns when n bytes that are sent at a time have left.
func (l *link) send(at time.Time, n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if early := at.Add(-burst); l.free.Before(early) {
		l.free = early
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	if l.free.Before(at) {
		return at
	}
	return l.free
}

// A parcel is bytes on their way.
type parcel struct {
	data    []byte
	arrives time.Time
}

var packets = sync.Pool{New: func() any { return new([packet]byte) }}

// pass passes on what comes from one end to the other, until there is no more
// or an end is gone. Nothing is sent before a time.
func pass(from, to net.Conn, l *link, latency time.Duration, notBefore time.Time) {
	way := make(chan parcel, window/packet) // the reader sends and closes; full: the window is
	gone := make(chan struct{})             // closed when nobody takes parcels any more
	var writer sync.WaitGroup
	writer.Go(func() {
		defer close(gone)
		deliver(to, way)
	})
	for {
		buf := packets.Get().(*[packet]byte)
		n, err := from.Read(buf[:])
		if n > 0 {
			at := time.Now()
			if at.Before(notBefore) {
				at = notBefore
			}
			left := l.send(at, n)
			time.Sleep(time.Until(left))
			select {
			case way <- parcel{buf[:n], left.Add(latency)}:
			case <-gone:
				err = net.ErrClosed
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				to.Close()
			}
			break
		}
	}
	close(way)
	writer.Wait()
}

// deliver writes parcels as they arrive, and then ends that direction.
func deliver(to net.Conn, way <-chan parcel) {
	for p := range way {
		time.Sleep(time.Until(p.arrives))
		_, err := to.Write(p.data)
		packets.Put((*[packet]byte)(p.data[:packet]))
		if err != nil {
			to.Close()
			return
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	} else {
		to.Close()
	}
}
