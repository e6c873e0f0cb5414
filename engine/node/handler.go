package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/floefs/floe/engine/walrus"
)

// HandlerOptions say what a Handler is for. Zero values mean the defaults.
type HandlerOptions struct {
	N      int                // shards of the committee; must be set
	Shards []int              // of those, the node's: default all
	Epoch  walrus.Epoch       // of the committee
	Key    *walrus.PrivateKey // that signs: default none, and nothing is signed

	ReadOnly bool         // store nothing
	Memory   int64        // bytes in bodies under way: default 256 MiB
	Logger   *slog.Logger // default: silent
}

// A Handler serves a Store over the HTTP API of storage nodes. It stores only
// what it has proven: metadata against the blob's id, slivers against the
// metadata. What it serves it does not prove again; that is for the reader.
//
// It differs from Walrus' own nodes in this:
//   - Nobody registers blobs: metadata is enough. So an upload that is
//     "pending" is stored at once, and answered as if it were only buffered.
//   - A sliver that is there already is replaced if it is false and the body
//     is the true one. In any other case the body has no effect, and the
//     answer is the same.
//   - Slivers can be had in part, with Range.
//   - Symbols are sent as far as they fit into 32 MiB.
//   - Shards are not synchronized: there is no /v1/migrate.
type Handler struct {
	store   Store
	opts    HandlerOptions
	log     *slog.Logger
	mux     *http.ServeMux
	has     []bool // by shard
	started time.Time

	memory *semaphore.Weighted // bytes
	reads  limiter             // of slivers that pass through memory
	proofs limiter             // of what is stored, and signatures
	work   limiter             // for requests that cost more than what they answer

	mu     sync.Mutex // guards what follows
	params map[walrus.BlobID]walrus.Params
	metas  map[walrus.BlobID]*walrus.Metadata
	whole  map[walrus.BlobID]bool // blobs of which everything was there once
}

// NewHandler returns a Handler that serves store.
func NewHandler(store Store, opts HandlerOptions) (*Handler, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Memory == 0 {
		opts.Memory = 256 << 20
	}
	largest, err := walrus.NewParams(opts.N, walrus.MaxBlob(opts.N))
	if err != nil {
		return nil, err
	}
	opts.Memory = max(opts.Memory, symbolMemory(largest)) // which no body exceeds
	if opts.Shards == nil {
		for s := range opts.N {
			opts.Shards = append(opts.Shards, s)
		}
	}
	h := &Handler{
		store: store, opts: opts, log: opts.Logger, has: make([]bool, opts.N), started: time.Now(),
		memory: semaphore.NewWeighted(opts.Memory),
		reads:  newLimiter(256, 4096),
		proofs: newLimiter(runtime.GOMAXPROCS(0), 1024),
		work:   newLimiter(max(1, runtime.GOMAXPROCS(0)/2), 16),
		params: make(map[walrus.BlobID]walrus.Params),
		metas:  make(map[walrus.BlobID]*walrus.Metadata),
		whole:  make(map[walrus.BlobID]bool),
	}
	for _, s := range opts.Shards {
		if s < 0 || s >= opts.N {
			return nil, fmt.Errorf("shard %d: the %d shards are numbered from 0", s, opts.N)
		}
		if h.has[s] {
			return nil, fmt.Errorf("shard %d is named twice", s)
		}
		h.has[s] = true
	}
	slices.Sort(opts.Shards)
	h.routes()
	return h, nil
}

func (h *Handler) routes() {
	h.mux = http.NewServeMux()
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/blobs/{blob}/metadata":                        h.getMetadata,
		"PUT /v1/blobs/{blob}/metadata":                        h.putMetadata,
		"GET /v1/blobs/{blob}/metadata/status":                 h.metadataStatus,
		"GET /v1/blobs/{blob}/slivers/{pair}/{type}":           h.getSliver,
		"PUT /v1/blobs/{blob}/slivers/{pair}/{type}":           h.putSliver,
		"GET /v1/blobs/{blob}/slivers/{pair}/{type}/status":    h.sliverStatus,
		"GET /v1/blobs/{blob}/confirmation/permanent":          h.confirmPermanent,
		"GET /v1/blobs/{blob}/confirmation/deletable/{object}": h.confirmDeletable,
		"GET /v1/blobs/{blob}/recoverySymbols":                 h.recoverySymbols,
		"GET /v1/blobs/{blob}/decodingSymbols":                 h.decodingSymbols,
		"POST /v1/blobs/{blob}/inconsistencyProof/{type}":      h.inconsistencyProof,
		"GET /v1/blobs/{blob}/status":                          h.blobStatus,
		"GET /v1/health":                                       h.health,
	} {
		h.mux.Handle(pattern, h.handle(serve))
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "*")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, PUT, POST")
		w.Header().Set("Access-Control-Allow-Headers", "*")
		w.Header().Set("Access-Control-Max-Age", "86400")
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
		http.NewResponseController(w).SetWriteDeadline(begun.Add(answered))
		err := serve(w, r)
		if err != nil {
			h.fail(w, r, err)
		}
		h.log.Debug("request", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr, "took", time.Since(begun), "error", err)
	})
}

// answered is how long an answer may take, unless it is a body that flows.
const answered = 2 * time.Minute

func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	var known *apiError
	var plain plainError
	switch {
	case errors.As(err, &known):
		if known.status == statusUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		form := known.form()
		writeJSON(w, form.Error.Code, form)
	case errors.As(err, &plain):
		http.Error(w, plain.text, plain.code)
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // there is nobody to tell
	default:
		form, trace := internalForm()
		h.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "trace", trace, "error", err)
		writeJSON(w, form.Error.Code, form)
	}
}

// blobOf returns the blob that a request is about.
func blobOf(r *http.Request) (walrus.BlobID, error) {
	id, err := walrus.ParseBlobID(r.PathValue("blob"))
	if err != nil {
		return id, badRequest("%v", err)
	}
	return id, nil
}

// sliverOf returns the blob and the sliver that a request is about.
func (h *Handler) sliverOf(r *http.Request) (id walrus.BlobID, at walrus.SliverID, err error) {
	if id, err = blobOf(r); err != nil {
		return id, at, err
	}
	axis, err := walrus.ParseAxis(r.PathValue("type"))
	if err != nil {
		return id, at, badRequest("%v", err)
	}
	pair, err := strconv.ParseUint(r.PathValue("pair"), 10, 16)
	if err != nil {
		return id, at, badRequest("%q is no index of a sliver pair", r.PathValue("pair"))
	}
	if int(pair) >= h.opts.N {
		return id, at, invalid(reasonIndex, "sliver pair %d: there are %d", pair, h.opts.N)
	}
	return id, axis.OfPair(int(pair), h.opts.N), nil
}

// assigned reports, as an error, if a sliver is on a shard that is not the
// node's.
func (h *Handler) assigned(id walrus.BlobID, at walrus.SliverID) error {
	shard := id.PairToShard(at.Pair(h.opts.N), h.opts.N)
	if h.has[shard] {
		return nil
	}
	return &apiError{
		status: statusInvalid, reason: reasonNotAssigned,
		message:  fmt.Sprintf("shard %d is not assigned to this node in epoch %d", shard, h.opts.Epoch),
		metadata: map[string]string{"shard": strconv.Itoa(shard), "epoch": strconv.Itoa(int(h.opts.Epoch))},
	}
}

// slivers returns the slivers of a blob that the node should have.
func (h *Handler) slivers(id walrus.BlobID) []walrus.SliverID {
	var all []walrus.SliverID
	for _, shard := range h.opts.Shards {
		pair := id.ShardToPair(shard, h.opts.N)
		all = append(all, walrus.Primary.OfPair(pair, h.opts.N), walrus.Secondary.OfPair(pair, h.opts.N))
	}
	return all
}

// query returns the parameters of a request, which may have only those named.
func query(r *http.Request, allowed ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("query: %v", err)
	}
	for name := range q {
		if !slices.Contains(allowed, name) {
			return nil, badRequest("query: unknown field %q", name)
		}
	}
	return q, nil
}

// flagged returns a parameter that is true or false.
func flagged(q url.Values, name string) (bool, error) {
	switch v := q.Get(name); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badRequest("query: %s=%q is neither true nor false", name, v)
	}
}

// checkContentType refuses bodies that say they are something else.
func checkContentType(r *http.Request) error {
	if t := r.Header.Get("Content-Type"); t != "" && t != octets {
		return invalid(reasonBody, "content type %q, want %s", printable(t), octets)
	}
	return nil
}

// maxParams is of how many blobs the geometry is remembered. That costs little
// and never changes; of how many there is metadata depends on its size.
const (
	maxParams       = 1 << 16
	maxMetadataKept = 16 << 20 // bytes
)

// metadata returns a blob's metadata as the store has it now or had it before.
func (h *Handler) metadata(ctx context.Context, id walrus.BlobID) (*walrus.Metadata, error) {
	h.mu.Lock()
	meta := h.metas[id]
	h.mu.Unlock()
	if meta != nil {
		return meta, nil
	}
	return h.loadMetadata(ctx, id)
}

// loadMetadata returns a blob's metadata as the store has it, proven. What
// cannot be proven is absent.
func (h *Handler) loadMetadata(ctx context.Context, id walrus.BlobID) (*walrus.Metadata, error) {
	data, err := h.store.Metadata(ctx, id)
	if err != nil {
		return nil, err
	}
	meta, err := walrus.ProveMetadata(id, data)
	if err != nil {
		h.log.Error("metadata in the store is false", "blob", id.String(), "error", err)
		return nil, fmt.Errorf("metadata of blob %s is false: %w", id, fs.ErrNotExist)
	}
	if meta.N() != h.opts.N {
		return nil, fmt.Errorf("blob %s is for %d shards: %w", id, meta.N(), fs.ErrNotExist)
	}
	params, err := meta.Params()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.metas) >= maxMetadataKept/walrus.MetadataLen(h.opts.N) {
		clear(h.metas)
	}
	if len(h.params) >= maxParams {
		clear(h.params)
	}
	h.metas[id], h.params[id] = meta, params
	return meta, nil
}

// geometry returns the geometry of a blob of which the node once had the
// metadata.
func (h *Handler) geometry(ctx context.Context, id walrus.BlobID) (walrus.Params, error) {
	h.mu.Lock()
	params, ok := h.params[id]
	h.mu.Unlock()
	if ok {
		return params, nil
	}
	meta, err := h.metadata(ctx, id)
	if err != nil {
		return walrus.Params{}, err
	}
	return meta.Params()
}

// otherwise returns absent if err says that something is not there, else err.
func otherwise(err, absent error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return absent
	}
	return err
}

// A limiter lets only so many do something at a time, and only so many wait.
type limiter struct{ running, all chan struct{} }

func newLimiter(running, waiting int) limiter {
	return limiter{make(chan struct{}, running), make(chan struct{}, running+waiting)}
}

// patience is how long a request waits for its turn.
const patience = 10 * time.Second

// acquire waits for its turn. If there is none soon it returns errBusy.
func (l limiter) acquire(ctx context.Context) error {
	select {
	case l.all <- struct{}{}:
	default:
		return errBusy
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case l.running <- struct{}{}:
		return nil
	case <-timer.C:
		<-l.all
		return errBusy
	case <-ctx.Done():
		<-l.all
		return context.Cause(ctx)
	}
}

func (l limiter) release() {
	<-l.running
	<-l.all
}
