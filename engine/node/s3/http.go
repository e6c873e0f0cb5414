package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/floefs/floe/engine/node"
)

const (
	maxHeader = 64 << 10
	maxError  = 64 << 10 // of a body that is not an object's
	maxList   = 4 << 20  // of one that is a part of a list, of 1000 keys
)

// client returns what makes connections for the store and for finding its
// credentials: over HTTP/1.1, uncompressed, bounded.
func client(o Options) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.Proxy = o.Proxy
		t.DialContext = o.Dial
		t.TLSHandshakeTimeout = o.Connect
		t.ResponseHeaderTimeout = o.Answer
		t.MaxConnsPerHost = o.PerHost
		t.MaxIdleConnsPerHost = o.PerHost
		t.MaxResponseHeaderBytes = maxHeader
		t.DisableCompression = true
		t.ForceAttemptHTTP2 = false
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
	})
}

// bounded is a transport that cuts off all bodies but those of objects: the
// library reads to their ends.
type bounded struct{ inner http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.inner.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	most := int64(maxError)
	if r.Method == http.MethodGet && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent) {
		if !r.URL.Query().Has("list-type") {
			return resp, nil
		}
		most = maxList
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, most), resp.Body}
	return resp, nil
}

// failed returns the error of what was done with an object.
func (s *Store) failed(ctx context.Context, doing string, key *string, err error) error {
	name := strings.TrimPrefix(*key, s.prefix)
	return fmt.Errorf("%s %s in %s: %w", doing, name, s, s.clarify(ctx, err))
}

// A misset is an error of the settings. It is fs.ErrInvalid, and not
// fs.ErrNotExist: the store is missing, not something in it.
type misset string

func (e misset) Error() string        { return string(e) }
func (e misset) Is(target error) bool { return target == fs.ErrInvalid }

// errCut says that an object ends before what it should hold. It is
// fs.ErrInvalid too: it will be no longer when it is asked for again.
var errCut error = cutShort{}

type cutShort struct{}

func (cutShort) Error() string { return "the object is cut short" }
func (cutShort) Is(target error) bool {
	return target == io.ErrUnexpectedEOF || target == fs.ErrInvalid
}

// gone reports whether an error says that an object, or part of it, is not
// there.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errCut) }

func (s *Store) noBucket() error {
	at := s.at
	if at == "" {
		at = "AWS in region " + s.api.Options().Region
	}
	return misset(fmt.Sprintf("there is no bucket %s at %s", s.bucket, at))
}

// clarify returns the error that a failure of the library means: a
// node.StatusError where the service has answered.
func (s *Store) clarify(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var operation *smithy.OperationError
	if errors.As(err, &operation) && strings.HasPrefix(operation.Err.Error(), "get identity: ") {
		return fmt.Errorf("%w: no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (%s)",
			fs.ErrPermission, clip(operation.Err.Error()))
	}
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.HTTPStatusCode() < 200 {
		var sending *url.Error
		if errors.As(err, &sending) {
			return sending.Err
		}
		if operation != nil {
			return errors.New(clip(operation.Err.Error()))
		}
		return err
	}
	status := &node.StatusError{Code: answer.HTTPStatusCode()}
	if seconds, err := strconv.Atoi(answer.Response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		status.RetryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		status.Reason, status.Message = clip(api.ErrorCode()), clip(api.ErrorMessage())
	}
	switch {
	case status.Code == http.StatusRequestedRangeNotSatisfiable:
		return errCut
	case status.Code == http.StatusNotFound && status.Reason == "NoSuchBucket":
		return s.noBucket()
	case status.Code == http.StatusNotFound && status.Reason != "" && status.Reason != "NoSuchKey" && status.Reason != "NotFound":
		return misset(status.Error()) // of users, as some services have it
	case status.Code == http.StatusMovedPermanently:
		return fmt.Errorf("bucket %s is in another region; set AWS_REGION to it: %w", s.bucket, status)
	case status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden:
		return fmt.Errorf("the credentials are refused: %w", status)
	case status.Code < 300:
		return fmt.Errorf("%w: %s", node.ErrProtocol, clip(err.Error()))
	}
	return status
}

// clip returns the beginning of what a service said, on one line.
func clip(s string) string {
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
