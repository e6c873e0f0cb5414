package node

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// What nodes say beside bytes: JSON, in one form for successes and one for
// errors.

type successForm struct {
	Success struct {
		Code int `json:"code"`
		Data any `json:"data"`
	} `json:"success"`
}

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
	Reason   string            `json:"reason,omitempty"`
	Domain   string            `json:"domain,omitempty"`
	Metadata map[string]string `json:"metadata,omitzero"`
	Detail   string            `json:"detail,omitempty"`
}

// An apiError is an error as clients of the API see it.
type apiError struct {
	status   string // one of the classes below
	reason   string
	message  string
	metadata map[string]string
}

func (e *apiError) Error() string { return e.message }

// The classes of errors, and what they are in HTTP.
const (
	statusInvalid      = "INVALID_ARGUMENT"
	statusPrecondition = "FAILED_PRECONDITION"
	statusDenied       = "PERMISSION_DENIED"
	statusNotFound     = "NOT_FOUND"
	statusRange        = "RANGE_NOT_SATISFIABLE"
	statusInternal     = "INTERNAL"
	statusUnavailable  = "UNAVAILABLE"
)

var statusCodes = map[string]int{
	statusInvalid: http.StatusBadRequest, statusPrecondition: http.StatusBadRequest,
	statusDenied:   http.StatusForbidden,
	statusNotFound: http.StatusNotFound, statusRange: http.StatusRequestedRangeNotSatisfiable,
	statusInternal: http.StatusInternalServerError, statusUnavailable: http.StatusServiceUnavailable,
}

// Reasons that this package gives or looks at.
const (
	reasonMetadataNotFound = "METADATA_NOT_FOUND"
	reasonInvalidMetadata  = "INVALID_METADATA"
	reasonEncoding         = "UNSUPPORTED_ENCODING_TYPE"
	reasonBody             = "INVALID_CONTENT_TYPE"
	reasonIndex            = "INDEX_OUT_OF_RANGE"
	reasonNotAssigned      = "SHARD_NOT_ASSIGNED"
	reasonSliverNotFound   = "SLIVER_NOT_FOUND"
	reasonMismatch         = "SLIVER_INDEX_MISMATCH"
	reasonInvalidSliver    = "INVALID_SLIVER"
	reasonNotRegistered    = "NOT_REGISTERED"
	reasonMissingSlivers   = "MISSING_SLIVERS"
	reasonNoSymbols        = "NO_SYMBOLS_SPECIFIED"
	reasonNoTargets        = "NO_TARGET_SLIVERS_SPECIFIED"
	reasonSymbolRange      = "RECOVERY_SYMBOL_OUT_OF_RANGE"
	reasonFilter           = "INVALID_FILTER"
	reasonNoSymbol         = "SYMBOL_NOT_PRESENT_AT_SHARDS"
	reasonProof            = "INVALID_PROOF"
	reasonUnavailable      = "UNAVAILABLE"
	reasonRange            = "INVALID_BYTE_RANGE"
	reasonReadOnly         = "READ_ONLY"
	reasonNoKey            = "NO_KEY"
)

func invalid(reason, format string, args ...any) *apiError {
	return &apiError{status: statusInvalid, reason: reason, message: fmt.Sprintf(format, args...)}
}

var (
	errNoMetadata = &apiError{status: statusNotFound, reason: reasonMetadataNotFound, message: "the requested metadata is unavailable"}
	errNoSliver   = &apiError{status: statusNotFound, reason: reasonSliverNotFound, message: "the requested sliver is unavailable"}
	errBusy       = &apiError{status: statusUnavailable, reason: reasonUnavailable, message: "the node has too much to do; try again later"}
	errReadOnly   = &apiError{status: statusDenied, reason: reasonReadOnly, message: "this node stores nothing"}
	errBody       = invalid(reasonBody, "the body is not what the request says it is")

	// A blob may be known here, and its metadata not.
	errMetadataFirst = &apiError{status: statusPrecondition, reason: reasonMetadataNotFound, message: "the metadata of the blob must be stored first"}
)

// A plainError is one of the framework's: a request that has no meaning.
type plainError struct {
	code int
	text string
}

func (e plainError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return plainError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

var errLength = plainError{http.StatusRequestEntityTooLarge, "length limit exceeded"}

// internalForm returns what clients are told of an error that is not theirs,
// and the name under which the log tells the rest.
func internalForm() (form errorForm, trace string) {
	var b [8]byte
	rand.Read(b[:])
	trace = hex.EncodeToString(b[:])
	form.Error.Status = statusInternal
	form.Error.Code = http.StatusInternalServerError
	form.Error.Message = "an internal error occurred"
	form.Error.Details = []errorDetail{
		{Type: "ErrorInfo", Reason: "INTERNAL_ERROR", Domain: "global"},
		{Type: "DebugInfo", Detail: trace},
	}
	return form, trace
}

func (e *apiError) form() (form errorForm) {
	form.Error.Status = e.status
	form.Error.Code = statusCodes[e.status]
	form.Error.Message = e.message
	metadata := e.metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	form.Error.Details = []errorDetail{{Type: "ErrorInfo", Reason: e.reason, Domain: "storage.walrus.space", Metadata: metadata}}
	return form
}

// writeSuccess answers with data.
func writeSuccess(w http.ResponseWriter, code int, data any) error {
	var form successForm
	form.Success.Code, form.Success.Data = code, data
	return writeJSON(w, code, form)
}

func writeJSON(w http.ResponseWriter, code int, form any) error {
	b, err := json.Marshal(form)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(b)
	return nil
}

// writeBytes answers with BCS.
func writeBytes(w http.ResponseWriter, b []byte) error {
	w.Header().Set("Content-Type", octets)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(http.StatusOK)
	w.Write(b)
	return nil
}

const octets = "application/octet-stream"
