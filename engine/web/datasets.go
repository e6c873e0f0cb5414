package web

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// dataset opens a dataset.
func (h *Handler) dataset(ctx context.Context, id walrus.BlobID) (*engine.Dataset, error) {
	ds, err := h.datasets.get(ctx, id, func(ctx context.Context) (*engine.Dataset, int64, error) {
		ctx, cancel := h.patient(ctx)
		defer cancel()
		ds, err := h.eng.Open(ctx, id)
		return ds, 1, err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, notFound(reasonNoBlob, "dataset %s does not exist, or no node has it", id)
	case errors.Is(err, catalog.ErrMalformed):
		return nil, notFound("DATASET_NOT_FOUND", "blob %s is no dataset", id)
	}
	return ds, err
}

// getFile serves a file of a dataset, or lists a directory.
func (h *Handler) getFile(w http.ResponseWriter, r *http.Request) error {
	id, err := blobID(r.PathValue("dataset"))
	if err != nil {
		return err
	}
	ds, err := h.dataset(r.Context(), id)
	if err != nil {
		return err
	}
	name := strings.Trim(r.PathValue("path"), "/")
	e, err := find(r.Context(), ds, name)
	if err != nil {
		return err
	}
	switch e.Type {
	case catalog.Dir:
		return h.list(w, r, ds, e, name)
	case catalog.File:
		f, err := ds.File(r.Context(), e)
		if err != nil {
			return err
		}
		cacheable(w, e.Root.String())
		w.Header().Set("Content-Type", typeOf(name))
		return h.serve(w, r, file{f}, time.Unix(e.Sec, int64(e.Nsec)))
	}
	return notFound(reasonNoFile, "%q is a symlink that leads nowhere", name)
}

// find returns the entry at a path, symlinks followed. In paths that are not
// UTF-8 none are.
func find(ctx context.Context, ds *engine.Dataset, name string) (catalog.Entry, error) {
	e, err := ds.Root(), error(nil)
	if fs.ValidPath(name) {
		var info fs.FileInfo
		if info, err = fs.Stat(ds.FS(ctx), name); err == nil {
			e = info.Sys().(catalog.Entry)
		}
	} else {
		for part := range strings.SplitSeq(name, "/") {
			if err == nil && part != "" && e.Type != catalog.Dir {
				err = fs.ErrNotExist
			}
			if err == nil && part != "" {
				e, err = ds.Lookup(ctx, e, part)
			}
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return e, notFound(reasonNoFile, "the dataset has no %q", name)
	}
	return e, err
}

// typeOf returns the content type of a file by its name.
func typeOf(name string) string {
	if t := mime.TypeByExtension(strings.ToLower(path.Ext(name))); t != "" {
		return t
	}
	return "application/octet-stream"
}

// file is the source of a file's bytes.
type file struct{ *engine.File }

func (f file) size() int64 { return f.Entry().Size }

func (f file) load(ctx context.Context, off int64, n int) ([]merkle.Chunk, func(), error) {
	s, err := f.Read(ctx, off, n)
	if err != nil {
		return nil, nil, err
	}
	return s.Parts(), s.Release, nil
}

// serveBytes answers with data. The caller has set ETag and Content-Type.
func serveBytes(w http.ResponseWriter, r *http.Request, data []byte) error {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stalled))
	http.ServeContent(w, withoutRange(r), "", time.Time{}, bytes.NewReader(data))
	return nil
}
