package web

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

const (
	domain         = "daemon.walrus.space"
	reasonNoBlob   = "BLOB_NOT_FOUND"
	reasonNoPatch  = "QUILT_PATCH_NOT_FOUND"
	reasonRange    = "INVALID_BYTE_RANGE"
	reasonNoFile   = "FILE_NOT_FOUND"
	reasonTooLarge = "BLOB_TOO_LARGE"
)

// An apiError is an answer that is not a success. Its message is for whoever
// asked: it names no node and no path of this machine.
type apiError struct {
	code    int    // of HTTP
	reason  string // as BLOB_NOT_FOUND
	message string
}

func (e *apiError) Error() string { return e.message }

// statusOf names HTTP codes as the protocol does.
var statusOf = map[int]string{
	http.StatusBadRequest:                   "INVALID_ARGUMENT",
	http.StatusForbidden:                    "SIZE_EXCEEDED",
	http.StatusNotFound:                     "NOT_FOUND",
	http.StatusRequestedRangeNotSatisfiable: "RANGE_NOT_SATISFIABLE",
	http.StatusTooManyRequests:              "RESOURCE_EXHAUSTED",
	http.StatusUnavailableForLegalReasons:   "UNAVAILABLE_FOR_LEGAL_REASONS",
	http.StatusInternalServerError:          "INTERNAL",
	http.StatusServiceUnavailable:           "UNAVAILABLE",
}

// An errorForm is the body of an error.
type errorForm struct {
	Error struct {
		Status  string        `json:"status"`
		Code    int           `json:"code"`
		Message string        `json:"message"`
		Details []errorDetail `json:"details"`
	} `json:"error"`
}

type errorDetail struct {
	Type     string            `json:"@type"`
	Reason   string            `json:"reason"`
	Domain   string            `json:"domain"`
	Metadata map[string]string `json:"metadata"`
}

// classify returns what whoever asked is told of err.
func classify(err error) *apiError {
	var known *apiError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, fs.ErrNotExist):
		return &apiError{http.StatusNotFound, reasonNoBlob, "the blob does not exist, or no node has it"}
	case errors.Is(err, fs.ErrPermission):
		return &apiError{http.StatusUnavailableForLegalReasons, "FORBIDDEN_BLOB", "nodes refuse to serve the blob"}
	case errors.Is(err, walrus.ErrInconsistent), errors.Is(err, merkle.ErrMismatch), errors.Is(err, catalog.ErrMalformed):
		return &apiError{http.StatusInternalServerError, "INTERNAL_ERROR", "what was published under this id does not hold together"}
	}
	return &apiError{http.StatusServiceUnavailable, "BLOB_UNAVAILABLE", "not enough good slivers can be had at the moment"}
}

// write answers with e. Of what was said in headers before, only what holds
// for every answer is left.
func (e *apiError) write(w http.ResponseWriter) {
	header := w.Header()
	for k := range header {
		keep := strings.HasPrefix(k, "Access-Control-") || k == "X-Content-Type-Options" ||
			k == "Content-Range" && e.code == http.StatusRequestedRangeNotSatisfiable
		if !keep {
			delete(header, k)
		}
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	if e.code == http.StatusServiceUnavailable || e.code == http.StatusTooManyRequests {
		header.Set("Retry-After", "1")
	}
	d := errorDetail{Type: "ErrorInfo", Reason: e.reason, Domain: domain, Metadata: map[string]string{}}
	if e.code == http.StatusInternalServerError {
		d.Domain = "global"
	}
	var form errorForm
	form.Error.Status, form.Error.Code, form.Error.Message = statusOf[e.code], e.code, e.message
	form.Error.Details = []errorDetail{d}
	w.WriteHeader(e.code)
	json.NewEncoder(w).Encode(form) // whoever has gone is not told
}
