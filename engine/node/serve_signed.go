package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
)

var errNoKey = &apiError{status: statusUnavailable, reason: reasonNoKey, message: "this node has no key to sign with"}

// A signedForm is the data of answers that are signed.
type signedForm struct {
	Signed walrus.SignedMessage `json:"signed"`
}

func (h *Handler) confirmPermanent(w http.ResponseWriter, r *http.Request) error {
	return h.confirm(w, r, nil)
}

func (h *Handler) confirmDeletable(w http.ResponseWriter, r *http.Request) error {
	object, err := walrus.ParseObjectID(r.PathValue("object"))
	if err != nil {
		return badRequest("%v", err)
	}
	return h.confirm(w, r, &object)
}

// confirm signs that everything of a blob that the node should have is there.
func (h *Handler) confirm(w http.ResponseWriter, r *http.Request, object *walrus.ObjectID) error {
	id, err := blobOf(r)
	if err != nil {
		return err
	}
	// Nobody registers blobs here, so there is nothing to wait for.
	if _, err := query(r, "wait_for_registration", "wait_millis"); err != nil {
		return err
	}
	if h.opts.Key == nil {
		return errNoKey
	}
	if _, err := h.loadMetadata(r.Context(), id); err != nil {
		return otherwise(err, &apiError{status: statusPrecondition, reason: reasonNotRegistered, message: "the blob is not registered"})
	}
	if err := h.complete(r.Context(), id); err != nil {
		return otherwise(err, &apiError{status: statusPrecondition, reason: reasonMissingSlivers, message: "slivers are missing"})
	}
	if err := h.proofs.acquire(r.Context()); err != nil {
		return err
	}
	defer h.proofs.release()
	m := walrus.StoredMessage{Epoch: h.opts.Epoch, Blob: id, Object: object}
	return writeSuccess(w, http.StatusOK, signedForm{h.opts.Key.SignMessage(m.Bytes())})
}

// looking is how many slivers are looked for at once.
const looking = 8

// complete returns nil if all slivers of a blob that the node should have are
// there.
func (h *Handler) complete(ctx context.Context, id walrus.BlobID) error {
	params, err := h.geometry(ctx, id)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(looking)
	for _, at := range h.slivers(id) {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return shortOtherwise(h.hasSliver(ctx, id, params, at), fs.ErrNotExist)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.whole) >= maxParams {
		clear(h.whole)
	}
	h.whole[id] = true
	return nil
}

// certified returns nil if all slivers of a blob that the node should have are
// there, or were once: being certified is not undone by a loss.
func (h *Handler) certified(ctx context.Context, id walrus.BlobID) error {
	h.mu.Lock()
	whole := h.whole[id]
	h.mu.Unlock()
	if whole {
		return nil
	}
	return h.complete(ctx, id)
}

// inconsistencyProof signs that a blob is inconsistent, if that is proven.
func (h *Handler) inconsistencyProof(w http.ResponseWriter, r *http.Request) error {
	id, err := blobOf(r)
	if err != nil {
		return err
	}
	axis, err := walrus.ParseAxis(r.PathValue("type"))
	if err != nil {
		return badRequest("%v", err)
	}
	if err := checkContentType(r); err != nil {
		return err
	}
	if h.opts.Key == nil {
		return errNoKey
	}
	meta, err := h.metadata(r.Context(), id)
	if err != nil {
		return otherwise(err, errMetadataFirst)
	}
	params, err := meta.Params()
	if err != nil {
		return err
	}
	if err := h.work.acquire(r.Context()); err != nil {
		return err
	}
	defer h.work.release()
	most := int64(8 + params.Symbols(axis)*params.RecoverySymbolLen())
	if err := h.reserve(r.Context(), most); err != nil {
		return err
	}
	defer h.memory.Release(most)
	data, err := h.readBody(w, r, most)
	if err != nil {
		return err
	}
	proof, err := walrus.ParseInconsistencyProof(axis, data)
	if err != nil {
		return invalid(reasonBody, "%v", err)
	}
	if err := meta.CheckInconsistency(proof); err != nil {
		return invalid(reasonProof, "%v", err)
	}
	h.log.Warn("blob is proven to be inconsistent", "blob", id.String())
	m := walrus.InvalidMessage{Epoch: h.opts.Epoch, Blob: id}
	return writeSuccess(w, http.StatusOK, signedForm{h.opts.Key.SignMessage(m.Bytes())})
}

// A blobStatus is the data of the answer about a blob that exists.
type blobStatus struct {
	Permanent permanentStatus `json:"permanent"`
}

type permanentStatus struct {
	EndEpoch    walrus.Epoch `json:"endEpoch"`
	IsCertified bool         `json:"isCertified"`
	Event       struct {
		TxDigest string `json:"txDigest"`
		EventSeq string `json:"eventSeq"`
	} `json:"statusEvent"`
	Counts struct {
		Total     int `json:"count_deletable_total"`
		Certified int `json:"count_deletable_certified"`
	} `json:"deletableCounts"`
	CertifiedEpoch *walrus.Epoch `json:"initialCertifiedEpoch"`
}

// epochsAhead is for how long Walrus sells storage at most. Here nothing ends.
const epochsAhead = 53

// blobStatus tells what there is of a blob. Nothing is registered, so one of
// which the node has the metadata is permanent, and it is certified once the
// node could confirm that it has its part.
func (h *Handler) blobStatus(w http.ResponseWriter, r *http.Request) error {
	id, err := blobOf(r)
	if err != nil {
		return err
	}
	if _, err := h.loadMetadata(r.Context(), id); errors.Is(err, fs.ErrNotExist) {
		return writeSuccess(w, http.StatusOK, "nonexistent")
	} else if err != nil {
		return err
	}
	var s blobStatus
	s.Permanent.EndEpoch = h.opts.Epoch + epochsAhead
	s.Permanent.Event.TxDigest = "11111111111111111111111111111111" // 32 zero bytes in base58
	s.Permanent.Event.EventSeq = "0"
	switch err := h.certified(r.Context(), id); {
	case err == nil:
		s.Permanent.IsCertified, s.Permanent.CertifiedEpoch = true, &h.opts.Epoch
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking for slivers: %w", err)
	}
	return writeSuccess(w, http.StatusOK, s)
}
