package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/floefs/floe/merkle"
)

const (
	maxJoined     = 100      // blobs in one answer
	maxJoinedBody = 64 << 10 // bytes of the list of them
)

// A joined is the source of what several sources hold, end to end.
type joined []source

func (j joined) size() (n int64) {
	for _, s := range j {
		n += s.size()
	}
	return n
}

func (j joined) load(ctx context.Context, off int64, n int) ([]merkle.Chunk, func(), error) {
	i := 0
	for off >= j[i].size() {
		off, i = off-j[i].size(), i+1
	}
	return j[i].load(ctx, off, n)
}

// getJoined serves several blobs as one, those in ?ids=.
func (h *Handler) getJoined(w http.ResponseWriter, r *http.Request) error {
	return h.serveJoined(w, r, strings.Split(r.URL.Query().Get("ids"), ","))
}

// postJoined serves several blobs as one, those in the body.
func (h *Handler) postJoined(w http.ResponseWriter, r *http.Request) error {
	var list struct {
		IDs []string `json:"ids"`
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(stalled))
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJoinedBody)).Decode(&list); err != nil {
		return badRequest("the body is not {\"ids\":[...]}: %v", err)
	}
	return h.serveJoined(w, r, list.IDs)
}

func (h *Handler) serveJoined(w http.ResponseWriter, r *http.Request, ids []string) error {
	if len(ids) == 0 || len(ids) > maxJoined {
		return badRequest("%d blobs: 1 to %d can be joined", len(ids), maxJoined)
	}
	var all joined
	for _, id := range ids {
		b, err := h.consistent(r, id)
		if err != nil {
			return err
		}
		f, err := b.File()
		if err != nil {
			return err
		}
		all = append(all, file{f})
	}
	sum := sha256.Sum256([]byte(strings.Join(ids, "")))
	cacheable(w, base64.RawURLEncoding.EncodeToString(sum[:]))
	copyType(w, r)
	return h.serve(w, r, all, time.Time{})
}
