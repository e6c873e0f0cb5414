package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/walrus"
)

// allowedTags are the tags of a patch that become headers of the answer.
var allowedTags = map[string]bool{
	"content-disposition": true, "content-encoding": true, "content-language": true,
	"content-location": true, "content-type": true, "link": true,
}

// quilt opens a quilt and returns its patches.
func (h *Handler) quilt(ctx context.Context, id walrus.BlobID) (*engine.Blob, []walrus.Patch, error) {
	b, err := h.open(ctx, id)
	if err == nil {
		err = b.Metadata().CheckZeroRows()
	}
	if err != nil {
		return nil, nil, err
	}
	patches, err := h.quilts.get(ctx, id, func(ctx context.Context) ([]walrus.Patch, int64, error) {
		ctx, cancel := h.patient(ctx)
		defer cancel()
		patches, err := b.Patches(ctx)
		switch {
		case errors.Is(err, engine.ErrNoQuilt):
			return nil, 0, noQuilt(id)
		case errors.Is(err, engine.ErrIndexTooLong):
			return nil, 0, &apiError{http.StatusForbidden, reasonTooLarge, err.Error()}
		}
		return patches, weight(patches), err
	})
	return b, patches, err
}

// weight returns about how much memory patches take.
func weight(patches []walrus.Patch) (n int64) {
	for _, x := range patches {
		n += 200 + int64(len(x.Identifier))
		for k, v := range x.Tags {
			n += 100 + int64(len(k)+len(v))
		}
	}
	return n
}

func noQuilt(id walrus.BlobID) error {
	return notFound(reasonNoPatch, "blob %s is no quilt", id)
}

// getPatches lists what is in a quilt.
func (h *Handler) getPatches(w http.ResponseWriter, r *http.Request) error {
	id, err := blobID(r.PathValue("quilt"))
	if err != nil {
		return err
	}
	_, patches, err := h.quilt(r.Context(), id)
	if err != nil {
		return err
	}
	type entry struct {
		Identifier string            `json:"identifier"`
		PatchID    string            `json:"patch_id"`
		Tags       map[string]string `json:"tags"`
	}
	list := make([]entry, len(patches))
	for i, x := range patches {
		list[i] = entry{x.Identifier, x.ID(id).String(), x.Tags}
		if x.Tags == nil {
			list[i].Tags = map[string]string{}
		}
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	cacheable(w, id.String()+"-patches")
	w.Header().Set("Content-Type", "application/json")
	return serveBytes(w, r, data)
}

// getPatchByID serves a patch by its id.
func (h *Handler) getPatchByID(w http.ResponseWriter, r *http.Request, name string) error {
	id, err := walrus.ParsePatchID(name)
	if err != nil {
		return badID(err)
	}
	b, patches, err := h.quilt(r.Context(), id.Quilt)
	if err != nil {
		return err
	}
	for _, x := range patches {
		if x.ID(id.Quilt) == id {
			return h.servePatch(w, r, b, x)
		}
	}
	return notFound(reasonNoPatch, "quilt %s has no patch %s", id.Quilt, id)
}

// getPatchByName serves a patch by its identifier.
func (h *Handler) getPatchByName(w http.ResponseWriter, r *http.Request) error {
	id, err := blobID(r.PathValue("quilt"))
	if err != nil {
		return err
	}
	b, patches, err := h.quilt(r.Context(), id)
	if err != nil {
		return err
	}
	name := r.PathValue("identifier")
	for _, x := range patches {
		if x.Identifier == name {
			return h.servePatch(w, r, b, x)
		}
	}
	return notFound(reasonNoPatch, "quilt %s has no patch %q", id, name)
}

func (h *Handler) servePatch(w http.ResponseWriter, r *http.Request, b *engine.Blob, x walrus.Patch) error {
	ctx, cancel := h.patient(r.Context())
	defer cancel()
	f, err := b.Patch(ctx, x)
	if err != nil {
		return err
	}
	cacheable(w, b.ID().String())
	copyType(w, r)
	if validHeader(x.Identifier) {
		w.Header().Set("X-Quilt-Patch-Identifier", x.Identifier)
	}
	for k, v := range x.Tags {
		if allowedTags[strings.ToLower(k)] && validHeader(v) {
			w.Header().Set(k, v)
		}
	}
	return h.serve(w, r, file{f}, time.Time{})
}
