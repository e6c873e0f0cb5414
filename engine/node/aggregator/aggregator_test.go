package aggregator_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// Systematic rows are had in whichever way a server knows; what lies behind the
// blob's end is zero.
func TestRowsAreRead(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			for i, size := range []int{0, 1, 300, 5003, 1 << 20} {
				b := nodetest.Encode(t, 10, nodetest.Bytes(uint64(i), size))
				s, _, a := start(t, kind, b)
				for row := range b.Params.K1 {
					want := b.Sliver(primary(row))
					for _, r := range [][2]int{{0, len(want)}, {0, 1}, {len(want) - 1, 1}, {len(want) / 2, 1}, {1, len(want) - 2}} {
						got := bytes.Repeat([]byte{0xff}, r[1])
						if err := a.ReadSliver(t.Context(), b.ID, b.Params, primary(row), got, int64(r[0])); err != nil {
							t.Fatalf("blob of %d bytes: %v", size, err)
						}
						if !bytes.Equal(got, want[r[0]:r[0]+r[1]]) {
							t.Fatalf("blob of %d bytes: row %d: %d bytes at %d differ", size, row, r[1], r[0])
						}
					}
				}
				asked := s.requests()
				whole := "/v1/blobs/" + b.ID.String()
				wholes := 0
				for _, r := range asked {
					if r == whole {
						wholes++
					}
					if strings.HasSuffix(r, "-") || strings.Contains(r, "bytes=-") || strings.Contains(r, ",") {
						t.Errorf("blob of %d bytes: asked for %q", size, r)
					}
				}
				if wholes > 1 || !kind.whole() && wholes > 0 {
					t.Errorf("blob of %d bytes: fetched whole %d times", size, wholes)
				}
				if size == 0 && len(asked) > 0 {
					t.Errorf("asked for nothing: %q", asked)
				}
			}
		})
	}
}

// Which way leads to a part is tried out once.
func TestTheWayIsRemembered(t *testing.T) {
	b := nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	for name, most := range map[string]int{"an aggregator": 10, "a cache that knows it": 10, "an older one": 11, "a cache of files": 3} {
		s, _, a := start(t, kinds[name], b)
		for range 10 {
			if err := a.ReadSliver(t.Context(), b.ID, b.Params, primary(0), make([]byte, 7), 5); err != nil {
				t.Fatal(err)
			}
		}
		if asked := s.requests(); len(asked) != most {
			t.Errorf("%s: asked %d times, want %d: %q", name, len(asked), most, asked)
		}
	}
}

func TestWhatAnAggregatorHasNotSaysSo(t *testing.T) {
	b, other := nodetest.Encode(t, 10, nodetest.Bytes(1, 5003)), nodetest.Encode(t, 10, nodetest.Bytes(2, 5003))
	for name, kind := range kinds {
		s, _, a := start(t, kind, b)
		is := func(what string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%s: %s: got error %v, want %v", name, what, err, want)
			}
		}
		read := func(b *walrus.Encoded, at walrus.SliverID, n int, off int64) error {
			return a.ReadSliver(t.Context(), b.ID, b.Params, at, make([]byte, n), off)
		}
		_, err := a.Metadata(t.Context(), b.ID)
		is("metadata", err, fs.ErrNotExist)
		is("a row of parity", read(b, primary(b.Params.K1), 1, 0), fs.ErrNotExist)
		is("a row beyond all", read(b, primary(b.Params.N), 1, 0), fs.ErrNotExist)
		is("a column", read(b, walrus.SliverID{Axis: walrus.Secondary}, 1, 0), fs.ErrNotExist)
		is("a byte behind the end", read(b, primary(0), 2, int64(b.Params.SliverLen(walrus.Primary)-1)), io.ErrUnexpectedEOF)
		is("putting metadata", a.PutMetadata(t.Context(), b.ID, nil), fs.ErrPermission)
		is("putting a sliver", a.PutSliver(t.Context(), b.ID, b.Params, primary(0), nil), fs.ErrPermission)
		if asked := s.requests(); len(asked) > 0 {
			t.Errorf("%s: asked for %q", name, asked)
		}
		is("another blob", read(other, primary(0), 1, 0), fs.ErrNotExist)
		if err := read(b, primary(0), 1, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		is("another blob, when the way is known", read(other, primary(0), 1, 0), fs.ErrNotExist)
	}
}

// However a server misbehaves, a read ends soon: with an error that says how,
// or with bytes that somebody else proves false.
func TestFaultsAreErrors(t *testing.T) {
	b, other := nodetest.Encode(t, 10, nodetest.Bytes(1, 1<<20)), nodetest.Encode(t, 10, nodetest.Bytes(2, 1<<20))
	failed := errors.New("a node.StatusError")
	wants := map[nodetest.Fault]error{
		nodetest.Dead: nil, nodetest.Hung: node.ErrSlow, nodetest.Dripping: node.ErrSlow, nodetest.Truncating: io.ErrUnexpectedEOF,
		nodetest.Forgetful: fs.ErrNotExist, nodetest.Failing: failed, nodetest.Busy: failed,
		nodetest.Redirecting: node.ErrProtocol, nodetest.HeaderBomb: nil, nodetest.HintFlood: nil, nodetest.GzipBomb: node.ErrProtocol,
		nodetest.Endless: node.ErrProtocol, nodetest.Padding: node.ErrProtocol, nodetest.NotHTTP: nil, nodetest.FalseLength: node.ErrProtocol,
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for fault, want := range wants {
				_, n, a := start(t, kind, b)
				n.Set(fault, 0)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				err := a.ReadSliver(ctx, b.ID, b.Params, primary(b.Params.K1-1), make([]byte, 100_000), 10)
				cancel()
				var status *node.StatusError
				switch {
				case err == nil && fault == nodetest.Endless && !kind.ranges:
					// It had come before it was known that more comes.
				case err == nil || errors.Is(err, context.DeadlineExceeded):
					t.Errorf("%s: got error %v", fault, err)
				case want == failed && !errors.As(err, &status), want != nil && want != failed && !errors.Is(err, want):
					t.Errorf("%s: got error %v, want %v", fault, err, want)
				}
				n.Set(nodetest.None, 0)
				got := make([]byte, 100)
				if err := a.ReadSliver(t.Context(), b.ID, b.Params, primary(2), got, 1); err != nil || !bytes.Equal(got, b.Sliver(primary(2))[1:101]) {
					t.Errorf("after %s: error %v, or wrong bytes", fault, err)
				}
			}
			for _, fault := range []nodetest.Fault{nodetest.Lying, nodetest.WrongBlob, nodetest.WrongRange} {
				_, n, a := start(t, kind, b, other)
				n.Set(fault, 0)
				got := make([]byte, 100_000)
				a.ReadSliver(t.Context(), other.ID, other.Params, primary(1), got, 10) // so that it knows one
				err := a.ReadSliver(t.Context(), b.ID, b.Params, primary(1), got, 10)
				switch {
				case fault != nodetest.WrongRange && err != nil:
					t.Errorf("%s: got error %v", fault, err)
				case fault == nodetest.WrongRange && kind.ranges && !errors.Is(err, node.ErrProtocol):
					t.Errorf("%s: got error %v, want node.ErrProtocol", fault, err)
				}
			}
		})
	}
}

func TestABusyServerSaysForHowLong(t *testing.T) {
	b := nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	_, n, a := start(t, kinds["an aggregator"], b)
	n.Set(nodetest.Busy, 0)
	err := a.ReadSliver(t.Context(), b.ID, b.Params, primary(1), make([]byte, 100), 10)
	var status *node.StatusError
	if !errors.As(err, &status) || status.RetryAfter != time.Second || !node.Transient(err) {
		t.Errorf("got error %v", err)
	}
}

// A range of a blob that is longer than its reader knows is one of another
// blob.
func TestAnotherLengthIsRefused(t *testing.T) {
	b := nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	shorter, err := walrus.NewParams(10, 5001)
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range kinds {
		if kind.query {
			continue // there it does not show
		}
		_, _, a := start(t, kind, b)
		if err := a.ReadSliver(t.Context(), b.ID, shorter, primary(0), make([]byte, 10), 0); !errors.Is(err, node.ErrProtocol) {
			t.Errorf("%s: got error %v, want node.ErrProtocol", name, err)
		}
	}
}
