package publisher

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

const (
	tries     = 6           // of one blob
	firstWait = time.Second // before the second, then doubling, jittered
	mostWait  = time.Minute // that a server can ask for

	// maxAnswer bounds answers: the largest, a certificate that a committee of
	// a thousand has signed, takes less than 8 KB.
	maxAnswer = 64 << 10
)

// A sender sends blobs, and again if that failed for a reason that may pass.
type sender struct {
	at   *node.Endpoint
	wait time.Duration // before the second try
}

func newSender(at *node.Endpoint) sender { return sender{at, firstWait} }

// Rows implements publish.Sink: what is sent is the systematic rows.
func (s *sender) Rows(p walrus.Params) int { return p.K1 }

// Stored implements publish.Sink: it never knows. Whoever has the blob says so
// when it is put, and for how long it is stored may have changed since.
func (s *sender) Stored(context.Context, walrus.BlobID, walrus.Params, []byte) (bool, error) {
	return false, nil
}

// bodyHeader is what requests with a blob have in their headers. A server that
// refuses a blob says so before it has been sent: while it is being sent, the
// answer could be lost.
func bodyHeader() map[string]string { return map[string]string{"Expect": "100-continue"} }

// send sends a request, which may be repeated, and returns the body of the
// answer.
func (s *sender) send(ctx context.Context, r node.Request) ([]byte, error) {
	for wait, try := s.wait, 1; ; wait, try = 2*wait, try+1 {
		body, err := s.once(ctx, r)
		if err == nil || try == tries || !node.Transient(err) {
			return body, err
		}
		pause := wait/2 + rand.N(wait)
		var status *node.StatusError
		if errors.As(err, &status) {
			pause = max(pause, min(status.RetryAfter, mostWait))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (s *sender) once(ctx context.Context, r node.Request) ([]byte, error) {
	resp, err := s.at.Send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return node.ReadAnswer(resp, maxAnswer)
}

// parts returns the bytes of a blob, as its slivers have them.
func parts(b *walrus.Encoded) [][]byte {
	var all [][]byte
	left := int(b.Params.Size)
	for row := 0; left > 0; row++ {
		data := b.Sliver(walrus.SliverID{Axis: walrus.Primary, Index: row})
		data = data[:min(left, len(data))]
		all, left = append(all, data), left-len(data)
	}
	return all
}
