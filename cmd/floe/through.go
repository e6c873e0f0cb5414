package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/publisher"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
)

// tokenVariable is the variable with the token that a publisher may want.
const tokenVariable = "FLOE_PUBLISHER_TOKEN"

const (
	walrusShards      = 1000             // of Walrus' own networks
	publisherPatience = 10 * time.Minute // for a blob to be stored and certified
)

// A through is what blobs can be put through, and not read from: one of the
// two is set.
type through struct {
	publish.Sink
	publisher *publisher.Publisher
	relay     *publisher.Relay
}

// throughPlace returns the publisher or the upload relay at url. The URL is the
// user's own, so it may be anywhere.
func (p *putter) throughPlace(e *env, kind, path string) (*place, error) {
	to := &place{url: path, network: node.NewNetwork(&node.NetworkOptions{
		Nets: node.AnyNet, Store: publisherPatience, Proxy: http.ProxyURL(p.proxy.URL),
	})}
	var err error
	if kind == relayScheme {
		to.url = relayScheme + ":" + path
		var r *publisher.Relay
		r, err = publisher.NewRelay(to.network, path)
		to.through = &through{Sink: r, relay: r}
	} else {
		token := e.get(tokenVariable)
		if token != "" && !private(path) {
			return nil, usagef("%s: %s is not sent over http://, where anybody on the way can read it: write https://", path, tokenVariable)
		}
		var pub *publisher.Publisher
		pub, err = publisher.New(to.network, path, &publisher.Options{Epochs: p.epochs, Token: token})
		to.through = &through{Sink: pub, publisher: pub}
	}
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	return to, nil
}

// private reports whether what is sent to a URL stays between the two ends.
func private(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme == "https" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// agreeThrough takes the number of shards that Walrus has, unless the user says
// another.
func (p *putter) agreeThrough(to *place) error {
	switch {
	case p.base != "":
		return usagef("--base: %s can only be written to: leave the flag out, or put to a committee", to.url)
	case p.epochs < 0:
		return usagef("--epochs %d: it must be more than nothing", p.epochs)
	case p.epochs != 0 && to.through.relay != nil:
		return usagef("--epochs: for how long a blob is stored is said when it is registered: leave the flag out")
	case p.shards == 0:
		p.shards = walrusShards
	}
	if _, err := walrus.NewParams(p.shards, uint64(p.blobSize)); err != nil {
		return usagef("--blob-size: %w", err)
	}
	return nil
}

// explain adds to the error of a put what to do about it.
func (t *through) explain(err error) error {
	var status *node.StatusError
	code := 0
	if errors.As(err, &status) {
		code = status.Code
	}
	switch {
	case errors.Is(err, publisher.ErrOtherID):
		return fmt.Errorf("%w: --n-shards says for how many", err)
	case errors.Is(err, publisher.ErrTip):
		return exitWith(exitDenied, fmt.Errorf("%w, which is paid on Sui, and floe pays nothing there: name another relay, or a publisher", err))
	case code == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: --blob-size makes blobs smaller; publishers take 10MiB unless they are set up for more", err)
	case t.relay != nil && code == http.StatusUnauthorized:
		return fmt.Errorf("%w: blobs must be registered on Sui before a relay takes them", err)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%w: if it wants a token, set %s to it", err, tokenVariable)
	}
	return err
}

// A throughJSON is what is known of blobs that were put through something.
type throughJSON struct {
	EndEpoch     walrus.Epoch        `json:"end_epoch,omitempty"` // from which on a blob of them is not stored any more
	Certificates []certifiedBlobJSON `json:"blob_certificates,omitempty"`
}

// A certifiedBlobJSON is what certify_blob takes on Sui.
type certifiedBlobJSON struct {
	Blob      walrus.BlobID    `json:"blob"`
	Epoch     walrus.Epoch     `json:"epoch"`
	Message   []byte           `json:"message"`
	Signers   []byte           `json:"signers_bitmap"`
	Signature walrus.Signature `json:"signature"`
}

func (t *through) json() (j throughJSON) {
	if t == nil {
		return j
	}
	if t.publisher != nil {
		j.EndEpoch = t.publisher.Until()
		return j
	}
	for _, c := range t.relay.Certificates() {
		j.Certificates = append(j.Certificates, certifiedBlobJSON{c.Blob, c.Epoch, c.Certificate.Message, c.Certificate.Signers, c.Certificate.Signature})
	}
	return j
}

// tell says what became of blobs, and how to read them.
func (t *through) tell(show *progress, res publish.Result) {
	if t.publisher != nil {
		show.say("all blobs are stored until epoch %d begins; --epochs asks for more", t.publisher.Until())
	} else {
		show.say("nodes have signed that they store %s; --json prints what certify_blob on Sui takes", count(len(t.relay.Certificates()), "blob", "blobs"))
	}
	show.say("floe mount --from committee.toml --from https://AGGREGATOR %s DIR mounts it: the metadata from a node, the bytes from anywhere", res.ID)
}
