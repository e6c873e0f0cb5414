package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

func (h *Handler) getSliver(w http.ResponseWriter, r *http.Request) error {
	id, at, err := h.sliverOf(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	params, err := h.geometry(ctx, id)
	if err != nil {
		return otherwise(err, errNoSliver)
	}
	if err := h.assigned(id, at); err != nil {
		return err
	}
	total := int64(params.BodyLen(at.Axis))
	from, to, partial, ok := int64(0), total, false, true
	if r.Method == http.MethodGet && r.Header.Get("If-Range") == "" {
		from, to, partial, ok = parseRange(r.Header.Get("Range"), total)
	}
	if !ok {
		w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(total, 10))
		return &apiError{status: statusRange, reason: reasonRange, message: fmt.Sprintf("the body has %d bytes", total)}
	}
	body, err := h.openSliver(ctx, id, params, at, from, to, r.Method == http.MethodHead)
	defer body.close()
	if err != nil {
		return shortOtherwise(err, errNoSliver)
	}
	header := w.Header()
	header.Set("Content-Type", octets)
	header.Set("Accept-Ranges", "bytes")
	header.Set("Content-Length", strconv.FormatInt(to-from, 10))
	code := http.StatusOK
	if partial {
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, total))
		code = http.StatusPartialContent
	}
	w.WriteHeader(code)
	if r.Method == http.MethodHead {
		return nil
	}
	if err := body.send(ctx, w, from, to); err != nil {
		// The answer has begun: all that can be done is to break off.
		h.log.Debug("answer broken off", "blob", id.String(), "sliver", at.String(), "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

const (
	pieceSize = 256 << 10 // of a body, in memory
	filePiece = 1 << 20   // of a file that the kernel sends
)

// pieceTime returns how long n bytes of a body may take, either way: they
// flow at 32 KiB/s, or not for 8 s.
func pieceTime(n int64) time.Duration {
	return max(8*time.Second, time.Duration(n>>15)*time.Second)
}

var pieces = sync.Pool{New: func() any { b := make([]byte, pieceSize); return &b }}

// parseRange returns the bytes of a body of total bytes that a Range header
// asks for. It asks for all if there is none, or one that need not be
// understood, as several ranges. ok is false if there are no such bytes.
func parseRange(header string, total int64) (from, to int64, partial, ok bool) {
	spec, isBytes := strings.CutPrefix(header, "bytes=")
	first, last, isRange := strings.Cut(strings.TrimSpace(spec), "-")
	if !isBytes || !isRange || strings.Contains(spec, ",") {
		return 0, total, false, true
	}
	a, errA := strconv.ParseUint(first, 10, 63)
	b, errB := strconv.ParseUint(last, 10, 63)
	switch {
	case first == "" && errB == nil: // the last b bytes
		return max(0, total-int64(b)), total, true, b > 0
	case errA != nil, last != "" && (errB != nil || b < a):
		return 0, total, false, true
	case int64(a) >= total:
		return 0, 0, true, false
	case last == "" || int64(b) >= total:
		return int64(a), total, true, true
	}
	return int64(a), int64(b) + 1, true, true
}

// A sliverBody is a sliver in a store, seen as the body in which it travels.
type sliverBody struct {
	store  Store
	file   *os.File // that holds the sliver; nil if the store is not in files
	first  *[]byte  // if not nil, the first piece to be sent
	done   func()   // ends its turn to pass through memory; nil if it has none
	id     walrus.BlobID
	params walrus.Params
	at     walrus.SliverID
}

// inFiles is a Store that has a file for each sliver.
type inFiles interface {
	SliverFile(id walrus.BlobID, at walrus.SliverID) (*os.File, error)
}

// openSliver returns a sliver of whose body bytes [from, to) are to be sent,
// none of them if head is set. That these bytes are not there should be known
// now rather than when the answer has begun.
func (h *Handler) openSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, from, to int64, head bool) (*sliverBody, error) {
	b := &sliverBody{store: h.store, id: id, params: params, at: at}
	if s, ok := h.store.(inFiles); ok {
		return b, b.openFile(s)
	}
	start, end := b.extent()
	from, to = max(from, start), min(to, end)
	if head || from >= to {
		return b, h.hasSliver(ctx, id, params, at)
	}
	if err := h.reads.acquire(ctx); err != nil {
		return b, err
	}
	b.done = h.reads.release
	b.first = pieces.Get().(*[]byte)
	return b, h.store.ReadSliver(ctx, id, params, at, (*b.first)[:min(to-from, pieceSize)], from-start)
}

func (b *sliverBody) openFile(s inFiles) error {
	f, err := s.SliverFile(b.id, b.at)
	if err != nil {
		return err
	}
	b.file = f
	fi, err := f.Stat()
	if err == nil && fi.Size() < int64(b.params.SliverLen(b.at.Axis)) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (b *sliverBody) close() {
	if b.file != nil {
		b.file.Close()
	}
	if b.first != nil {
		pieces.Put(b.first)
	}
	if b.done != nil {
		b.done()
	}
}

// extent returns where in the body the sliver's own bytes are.
func (b *sliverBody) extent() (start, end int64) {
	header, _ := b.params.Frame(b.at)
	start = int64(len(header))
	return start, start + int64(b.params.SliverLen(b.at.Axis))
}

// send writes bytes [from, to) of the body.
func (b *sliverBody) send(ctx context.Context, w http.ResponseWriter, from, to int64) error {
	header, footer := b.params.Frame(b.at)
	start, end := b.extent()
	if from < start {
		if _, err := w.Write(header[from:min(to, start)]); err != nil {
			return err
		}
		from = start
	}
	most := int64(pieceSize)
	if b.file != nil {
		most = filePiece
	}
	rc := http.NewResponseController(w)
	for from < min(to, end) {
		n := min(to, end, from+most) - from
		rc.SetWriteDeadline(time.Now().Add(pieceTime(n)))
		if err := b.sendPiece(ctx, w, from-start, n); err != nil {
			return err
		}
		from += n
	}
	if from < to {
		if _, err := w.Write(footer[from-end : to-end]); err != nil {
			return err
		}
	}
	return nil
}

// sendPiece writes n bytes of the sliver.
func (b *sliverBody) sendPiece(ctx context.Context, w http.ResponseWriter, off, n int64) error {
	if b.file != nil {
		if _, err := b.file.Seek(off, io.SeekStart); err != nil {
			return err
		}
		_, err := io.CopyN(w, b.file, n) // which is sendfile
		return err
	}
	buf := b.first
	if buf == nil {
		buf = pieces.Get().(*[]byte)
		if err := b.store.ReadSliver(ctx, b.id, b.params, b.at, (*buf)[:n], off); err != nil {
			pieces.Put(buf)
			return err
		}
	}
	b.first = nil
	_, err := w.Write((*buf)[:n])
	pieces.Put(buf)
	return err
}

// hasSliver returns nil if a sliver is there to its last byte.
func (h *Handler) hasSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID) error {
	var last [1]byte
	return h.store.ReadSliver(ctx, id, params, at, last[:], int64(params.SliverLen(at.Axis))-1)
}

// shortOtherwise is otherwise, with slivers that were cut off absent as well.
func shortOtherwise(err, absent error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return absent
	}
	return otherwise(err, absent)
}

func (h *Handler) sliverStatus(w http.ResponseWriter, r *http.Request) error {
	id, at, err := h.sliverOf(r)
	if err != nil {
		return err
	}
	params, err := h.geometry(r.Context(), id)
	if err != nil {
		return h.writeStored(w, err)
	}
	if err := h.assigned(id, at); err != nil {
		return err
	}
	return h.writeStored(w, shortOtherwise(h.hasSliver(r.Context(), id, params, at), fs.ErrNotExist))
}

func (h *Handler) putSliver(w http.ResponseWriter, r *http.Request) error {
	id, at, err := h.sliverOf(r)
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
	meta, metaErr := h.metadata(r.Context(), id)
	assignedErr := h.assigned(id, at)

	// A body that cannot be stored anyway is read without being kept, and
	// only then refused: which error comes first depends on its end.
	length := -1
	var params walrus.Params
	if metaErr == nil {
		if params, err = meta.Params(); err != nil {
			return err
		}
		if assignedErr == nil {
			length = params.SliverLen(at.Axis)
		}
	}
	u, err := h.receive(w, r, length)
	if err != nil {
		return err
	}
	defer u.release()
	switch {
	case u.index != at.Index:
		return invalid(reasonMismatch, "the body is of sliver %d, the path of %s", u.index, at)
	case metaErr != nil:
		return otherwise(metaErr, errMetadataFirst)
	case assignedErr != nil:
		return assignedErr
	}
	there, err := h.storeSliver(r.Context(), meta, params, id, at, u)
	switch {
	case err != nil:
		return err
	case there:
		return writeSuccess(w, http.StatusOK, "sliver already stored")
	case pending:
		return writeSuccess(w, http.StatusAccepted, "sliver buffered pending registration")
	}
	return writeSuccess(w, http.StatusCreated, "sliver stored successfully")
}

// storeSliver stores what was uploaded if it is proven to be the sliver. If
// there is one already, that stays unless it is false, and nothing about the
// upload is an error.
func (h *Handler) storeSliver(ctx context.Context, meta *walrus.Metadata, params walrus.Params, id walrus.BlobID, at walrus.SliverID, u uploaded) (there bool, err error) {
	switch err := shortOtherwise(h.hasSliver(ctx, id, params, at), fs.ErrNotExist); {
	case err == nil:
		there = true
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	same := there && u.data != nil && h.holds(ctx, id, params, at, u.data)
	if !same {
		if err := h.proveSliver(ctx, meta, params, at, u); err != nil {
			if there && errors.Is(err, merkle.ErrMismatch) {
				return true, nil
			}
			return there, err
		}
		if there {
			h.log.Warn("a sliver in the store is false, and replaced", "blob", id.String(), "sliver", at.String())
		}
	}
	// Even if it is the same: in its place may be more than it.
	return there, h.store.PutSliver(ctx, id, params, at, u.data)
}

// An uploaded sliver is a body that was received: framed as it should be, but
// not proven.
type uploaded struct {
	data    []byte // nil if it is not as long as was asked for
	symbol  int
	index   int
	release func() // its memory
}

// receive reads the body of a sliver, and keeps it if it has length bytes.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, length int) (u uploaded, err error) {
	most := int64(walrus.MaxBodyLen(h.opts.N))
	if r.ContentLength > most {
		return u, errLength
	}
	body := newBody(w, r)
	in := bufio.NewReaderSize(io.LimitReader(body, most+1), 4096)
	n, err := readULEB(in)
	if err != nil {
		return u, errBody
	}
	u.release = func() {}
	if n == uint64(length) {
		if err := h.reserve(r.Context(), int64(length)); err != nil {
			return u, err
		}
		u.release = func() { h.memory.Release(int64(length)) }
		u.data = make([]byte, length)
		_, err = io.ReadFull(in, u.data)
	} else {
		_, err = io.CopyN(io.Discard, in, int64(min(n, uint64(most))))
	}
	var footer [4]byte
	if err == nil {
		err = readAll(in, footer[:])
	}
	if err != nil {
		u.release()
		return u, errBody
	}
	body.end()
	u.symbol = int(binary.LittleEndian.Uint16(footer[:]))
	u.index = int(binary.LittleEndian.Uint16(footer[2:]))
	return u, nil
}

// readULEB reads a length, written as shortly as it can be.
func readULEB(r io.ByteReader) (uint64, error) {
	var b []byte
	for range 5 {
		c, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		b = append(b, c)
		if c < 0x80 {
			if c == 0 && len(b) > 1 {
				break
			}
			v, _ := binary.Uvarint(b)
			return v, nil
		}
	}
	return 0, errors.New("not a length")
}

// reserve waits for memory, and returns errBusy if none comes free soon.
func (h *Handler) reserve(ctx context.Context, n int64) error {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if h.memory.Acquire(waiting, n) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errBusy
}

// proveSliver returns an error that wraps merkle.ErrMismatch, and is an
// apiError, if u is not sliver at of the blob.
func (h *Handler) proveSliver(ctx context.Context, meta *walrus.Metadata, params walrus.Params, at walrus.SliverID, u uploaded) error {
	if u.data == nil || u.symbol != params.Symbol {
		return fmt.Errorf("%w: %w", merkle.ErrMismatch,
			invalid(reasonInvalidSliver, "%s has %d bytes in symbols of %d", at, params.SliverLen(at.Axis), params.Symbol))
	}
	if err := h.proofs.acquire(ctx); err != nil {
		return err
	}
	defer h.proofs.release()
	if _, err := meta.ProveSliver(at, u.data); err != nil {
		return fmt.Errorf("%w: %w", merkle.ErrMismatch, invalid(reasonInvalidSliver, "%v", err))
	}
	return nil
}

// holds reports whether the store has just data as a sliver.
func (h *Handler) holds(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, data []byte) bool {
	buf := pieces.Get().(*[]byte)
	defer pieces.Put(buf)
	for off := 0; off < len(data); off += pieceSize {
		want := data[off:min(len(data), off+pieceSize)]
		got := (*buf)[:len(want)]
		if h.store.ReadSliver(ctx, id, params, at, got, int64(off)) != nil || !bytes.Equal(got, want) {
			return false
		}
	}
	return true
}

// A body is that of a request. Whoever sends it too slowly is cut off.
type body struct {
	io.Reader
	rc   *http.ResponseController
	left int // of the piece
}

func newBody(w http.ResponseWriter, r *http.Request) *body {
	return &body{r.Body, http.NewResponseController(w), 0}
}

func (b *body) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.rc.SetReadDeadline(time.Now().Add(pieceTime(pieceSize)))
		b.left = pieceSize
	}
	n, err := b.Reader.Read(p)
	b.left -= n
	return n, err
}

// end takes the deadline away. It would end the request, since the server
// keeps an eye on the connection.
func (b *body) end() { b.rc.SetReadDeadline(time.Time{}) }
