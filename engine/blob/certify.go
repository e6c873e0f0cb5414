package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
)

// ErrConfirmation says that a node signed something else than it was asked
// for, or with another key.
var ErrConfirmation = errors.New("confirmation is false")

// confirming is of how many blobs nodes are asked for confirmations at once.
const confirming = 8

// errCertified ends requests for confirmations that are no longer needed.
var errCertified = errors.New("enough others have confirmed")

// confirmer is a node that signs that it stores all it should of a blob; for
// good, if object is nil.
type confirmer interface {
	Confirm(ctx context.Context, id walrus.BlobID, object *walrus.ObjectID) (walrus.SignedMessage, error)
}

// A Refusal is why a member has not confirmed that it stores its part of a
// blob. Err is ErrConfirmation if it has signed, but falsely.
type Refusal struct {
	Member int // of those that are written to
	Err    error
}

// A QuorumError says that members with too few shards have confirmed a blob.
type QuorumError struct {
	Blob           walrus.BlobID
	Weight, Quorum int       // shards of who has, and that it takes
	Refusals       []Refusal // of all others that have a key
}

func (e *QuorumError) Error() string {
	return fmt.Sprintf("nodes with %d shards confirm blob %s, %d are needed", e.Weight, e.Blob, e.Quorum)
}

// Certify returns, by blob, what the members have signed: that a quorum by
// weight stores the blob for good. by is the members as those who sign, in their
// order. Each signature is checked before it is counted; which members have
// signed falsely is returned even if a quorum did without them, as far as that
// was seen. After the first blob without a quorum, a QuorumError, no other is
// asked for. From time to time done is called, from one goroutine at a time,
// with how many blobs are certified.
func (w *Writer) Certify(ctx context.Context, by *walrus.Committee, blobs []walrus.BlobID, done func(int)) (map[walrus.BlobID]*walrus.Certificate, []Refusal, error) {
	if len(by.Members()) != len(w.peers) || by.Shards() != w.shards {
		return nil, nil, fmt.Errorf("%d members with %d shards cannot certify what lies on %d with %d", len(by.Members()), by.Shards(), len(w.peers), w.shards)
	}
	var mu sync.Mutex // guards what follows
	certs := make(map[walrus.BlobID]*walrus.Certificate, len(blobs))
	var liars []Refusal
	lied := make(map[int]bool)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(confirming)
	for _, id := range blobs {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			cert, refused, err := w.certify(gctx, by, id)
			mu.Lock()
			defer mu.Unlock()
			for _, r := range refused {
				if errors.Is(r.Err, ErrConfirmation) && !lied[r.Member] {
					lied[r.Member] = true
					liars = append(liars, r)
				}
			}
			if err != nil {
				return err
			}
			certs[id] = cert
			done(len(certs))
			return nil
		})
	}
	err := g.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, liars, err
	}
	return certs, liars, nil
}

// certify asks all members at once, and waits for a quorum of them and then a
// little longer.
func (w *Writer) certify(ctx context.Context, by *walrus.Committee, id walrus.BlobID) (*walrus.Certificate, []Refusal, error) {
	type answer struct {
		member int
		sig    walrus.Signature
		err    error
	}
	message := walrus.StoredMessage{Epoch: by.Epoch(), Blob: id}.Bytes()
	answers := make(chan answer) // from each who is asked
	asking, stop := context.WithCancelCause(ctx)
	asked := 0
	defer func() {
		for stop(errCertified); asked > 0; asked-- {
			<-answers
		}
	}()
	for i, m := range by.Members() {
		if m.Key == (walrus.PublicKey{}) {
			continue
		}
		asked++
		go func() {
			sig, err := w.peers[i].confirm(asking, m.Key, id, message)
			answers <- answer{i, sig, err}
		}()
	}
	began, weight := time.Now(), 0
	signatures := make(map[int]walrus.Signature)
	var refused []Refusal
	var enough <-chan time.Time
	for asked > 0 {
		select {
		case <-enough:
			cert, err := by.Certify(message, signatures)
			return cert, refused, err
		case a := <-answers:
			asked--
			if ctx.Err() != nil {
				return nil, refused, context.Cause(ctx)
			}
			if a.err != nil {
				w.c.log.Warn("node does not confirm a blob", "node", w.peers[a.member].Name, "blob", id.String(), "error", a.err)
				refused = append(refused, Refusal{a.member, a.err})
				continue
			}
			signatures[a.member] = a.sig
			weight += by.Members()[a.member].Weight
			if weight >= by.Quorum() && enough == nil {
				// Who is about to answer is not cut off: that would cost
				// its connection.
				enough = time.After(hedgeFloor + time.Since(began)/2)
			}
		}
	}
	if weight < by.Quorum() {
		return nil, refused, &QuorumError{id, weight, by.Quorum(), refused}
	}
	cert, err := by.Certify(message, signatures)
	return cert, refused, err
}

// confirm returns the member's signature of message about blob id.
func (p *peer) confirm(ctx context.Context, key walrus.PublicKey, id walrus.BlobID, message []byte) (walrus.Signature, error) {
	n, ok := p.Node.(confirmer)
	if !ok {
		return walrus.Signature{}, errors.New("only nodes with http:// or https:// can sign")
	}
	var signed walrus.SignedMessage
	err := p.insist(ctx, p.attempt, func(ctx context.Context) (err error) {
		signed, err = n.Confirm(ctx, id, nil)
		return err
	})
	if err != nil {
		return walrus.Signature{}, err
	}
	if !bytes.Equal(signed.Message, message) {
		return walrus.Signature{}, fmt.Errorf("%w: %s", ErrConfirmation, differs(signed.Message, message))
	}
	if err := key.Verify(message, signed.Signature); err != nil {
		return walrus.Signature{}, fmt.Errorf("%w: %w for the public key in the committee file", ErrConfirmation, err)
	}
	return signed.Signature, nil
}

// differs tells what a confirmation says instead of what it should.
func differs(got, want []byte) string {
	w, _ := walrus.ParseStoredMessage(want)
	g, err := walrus.ParseStoredMessage(got)
	switch {
	case err != nil:
		return err.Error()
	case g.Blob != w.Blob:
		return fmt.Sprintf("it is about blob %s, not %s", g.Blob, w.Blob)
	case g.Epoch != w.Epoch:
		return fmt.Sprintf("it is of epoch %d, the committee of epoch %d", g.Epoch, w.Epoch)
	}
	return "it is about a deletable blob"
}
