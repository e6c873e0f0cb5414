package publisher_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/node/publisher"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
)

var (
	_ publish.Sink = (*publisher.Publisher)(nil)
	_ publish.Sink = (*publisher.Relay)(nil)
)

func open(t *testing.T, d *daemon, opts *publisher.Options) *publisher.Publisher {
	t.Helper()
	p, err := publisher.New(network(t), d.URL, opts)
	if err != nil {
		t.Fatal(err)
	}
	p.Hurry()
	return p
}

// What is put arrives as the blob's bytes, whatever its size, and for as long as
// is asked for.
func TestWhatIsPutIsStored(t *testing.T) {
	d := start(t, &daemon{})
	p := open(t, d, &publisher.Options{Epochs: 5})
	for i, size := range []int{0, 1, 300, 5003, 1 << 20} {
		b := encode(t, uint64(i), size)
		if ok, err := p.Stored(t.Context(), b.ID, b.Params, nil); ok || err != nil {
			t.Errorf("before it is put: stored %v, error %v", ok, err)
		}
		if n := p.Rows(b.Params); n != b.Params.K1 {
			t.Errorf("wants %d rows of %d", n, b.Params.K1)
		}
		if err := p.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if got := d.stored[b.ID]; !bytes.Equal(got, nodetest.Bytes(uint64(i), size)) {
			t.Errorf("blob of %d bytes: %d others arrived", size, len(got))
		}
	}
	for _, r := range d.requests() {
		if r != "PUT /v1/blobs?permanent=true&epochs=5" {
			t.Errorf("asked %q", r)
		}
	}
	if got := p.Until(); got != 57 {
		t.Errorf("stored until epoch %d, want 57", got)
	}
	again := open(t, d, nil)
	if err := again.Put(t.Context(), encode(t, 3, 5003)); err != nil || again.Until() != 57 {
		t.Errorf("put again: error %v, stored until epoch %d", err, again.Until())
	}
}

func TestAnotherNumberOfShardsIsNamed(t *testing.T) {
	d := start(t, &daemon{n: 13})
	b := encode(t, 1, 5003)
	err := open(t, d, nil).Put(t.Context(), b)
	if !errors.Is(err, publisher.ErrOtherID) || !strings.Contains(err.Error(), nodetest.Encode(t, 13, nodetest.Bytes(1, 5003)).ID.String()) {
		t.Errorf("got error %v", err)
	}
}

// What may pass is tried again, what does not is not.
func TestWhatMayPassIsTriedAgain(t *testing.T) {
	b := encode(t, 1, 5003)
	d := start(t, &daemon{fails: []int{504, 503, 429, 500}})
	if err := open(t, d, nil).Put(t.Context(), b); err != nil {
		t.Error(err)
	}
	if n := len(d.requests()); n != 5 {
		t.Errorf("asked %d times, want 5", n)
	}
	d = start(t, &daemon{fails: []int{504, 504, 504, 504, 504, 504, 504, 504}})
	err := open(t, d, nil).Put(t.Context(), b)
	var status *node.StatusError
	if !errors.As(err, &status) || status.Reason != "INSUFFICIENT_CONFIRMATIONS" {
		t.Errorf("got error %v", err)
	}
	if n := len(d.requests()); n != 6 {
		t.Errorf("asked %d times, want 6", n)
	}
	for _, code := range []int{400, 402, 403, 404, 413, 451, 307} {
		d = start(t, &daemon{fails: []int{code, code}})
		err := open(t, d, nil).Put(t.Context(), b)
		if !errors.As(err, &status) || status.Code != code {
			t.Errorf("status %d: got error %v", code, err)
		}
		if n := len(d.requests()); n != 1 {
			t.Errorf("status %d: asked %d times", code, n)
		}
	}
}

func TestWaitingEndsWhenTheCallerGivesUp(t *testing.T) {
	d := start(t, &daemon{fails: []int{503}})
	p, err := publisher.New(network(t), d.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d.alter = func(string) string { t.Error("it was asked again"); return "" }
	ended := make(chan error)
	go func() { ended <- p.Put(ctx, encode(t, 1, 5003)) }()
	for len(d.requests()) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}

// A publisher that does not take so long a blob is heard before it is sent one.
func TestATooLongBlobIsNotSent(t *testing.T) {
	d := start(t, &daemon{limit: 10 << 20})
	err := open(t, d, nil).Put(t.Context(), nodetest.Encode(t, 100, nodetest.Bytes(1, 16<<20)))
	var status *node.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("got error %v", err)
	}
	d.refusing.Wait()
	if d.read > 0 {
		t.Errorf("%d bytes were sent", d.read)
	}
}

func TestATokenIsShown(t *testing.T) {
	d := start(t, &daemon{token: "abc.def.ghi"})
	b := encode(t, 1, 5003)
	if err := open(t, d, nil).Put(t.Context(), b); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("without a token: got error %v", err)
	}
	if err := open(t, d, &publisher.Options{Token: "abc.def.ghi"}).Put(t.Context(), b); err != nil {
		t.Errorf("with the token: %v", err)
	}
}

func TestFalseAnswersAreRefused(t *testing.T) {
	b := encode(t, 1, 5003)
	other := encode(t, 2, 5003).ID.String()
	for name, alter := range map[string]func(string) string{
		"nothing":         func(string) string { return "" },
		"an empty object": func(string) string { return "{}" },
		"another shape":   func(string) string { return `{"newlyCreated":[]}` },
		"both":            func(s string) string { return strings.TrimSuffix(s, "}") + `,"alreadyCertified":{}}` },
		"no id":           func(s string) string { return strings.Replace(s, b.ID.String(), "", 1) },
		"another id":      func(s string) string { return strings.Replace(s, b.ID.String(), other, 1) },
		"no end":          func(s string) string { return strings.Replace(s, `"endEpoch":17`, `"endEpoch":0`, 1) },
		"deletable":       func(s string) string { return strings.Replace(s, `"deletable":false`, `"deletable":true`, 1) },
		"too much":        func(s string) string { return s + strings.Repeat(" ", 64<<10) },
	} {
		d := start(t, &daemon{alter: alter})
		p := open(t, d, nil)
		err := p.Put(t.Context(), b)
		if !errors.Is(err, node.ErrProtocol) && !errors.Is(err, publisher.ErrOtherID) {
			t.Errorf("%s: got error %v", name, err)
		}
		if p.Until() != 0 || len(d.requests()) != 1 {
			t.Errorf("%s: it was taken for an answer, or asked for again", name)
		}
	}
}

// A blob is not encoded in its own bytes where its last row ends early.
func TestRowsAreSentAsTheyLie(t *testing.T) {
	d := start(t, &daemon{})
	p := open(t, d, nil)
	params, err := walrus.NewParams(10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{params.SliverLen(walrus.Primary), params.SliverLen(walrus.Primary) + 1, 3*params.SliverLen(walrus.Primary) - 1} {
		b := encode(t, 9, size)
		if err := p.Put(t.Context(), b); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(d.stored[b.ID], nodetest.Bytes(9, size)) {
			t.Errorf("blob of %d bytes: others arrived", size)
		}
	}
}
