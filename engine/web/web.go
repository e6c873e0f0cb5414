// Package web serves datasets and blobs over HTTP: it is an aggregator whose
// every byte was proven before it was sent.
//
// Paths, answers and errors are those of Walrus' own aggregators, so that
// their clients read through it. It differs from them in this:
//   - Range can be anything HTTP has: open at its end, a suffix, several.
//   - ETag is quoted, as HTTP demands, and If-None-Match is heeded.
//   - HEAD reads no slivers.
//   - Bodies are streamed. What fails before 256 KiB have been read is
//     answered with an error, what fails later breaks the connection off; no
//     byte that was not proven is ever sent.
//   - Ranges and patches of quilts get the default consistency check too.
//   - /v1/datasets/ID/PATH are the files and directories of datasets.
//   - Objects of Sui are not resolved: blobs are asked for by their ids.
package web

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/walrus"
)

// Options are a Handler's settings; nil and zero mean the defaults.
type Options struct {
	Fetch    time.Duration // after which opening a dataset or a quilt is given up; default 60 s
	Requests int           // at a time; default 256
	Logger   *slog.Logger  // default: silent
}

// What is kept to answer the next request sooner.
const (
	keptBlobs    = 256
	keptDatasets = 32
	keptIndexes  = 16 << 20 // bytes of indexes of quilts
)

// A Handler serves what an engine can read. It is safe for
// concurrent use.
type Handler struct {
	eng      *engine.Engine
	log      *slog.Logger
	mux      *http.ServeMux
	patience time.Duration

	slots chan struct{} // holds one token per request under way; full means refuse

	blobs    *memory[walrus.BlobID, *engine.Blob]
	quilts   *memory[walrus.BlobID, []walrus.Patch]
	datasets *memory[walrus.BlobID, *engine.Dataset]
}

// New returns a Handler that reads by eng.
func New(eng *engine.Engine, opts *Options) *Handler {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Fetch <= 0 {
		o.Fetch = time.Minute
	}
	if o.Requests <= 0 {
		o.Requests = 256
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Handler{
		eng: eng, log: o.Logger, mux: http.NewServeMux(), patience: o.Fetch,
		slots:    make(chan struct{}, o.Requests),
		blobs:    newMemory[walrus.BlobID, *engine.Blob](keptBlobs),
		quilts:   newMemory[walrus.BlobID, []walrus.Patch](keptIndexes),
		datasets: newMemory[walrus.BlobID, *engine.Dataset](keptDatasets),
	}
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /status":          status,
		"GET /v1/api":          describe,
		"GET /v1/blobs/{blob}": h.getBlob,
		// One pattern for several, since none of these is more special than
		// the others: .../by-quilt-patch-id/byte-range would be two of them.
		"GET /v1/blobs/{blob}/{what}":                       h.getPart,
		"GET /v1/blobs/by-quilt-id/{quilt}/{identifier...}": h.getPatchByName,
		"GET /v1/quilts/{quilt}/patches":                    h.getPatches,
		"GET /v1alpha/blobs/{blob}/stream":                  h.streamBlob,
		"GET /v1alpha/blobs/concat":                         h.getJoined,
		"POST /v1alpha/blobs/concat":                        h.postJoined,
		"GET /v1/datasets/{dataset}":                        h.getFile,
		"GET /v1/datasets/{dataset}/{path...}":              h.getFile,
	} {
		h.mux.Handle(pattern, h.handle(serve))
	}
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Expose-Headers", "*")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store") // until it is known to be a success
	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
		header.Set("Access-Control-Allow-Headers", "*")
		header.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// handle makes a handler of a function that either answers, or has not
// answered yet and returns an error.
func (h *Handler) handle(serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		// Of the connection's last answer the deadline may be over.
		http.NewResponseController(w).SetWriteDeadline(begun.Add(stalled))
		err := h.admit(w, r, serve)
		if err != nil {
			h.fail(w, r, err)
		}
		h.log.Debug("request", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr, "took", time.Since(begun), "error", err)
	})
}

// admit calls serve if not too many others are at work.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *http.Request) error) error {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
		return serve(w, r)
	default:
		return &apiError{code: http.StatusTooManyRequests, reason: "OVERLOADED", message: "too many requests at once"}
	}
}

// fail answers a request that nothing has been said to with what went wrong.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // there is nobody to tell
	}
	known := classify(err)
	level := slog.LevelDebug
	if known.code >= 500 {
		level = slog.LevelWarn
	}
	h.log.Log(r.Context(), level, "request failed", "method", r.Method, "path", r.URL.Path, "status", known.code, "error", err)
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stalled))
	known.write(w)
}

// patient bounds how long opening something may take.
func (h *Handler) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, h.patience, fmt.Errorf("no bytes within %v", h.patience.Round(time.Millisecond)))
}

func status(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(w, "OK")
	return gone(err)
}

const api = `GET /v1/blobs/{blob_id}
GET /v1/blobs/{blob_id}/byte-range?start=&length=
GET /v1/blobs/by-quilt-patch-id/{patch_id}
GET /v1/blobs/by-quilt-id/{quilt_id}/{identifier}
GET /v1/quilts/{quilt_id}/patches
GET /v1alpha/blobs/{blob_id}/stream
GET /v1alpha/blobs/concat?ids=A,B       or POST {"ids":["A","B"]}
GET /v1/datasets/{dataset_id}/{path}    a directory: ?from=&limit=
GET /status
`

func describe(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(w, api)
	return gone(err)
}

// gone is the error of a write to whoever asked: an answer that was begun and
// cannot be ended.
func gone(err error) error {
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// cacheable says that what is answered never changes.
func cacheable(w http.ResponseWriter, etag string) {
	w.Header().Set("Cache-Control", "public, max-age=86400, stale-while-revalidate=3600, immutable")
	w.Header().Set("ETag", `"`+etag+`"`)
}

// blobID returns the id that a part of the path is.
func blobID(s string) (walrus.BlobID, error) {
	id, err := walrus.ParseBlobID(s)
	if err != nil {
		return id, badID(err)
	}
	return id, nil
}

func badID(err error) error {
	return &apiError{code: http.StatusBadRequest, reason: "INVALID_ID_FORMAT", message: err.Error()}
}

// validHeader reports whether v can be the value of a header.
func validHeader(v string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func notFound(reason, format string, a ...any) error {
	return &apiError{code: http.StatusNotFound, reason: reason, message: fmt.Sprintf(format, a...)}
}
