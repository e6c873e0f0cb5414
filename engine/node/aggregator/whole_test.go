package aggregator_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// Of a server that only sends whole blobs, one fetch serves all who want parts,
// each as soon as its part has come. Who gives up does not end it.
func TestOneFetchServesAllRows(t *testing.T) {
	b := nodetest.Encode(t, 10, nodetest.Bytes(1, 1<<20))
	s, _, a := start(t, kind{slow: make(chan struct{})}, b)
	read := func(ctx context.Context, row int) error {
		want := b.Sliver(primary(row))
		got := make([]byte, len(want))
		err := a.ReadSliver(ctx, b.ID, b.Params, primary(row), got, 0)
		if err == nil && !bytes.Equal(got, want) {
			err = errors.New("wrong bytes")
		}
		return err
	}
	if err := read(t.Context(), 0); err != nil { // the server has sent half of it
		t.Fatal(err)
	}
	last := b.Params.K1 - 1
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := read(impatient, last); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("half of it has not come: got error %v", err)
	}
	var readers sync.WaitGroup
	for i := range 20 {
		readers.Go(func() {
			if err := read(t.Context(), i%b.Params.K1); err != nil {
				t.Error(err)
			}
		})
	}
	close(s.slow)
	readers.Wait()
	if asked := s.requests(); len(asked) != 3 { // a range, the query, and all of it
		t.Errorf("asked %q", asked)
	}
}

// What is kept leaves no file behind, not even while it is kept.
func TestWholeBlobsAreBoundedAndLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var blobs []*walrus.Encoded
	for i := range 70 {
		blobs = append(blobs, nodetest.Encode(t, 10, nodetest.Bytes(uint64(i), 5003)))
	}
	s, _, a := start(t, kind{}, blobs...)
	for _, b := range append(blobs, blobs[69], blobs[0]) {
		got := make([]byte, 100)
		if err := a.ReadSliver(t.Context(), b.ID, b.Params, primary(0), got, 0); err != nil || !bytes.Equal(got, b.Sliver(primary(0))[:100]) {
			t.Fatalf("error %v, or wrong bytes", err)
		}
	}
	// The first two are the ways tried; the last blob was there, the first no
	// more.
	if n := len(s.requests()); n != 2+70+1 {
		t.Errorf("asked %d times", n)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("files %q, error %v", left, err)
	}
	a.Close()
	if err := a.ReadSliver(t.Context(), blobs[0].ID, blobs[0].Params, primary(0), make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: got error %v", err)
	}
	huge, err := walrus.NewParams(1000, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	_, _, a = start(t, kind{}, blobs[0])
	if err := a.ReadSliver(t.Context(), blobs[0].ID, huge, primary(0), make([]byte, 1), 0); err == nil {
		t.Error("a blob of 1 GiB is fetched whole")
	} else {
		t.Log(err)
	}
}

// Close does not wait for a server, and whoever waits for one is told.
func TestCloseEndsFetches(t *testing.T) {
	b := nodetest.Encode(t, 10, nodetest.Bytes(1, 1<<20))
	s, _, a := start(t, kind{slow: make(chan struct{})}, b)
	defer close(s.slow)
	if err := a.ReadSliver(t.Context(), b.ID, b.Params, primary(0), make([]byte, 1), 0); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- a.ReadSliver(t.Context(), b.ID, b.Params, primary(b.Params.K1-1), make([]byte, 1), 0) }()
	time.Sleep(10 * time.Millisecond) // until it waits; it is right either way
	a.Close()
	if err := <-ended; err == nil {
		t.Error("a read of what did not come succeeded")
	}
}
