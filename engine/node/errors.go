package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// ErrProtocol says that a node answered what the protocol does not allow: a
// length that cannot be, a redirect, a compressed body. It is not transient.
var ErrProtocol = errors.New("node broke the protocol")

// A StatusError is an answer that is not a success. It is fs.ErrNotExist or
// fs.ErrPermission if that is what it means.
type StatusError struct {
	Code       int           // of HTTP
	Reason     string        // as SLIVER_NOT_FOUND; "" if the node gave none
	Message    string        // what the node said, printable and short
	RetryAfter time.Duration // that the node asks for; 0 if it does not
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("status %d", e.Code)
	if e.Reason != "" {
		s += " " + e.Reason
	}
	if e.Message != "" {
		s += fmt.Sprintf(" (%s)", e.Message)
	}
	return s
}

// Is makes a StatusError the error of package fs with the same meaning.
func (e *StatusError) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		// What lies on a shard that the node does not have is not there.
		return e.Code == http.StatusNotFound || e.Reason == reasonNotAssigned
	case fs.ErrPermission:
		return e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden ||
			e.Code == http.StatusUnavailableForLegalReasons
	case ErrProtocol:
		return e.Code < 200 || e.Code >= 300 && e.Code < 400
	}
	return false
}

func (e *StatusError) transient() bool {
	switch e.Code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return e.Code >= 500
}

// Transient reports whether the same request may well succeed later: the node
// was not reached, was busy, slow, or broke off. What is absent, refused or
// malformed is not transient, nor is a request that the caller gave up.
func Transient(err error) bool {
	var status *StatusError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &status):
		return status.transient()
	}
	for _, final := range []error{ErrProtocol, ErrAddress, ErrKey, fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// maxErrorBody is how much of an error's body is looked at.
const maxErrorBody = 16 << 10

// StatusOf returns the error, a StatusError, that an answer is.
func StatusOf(resp *http.Response) error {
	e := &StatusError{Code: resp.StatusCode}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	var form errorForm
	if json.Unmarshal(body, &form) == nil {
		e.Message = printable(form.Error.Message)
		for _, d := range form.Error.Details {
			if d.Reason != "" {
				e.Reason = printable(d.Reason)
				break
			}
		}
	} else {
		e.Message = printable(string(body))
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	return e
}

// printable returns the beginning of what a node said, on one line.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
