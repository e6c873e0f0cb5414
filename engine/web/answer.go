package web

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	// held is how much of a body is there before the first of it is sent, so
	// that what fails early is a clean error.
	held = 256 << 10

	// stalled is how long one who asked may take nothing of the answer.
	stalled = 30 * time.Second

	// maxRanges is how many ranges are answered at once; more are no reading
	// but an attempt to keep us busy.
	maxRanges = 64
)

// An answer holds back the status and the beginning of a body.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	code    int // 0: not known yet
	begun   []byte
	sent    bool
	paced   time.Time // when the deadline was last moved
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if !a.sent && len(a.begun)+len(p) <= held {
		a.begun = append(a.begun, p...)
		return len(p), nil
	}
	if err := a.send(); err != nil {
		return 0, err
	}
	a.pace()
	return a.ResponseWriter.Write(p)
}

// send lets go of what was held back.
func (a *answer) send() error {
	if a.sent {
		return nil
	}
	a.WriteHeader(http.StatusOK)
	a.sent = true
	a.pace()
	a.ResponseWriter.WriteHeader(a.code)
	if len(a.begun) == 0 {
		return nil
	}
	_, err := a.ResponseWriter.Write(a.begun)
	a.begun = nil
	return err
}

// pace moves the deadline: an answer may take any time as long as it flows.
func (a *answer) pace() {
	if now := time.Now(); now.Sub(a.paced) > time.Second {
		a.paced = now
		a.control.SetWriteDeadline(now.Add(stalled))
	}
}

// serve answers with src as HTTP has it: whole, in ranges, or not at all if
// whoever asks has it. The caller has set ETag and Content-Type.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, src source, modified time.Time) error {
	if _, ok := w.Header()["Content-Type"]; !ok {
		w.Header()["Content-Type"] = nil // do not guess it
	}
	if strings.Count(r.Header.Get("Range"), ",") >= maxRanges {
		r = withoutRange(r)
	}
	a := &answer{ResponseWriter: w, control: http.NewResponseController(w)}
	b := newBody(r.Context(), src)
	defer b.close()
	http.ServeContent(a, r, "", modified, b)
	err := b.close()
	switch {
	case err != nil && a.sent:
		h.log.Warn("answer broken off", "path", r.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	case err != nil:
		return err
	case a.code == http.StatusRequestedRangeNotSatisfiable:
		return &apiError{a.code, reasonRange, fmt.Sprintf("range outside of %d bytes", src.size())}
	}
	return gone(a.send())
}

// withoutRange returns r as if it asked for all.
func withoutRange(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("Range")
	return r
}
