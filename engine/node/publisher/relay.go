package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

// ErrTip says that a relay wants to be paid on Sui before it takes a blob.
var ErrTip = errors.New("the relay wants a tip")

// A Relay stores blobs through the HTTP API of Walrus upload relays: blobs that
// are registered as permanent ones, or are taken by nodes that do not ask. It is
// safe for concurrent use.
type Relay struct {
	sender

	mu        sync.Mutex // guards what follows
	free      bool       // it is known that it wants no tip
	certified []Certified
}

// Certified is the certificate of one blob.
type Certified struct {
	Blob        walrus.BlobID
	Epoch       walrus.Epoch // in which the committee signed
	Certificate *walrus.Certificate
}

// NewRelay returns the relay at url, as New does.
func NewRelay(nw *node.Network, url string) (*Relay, error) {
	at, err := node.NewEndpoint(nw, url, nil)
	if err != nil {
		return nil, fmt.Errorf("address of an upload relay: %w", err)
	}
	return &Relay{sender: newSender(at)}, nil
}

// Certificates returns those of all blobs that were put, in the order in which
// they were. They are about these blobs. Who signed them is not looked at: that
// takes the committee.
func (r *Relay) Certificates() []Certified {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.certified)
}

// Put implements publish.Sink.
func (r *Relay) Put(ctx context.Context, b *walrus.Encoded) error {
	c, err := r.put(ctx, b)
	if err != nil {
		return fmt.Errorf("%s: %w", r.at, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.certified = append(r.certified, c)
	return nil
}

func (r *Relay) put(ctx context.Context, b *walrus.Encoded) (Certified, error) {
	if err := r.askTip(ctx); err != nil {
		return Certified{}, err
	}
	path := "/v1/blob-upload-relay?blob_id=" + b.ID.String()
	body, err := r.send(ctx, node.Request{Method: http.MethodPost, Path: path, Header: bodyHeader(), Body: parts(b)})
	if err != nil {
		return Certified{}, err
	}
	return parseCertified(body, b.ID)
}

// askTip reports if the relay wants a tip, once.
func (r *Relay) askTip(ctx context.Context) error {
	r.mu.Lock()
	free := r.free
	r.mu.Unlock()
	if free {
		return nil
	}
	body, err := r.send(ctx, node.Request{Method: http.MethodGet, Path: "/v1/tip-config"})
	if errors.Is(err, fs.ErrNotExist) {
		body, err = []byte(`"no_tip"`), nil // it does not know of tips
	}
	if err != nil {
		return fmt.Errorf("asking for the tip: %w", err)
	}
	if err := parseTip(body); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = true
	return nil
}

// parseTip reports if a relay wants a tip. It is "no_tip", or else an object.
func parseTip(body []byte) error {
	var tip any
	if err := json.Unmarshal(body, &tip); err != nil {
		return fmt.Errorf("asking for the tip: %w: %w", node.ErrProtocol, err)
	}
	if tip != "no_tip" {
		return ErrTip
	}
	return nil
}

// parseCertified parses the answer of a relay that has stored blob id.
func parseCertified(body []byte, id walrus.BlobID) (Certified, error) {
	var form struct {
		ID          walrus.BlobID `json:"blob_id"`
		Certificate struct {
			Signers   []uint16 `json:"signers"`            // by their numbers in the committee
			Message   []byte   `json:"serialized_message"` // as a list of numbers
			Signature string   `json:"signature"`
		} `json:"confirmation_certificate"`
	}
	bad := func(err error) (Certified, error) {
		return Certified{}, fmt.Errorf("certificate of blob %s: %w: %w", id, node.ErrProtocol, err)
	}
	if err := json.Unmarshal(body, &form); err != nil {
		return bad(err)
	}
	if form.ID != id {
		return bad(fmt.Errorf("it is of blob %s", form.ID))
	}
	cert := &walrus.Certificate{Message: form.Certificate.Message}
	// Either alphabet of base64 is in use.
	signature := strings.NewReplacer("-", "+", "_", "/").Replace(form.Certificate.Signature)
	if err := cert.Signature.UnmarshalText([]byte(signature)); err != nil {
		return bad(err)
	}
	if len(form.Certificate.Signers) == 0 {
		return bad(errors.New("nobody has signed it"))
	}
	for _, m := range form.Certificate.Signers {
		if m >= walrus.MaxShards {
			return bad(fmt.Errorf("signed by member %d", m))
		}
		for len(cert.Signers) <= int(m/8) {
			cert.Signers = append(cert.Signers, 0)
		}
		cert.Signers[m/8] |= 1 << (m % 8)
	}
	message, err := walrus.ParseStoredMessage(cert.Message)
	switch {
	case err != nil:
		return bad(err)
	case message.Blob != id:
		return bad(fmt.Errorf("its signers store blob %s", message.Blob))
	case message.Object != nil:
		return bad(errors.New("its signers store a blob that can be deleted"))
	}
	return Certified{id, message.Epoch, cert}, nil
}
