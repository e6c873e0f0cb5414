package web

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/walrus"
)

// open opens a blob.
func (h *Handler) open(ctx context.Context, id walrus.BlobID) (*engine.Blob, error) {
	return h.blobs.get(ctx, id, func(ctx context.Context) (*engine.Blob, int64, error) {
		b, err := h.eng.OpenBlob(ctx, id)
		return b, 1, err
	})
}

// getBlob serves the bytes of a blob. Together with the check of the rows
// behind its end, proving each row as it is sent is the default consistency
// check.
func (h *Handler) getBlob(w http.ResponseWriter, r *http.Request) error {
	b, err := h.consistent(r, r.PathValue("blob"))
	if err != nil {
		return err
	}
	f, err := b.File()
	if err != nil {
		return err
	}
	cacheable(w, b.ID().String())
	copyType(w, r)
	return h.serve(w, r, file{f}, time.Time{})
}

// streamBlob is getBlob without ranges.
func (h *Handler) streamBlob(w http.ResponseWriter, r *http.Request) error {
	b, err := h.consistent(r, r.PathValue("blob"))
	if err != nil {
		return err
	}
	f, err := b.File()
	if err != nil {
		return err
	}
	cacheable(w, b.ID().String())
	copyType(w, r)
	w.Header().Set("X-Walrus-Streaming", "true")
	return h.serve(w, withoutRange(r), file{f}, time.Time{})
}

// getPart serves what is below a blob, and what lies beside blobs and is
// called by one name.
func (h *Handler) getPart(w http.ResponseWriter, r *http.Request) error {
	first, second := r.PathValue("blob"), r.PathValue("what")
	switch {
	case first == "by-quilt-patch-id":
		return h.getPatchByID(w, r, second)
	case first == "by-object-id":
		return notFound("OBJECT_ID_RESOLUTION_FAILED", "objects of Sui are not resolved here: ask by the blob id")
	case second == "byte-range":
		return h.getRange(w, r, first)
	}
	return notFound("NOT_FOUND", "there is no such path: /v1/api lists those there are")
}

// getRange serves a range as an answer of its own, which caches keep.
func (h *Handler) getRange(w http.ResponseWriter, r *http.Request, id string) error {
	query := r.URL.Query()
	start, err := strconv.ParseUint(query.Get("start"), 10, 64)
	if err != nil {
		return badRange("start: %q is no number of bytes", query.Get("start"))
	}
	length, err := strconv.ParseUint(query.Get("length"), 10, 64)
	if err != nil || length == 0 {
		return badRange("length: %q is no number of bytes from 1 on", query.Get("length"))
	}
	b, err := h.consistent(r, id)
	if err != nil {
		return err
	}
	if size := b.Params().Size; start >= size || length > size-start {
		return badRange("%d bytes from %d on do not lie in a blob of %d", length, start, size)
	}
	f, err := b.File()
	if err != nil {
		return err
	}
	cacheable(w, fmt.Sprintf("%s-%d-%d", b.ID(), start, length))
	copyType(w, r)
	return h.serve(w, withoutRange(r), window{file{f}, int64(start), int64(length)}, time.Time{})
}

func badRange(format string, a ...any) error {
	return &apiError{http.StatusBadRequest, reasonRange, fmt.Sprintf(format, a...)}
}

// consistent opens a blob and checks it as the request asks.
func (h *Handler) consistent(r *http.Request, name string) (*engine.Blob, error) {
	id, err := blobID(name)
	if err != nil {
		return nil, err
	}
	strict, err := flag(r, "strict_consistency_check")
	if err != nil {
		return nil, err
	}
	skip, err := flag(r, "skip_consistency_check")
	if err != nil {
		return nil, err
	}
	if strict && skip {
		return nil, badRequest("strict_consistency_check and skip_consistency_check exclude one another")
	}
	b, err := h.open(r.Context(), id)
	if err != nil || skip {
		return b, err
	}
	if err := b.Metadata().CheckZeroRows(); err != nil {
		return nil, err
	}
	if strict && r.Method != http.MethodHead {
		return b, checkStrictly(r.Context(), b)
	}
	return b, nil
}

func flag(r *http.Request, name string) (bool, error) {
	switch v := r.URL.Query().Get(name); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badRequest("%s: %q is neither true nor false", name, v)
	}
}

func badRequest(format string, a ...any) error {
	return &apiError{http.StatusBadRequest, "MALFORMED_REQUEST", fmt.Sprintf(format, a...)}
}

const maxStrict = 256 << 20 // bytes of a blob that is checked strictly

// checkStrictly encodes a blob anew and compares its id.
func checkStrictly(ctx context.Context, b *engine.Blob) error {
	if b.Params().Size > maxStrict {
		return &apiError{http.StatusForbidden, reasonTooLarge, fmt.Sprintf("blobs of up to %d bytes are checked strictly", maxStrict)}
	}
	return b.CheckStrictly(ctx)
}

// copyType answers with the type that was asked for: blobs have none of their
// own.
func copyType(w http.ResponseWriter, r *http.Request) {
	t := r.Header.Get("Accept")
	if t == "" || strings.Contains(t, "*") {
		t = ""
		if r.Method == http.MethodGet {
			t = r.Header.Get("Content-Type")
		}
	}
	if _, _, err := mime.ParseMediaType(t); err == nil && validHeader(t) {
		w.Header().Set("Content-Type", t)
	}
}
