package node

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"

	"github.com/floefs/floe/engine/walrus"
)

func (h *Handler) getMetadata(w http.ResponseWriter, r *http.Request) error {
	id, err := blobOf(r)
	if err != nil {
		return err
	}
	meta, err := h.loadMetadata(r.Context(), id)
	if err != nil {
		return otherwise(err, errNoMetadata)
	}
	return writeBytes(w, meta.AppendWithID(nil, id))
}

func (h *Handler) putMetadata(w http.ResponseWriter, r *http.Request) error {
	id, err := blobOf(r)
	if err != nil {
		return err
	}
	pending, err := pendingOf(r)
	if err != nil {
		return err
	}
	if h.opts.ReadOnly {
		return errReadOnly
	}
	data, err := h.readBody(w, r, walrus.MaxMetadata)
	if err != nil {
		return err
	}
	if err := h.checkMetadata(id, data); err != nil {
		return err
	}
	was, err := h.store.Metadata(r.Context(), id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there := err == nil && bytes.Equal(was, data)
	// Even if it is there: a store may lack one of its copies.
	if err := h.store.PutMetadata(r.Context(), id, data); err != nil {
		return err
	}
	switch {
	case there:
		return writeSuccess(w, http.StatusOK, "metadata already stored")
	case pending:
		return writeSuccess(w, http.StatusAccepted, "metadata buffered pending registration")
	}
	h.log.Info("stored metadata", "blob", id.String())
	return writeSuccess(w, http.StatusCreated, "metadata successfully stored")
}

// pendingOf reports whether an upload is to precede its registration.
func pendingOf(r *http.Request) (bool, error) {
	q, err := query(r, "pending")
	if err != nil {
		return false, err
	}
	pending, err := flagged(q, "pending")
	if err == nil {
		err = checkContentType(r)
	}
	return pending, err
}

// checkMetadata proves that data is the metadata of a blob on this committee.
func (h *Handler) checkMetadata(id walrus.BlobID, data []byte) error {
	if len(data) >= 2 && data[0] == 0 && data[1] != 1 {
		return invalid(reasonEncoding, "encoding type %d is not supported", data[1])
	}
	meta, err := walrus.ParseMetadata(data)
	if err != nil {
		return invalid(reasonBody, "%v", err)
	}
	if err := meta.Verify(id, h.opts.N); err != nil {
		return invalid(reasonInvalidMetadata, "%v", err)
	}
	return nil
}

func (h *Handler) metadataStatus(w http.ResponseWriter, r *http.Request) error {
	id, err := blobOf(r)
	if err != nil {
		return err
	}
	_, err = h.loadMetadata(r.Context(), id)
	return h.writeStored(w, err)
}

// writeStored answers whether something is stored: err is why it is not.
func (h *Handler) writeStored(w http.ResponseWriter, err error) error {
	switch {
	case err == nil:
		return writeSuccess(w, http.StatusOK, "stored")
	case errors.Is(err, fs.ErrNotExist):
		return writeSuccess(w, http.StatusOK, "nonexistent")
	}
	return err
}

// readBody returns a request's body, of at most most bytes.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if r.ContentLength > most {
		return nil, errLength
	}
	body := newBody(w, r)
	data, err := io.ReadAll(io.LimitReader(body, most+1))
	if err != nil {
		return nil, errBody
	}
	if int64(len(data)) > most {
		return nil, errLength
	}
	body.end()
	return data, nil
}
