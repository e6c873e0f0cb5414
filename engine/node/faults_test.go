package node_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// hasty are options with which waiting is short enough for tests.
func hasty() *node.NetworkOptions {
	return &node.NetworkOptions{
		Nets: node.AnyNet, Answer: 300 * time.Millisecond, Store: 300 * time.Millisecond, Window: 300 * time.Millisecond,
	}
}

// What the client makes of a fault.
type outcome struct {
	err       error // that the error wraps; nil: anything, or none if it is right or a lie
	right     bool  // the bytes are those asked for
	lie       bool  // they are not, and nothing says so
	transient bool
}

func TestEveryFaultIsAnErrorOrALieInGoodTime(t *testing.T) {
	failed := outcome{transient: true}
	broken := outcome{err: node.ErrProtocol}
	cut := outcome{err: io.ErrUnexpectedEOF, transient: true}
	slow := outcome{err: node.ErrSlow, transient: true}
	absent := outcome{err: fs.ErrNotExist}
	right := outcome{right: true}
	lie := outcome{lie: true}

	for fault, want := range map[nodetest.Fault]struct{ part, whole, meta outcome }{
		nodetest.None:        {right, right, right},
		nodetest.Dead:        {failed, failed, failed},
		nodetest.Hung:        {slow, slow, slow},
		nodetest.Slow:        {right, right, right},
		nodetest.Truncating:  {cut, cut, cut},
		nodetest.Lying:       {lie, lie, lie},
		nodetest.WrongBlob:   {lie, lie, broken},
		nodetest.WrongShard:  {lie, lie, right},
		nodetest.Forgetful:   {absent, absent, absent},
		nodetest.Failing:     {failed, failed, failed},
		nodetest.Busy:        {failed, failed, failed},
		nodetest.Losing:      {failed, failed, failed},
		nodetest.Dripping:    {slow, slow, slow},
		nodetest.Redirecting: {broken, broken, broken},
		nodetest.HeaderBomb:  {failed, failed, failed},
		nodetest.HintFlood:   {failed, failed, failed},
		nodetest.GzipBomb:    {broken, broken, broken},
		nodetest.Endless:     {broken, broken, broken},
		nodetest.Padding:     {broken, broken, lie}, // metadata may have any length
		nodetest.WrongRange:  {broken, right, right},
		nodetest.WholeRange:  {right, right, right},
		nodetest.NotHTTP:     {failed, failed, failed},
		nodetest.FalseLength: {broken, broken, broken},
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			w := newFaultyWorld(t)
			w.node.Set(fault, 0)
			p := make([]byte, 1000)
			w.check(t, "part of a sliver", want.part, func() (bool, error) {
				err := w.client.ReadSliver(t.Context(), w.blob.ID, w.blob.Params, w.at, p, 777)
				return bytes.Equal(p, w.blob.Sliver(w.at)[777:1777]), err
			})
			whole := make([]byte, w.blob.Params.SliverLen(w.at.Axis))
			w.check(t, "whole sliver", want.whole, func() (bool, error) {
				err := w.client.ReadSliver(t.Context(), w.blob.ID, w.blob.Params, w.at, whole, 0)
				return bytes.Equal(whole, w.blob.Sliver(w.at)), err
			})
			w.check(t, "metadata", want.meta, func() (bool, error) {
				data, err := w.client.Metadata(t.Context(), w.blob.ID)
				return bytes.Equal(data, w.blob.Metadata.Append(nil)), err
			})
			if fault != nodetest.None && w.node.Faulted() < 3 {
				t.Errorf("%d requests met the fault", w.node.Faulted())
			}
			if most := 9; w.node.Asked() > most {
				t.Errorf("%d requests came of 3 calls", w.node.Asked())
			}
			if got, want := w.client.Ranges(), fault != nodetest.WholeRange; got != want {
				t.Errorf("Ranges is %v, want %v", got, want)
			}
			w.node.Set(nodetest.None, 0)
			w.check(t, "healed", right, func() (bool, error) {
				err := w.client.ReadSliver(t.Context(), w.blob.ID, w.blob.Params, w.at, p, 777)
				return bytes.Equal(p, w.blob.Sliver(w.at)[777:1777]), err
			})
		})
	}
}

type faultyWorld struct {
	blob   *walrus.Encoded
	node   *nodetest.Node
	client *node.Client
	at     walrus.SliverID
}

// newFaultyWorld returns a node that has two blobs, of slivers of about 90 KB.
func newFaultyWorld(t *testing.T) *faultyWorld {
	w := &faultyWorld{at: walrus.SliverID{Axis: walrus.Primary, Index: 2}}
	store := memory{}
	for seed := range uint64(2) {
		w.blob = nodetest.Encode(t, nodetest.N, nodetest.Bytes(seed, 400<<10))
		nodetest.Put(t, store, w.blob)
	}
	w.node = nodetest.Serve(t, store, node.HandlerOptions{N: nodetest.N})
	w.client = w.node.Client(t, hasty())
	other := nodetest.Encode(t, nodetest.N, nodetest.Bytes(0, 400<<10))
	for _, b := range []*walrus.Encoded{other, w.blob} { // so that the node knows of them
		if err := w.client.ReadSliver(t.Context(), b.ID, b.Params, w.at, make([]byte, 1), 0); err != nil {
			t.Fatal(err)
		}
	}
	w.node.Set(nodetest.None, 0)
	return w
}

func (w *faultyWorld) check(t *testing.T, what string, want outcome, call func() (bool, error)) {
	t.Helper()
	begun := time.Now()
	right, err := call()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("%s: took %v", what, took)
	}
	switch {
	case want.right && (err != nil || !right):
		t.Errorf("%s: got right bytes %v, error %v, want right bytes", what, right, err)
	case want.lie && (err != nil || right):
		t.Errorf("%s: got right bytes %v, error %v, want false ones", what, right, err)
	case !want.right && !want.lie && err == nil:
		t.Errorf("%s: got no error", what)
	case want.err != nil && !errors.Is(err, want.err):
		t.Errorf("%s: got error %v, want %v", what, err, want.err)
	case err != nil && node.Transient(err) != want.transient:
		t.Errorf("%s: transient is %v of %v", what, node.Transient(err), err)
	}
	if err != nil && (len(err.Error()) > 500 || strings.Contains(err.Error(), "\x1b")) {
		t.Errorf("%s: message of %d bytes: %q", what, len(err.Error()), err)
	}
}

// Nothing that a client starts outlives the call that started it, however it
// ended.
func TestFaultsLeaveNothingBehind(t *testing.T) {
	w := newFaultyWorld(t)
	before := runtime.NumGoroutine()
	for _, fault := range nodetest.Faults {
		w.node.Set(fault, 10*time.Millisecond)
		w.client.ReadSliver(t.Context(), w.blob.ID, w.blob.Params, w.at, make([]byte, 1000), 0)
	}
	w.node.Close()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestAFaultyPutIsAnError(t *testing.T) {
	for _, fault := range nodetest.Faults {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			w := newFaultyWorld(t)
			w.node.Set(fault, 0)
			err := w.client.PutSliver(t.Context(), w.blob.ID, w.blob.Params, w.at, w.blob.Sliver(w.at))
			switch fault {
			// What the answer says beside its status is not looked at.
			case nodetest.Slow, nodetest.Lying, nodetest.WrongBlob, nodetest.WrongShard, nodetest.Padding,
				nodetest.WrongRange, nodetest.WholeRange, nodetest.Endless, nodetest.FalseLength, nodetest.Dripping, nodetest.Truncating:
				if err != nil {
					t.Errorf("got error %v", err)
				}
			default:
				if err == nil {
					t.Error("got no error")
				}
			}
		})
	}
}

// A node that takes a connection and then nothing of a body is given up.
func TestABodyThatIsNotTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	b := nodetest.Encode(t, 49, nodetest.Bytes(1, 20<<20)) // slivers of more than sockets hold
	at := walrus.SliverID{Axis: walrus.Primary, Index: 0}
	c := newClient(t, "http://"+ln.Addr().String(), hasty())
	begun := time.Now()
	err = c.PutSliver(t.Context(), b.ID, b.Params, at, b.Sliver(at))
	if !errors.Is(err, node.ErrSlow) || time.Since(begun) > 5*time.Second {
		t.Errorf("got error %v after %v", err, time.Since(begun))
	}
}

// Neither does a node that answers by the byte take longer than its time.
func TestHeadersByTheByte(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.Read(make([]byte, 4096)) // the request
				for {
					for _, c := range []byte("HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", 1000)) {
						if _, err := conn.Write([]byte{c}); err != nil {
							return
						}
						time.Sleep(50 * time.Millisecond)
					}
				}
			}()
		}
	}()
	begun := time.Now()
	_, err = newClient(t, "http://"+ln.Addr().String(), hasty()).Metadata(t.Context(), walrus.BlobID{1})
	if !errors.Is(err, node.ErrSlow) || time.Since(begun) > 3*time.Second {
		t.Errorf("got error %v after %v", err, time.Since(begun))
	}
}

func TestAHostGetsOnlySoManyRequestsAtATime(t *testing.T) {
	w := newFaultyWorld(t)
	w.node.Set(nodetest.Hung, 0)
	opts := hasty()
	opts.PerHost, opts.Answer = 3, 10*time.Second
	c := w.node.Client(t, opts)
	before := w.node.Asked()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c.ReadSliver(ctx, w.blob.ID, w.blob.Params, w.at, make([]byte, 10), 0)
		})
	}
	time.Sleep(200 * time.Millisecond)
	if got := w.node.Asked() - before; got != 3 {
		t.Errorf("%d requests at a time, want 3", got)
	}
	cancel()
	wg.Wait()
}

// A line that many requests share may be slow for each.
func TestASlowLineIsNotASlowNode(t *testing.T) {
	w := newFaultyWorld(t)
	w.node.Set(nodetest.Dripping, 10*time.Millisecond)
	p := make([]byte, 100)
	if err := w.client.ReadSliver(t.Context(), w.blob.ID, w.blob.Params, w.at, p, 0); !errors.Is(err, node.ErrSlow) {
		t.Errorf("100 bytes/s: got error %v, want ErrSlow", err)
	}
	opts := hasty()
	opts.Rate = 50
	if err := w.node.Client(t, opts).ReadSliver(t.Context(), w.blob.ID, w.blob.Params, w.at, p, 0); err != nil {
		t.Errorf("100 bytes/s where 50 do: %v", err)
	}
	if !strings.Contains(w.client.String(), "127.0.0.1") {
		t.Errorf("the client is called %s", w.client)
	}
}
