package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

// maxIndex is the most bytes of a quilt's index that is read.
const maxIndex = 4 << 20

// allowedTags are the tags of a patch that become headers of the answer.
var allowedTags = map[string]bool{
	"content-disposition": true, "content-encoding": true, "content-language": true,
	"content-location": true, "content-type": true, "link": true,
}

// quilt opens a quilt and returns its patches.
func (h *Handler) quilt(ctx context.Context, id walrus.BlobID) (*openBlob, []walrus.Patch, error) {
	b, err := h.open(ctx, id)
	if err == nil {
		err = b.zeros
	}
	if err != nil {
		return nil, nil, err
	}
	patches, err := h.quilts.get(ctx, id, func(ctx context.Context) ([]walrus.Patch, int64, error) {
		return h.index(ctx, b)
	})
	return b, patches, err
}

// index reads the index of a quilt.
func (h *Handler) index(ctx context.Context, b *openBlob) ([]walrus.Patch, int64, error) {
	if b.params.Size != uint64(b.params.K1)*uint64(b.params.SliverLen(walrus.Primary)) {
		return nil, 0, noQuilt(b.id)
	}
	column, release, err := h.sliver(ctx, b, walrus.SliverID{Axis: walrus.Secondary, Index: 0})
	if err != nil {
		return nil, 0, err
	}
	size, count, err := b.params.QuiltIndexLen(column.Bytes())
	release()
	if err != nil {
		return nil, 0, noQuilt(b.id)
	}
	if size > maxIndex {
		return nil, 0, &apiError{http.StatusForbidden, reasonTooLarge, fmt.Sprintf("the index of the quilt has %d bytes, at most %d are read", size, maxIndex)}
	}
	data, err := read(ctx, columns{h, b, 0, count}, size)
	if err != nil {
		return nil, 0, err
	}
	patches, err := b.params.ParseQuiltIndex(data)
	if err != nil {
		return nil, 0, noQuilt(b.id)
	}
	return patches, int64(4*size) + 1, nil
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

func (h *Handler) servePatch(w http.ResponseWriter, r *http.Request, b *openBlob, x walrus.Patch) error {
	src := columns{h, b, x.Start, x.End}
	head := x.HeaderLen()
	if int64(head) > src.size() {
		return fmt.Errorf("%w: patch %q has no room for its header", walrus.ErrInconsistent, x.Identifier)
	}
	header, err := read(r.Context(), src, head)
	if err != nil {
		return err
	}
	size, err := x.DataSize(b.params, header)
	if err != nil {
		return fmt.Errorf("%w: %v", walrus.ErrInconsistent, err)
	}
	cacheable(w, b.id.String())
	copyType(w, r)
	if validHeader(x.Identifier) {
		w.Header().Set("X-Quilt-Patch-Identifier", x.Identifier)
	}
	for k, v := range x.Tags {
		if allowedTags[strings.ToLower(k)] && validHeader(v) {
			w.Header().Set(k, v)
		}
	}
	return h.serve(w, r, window{src, int64(head), int64(size)}, time.Time{})
}
