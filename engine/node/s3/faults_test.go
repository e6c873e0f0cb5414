package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/node/s3"
	"github.com/floefs/floe/engine/walrus"
)

// faulty is a server that answers all requests in one way. It counts them.
func faulty(t *testing.T, answer http.HandlerFunc) *atomic.Int64 {
	t.Helper()
	asked := new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	environment(t, srv.URL)
	return asked
}

// read reads 100 bytes at 10 of a sliver where it is expected, within two
// seconds.
func read(t *testing.T) error {
	t.Helper()
	s, b := openExpecting(t, "s3://bucket/prefix", alone), nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := s.ReadSliver(ctx, b.ID, b.Params, primary(0), make([]byte, 100), 10)
	t.Log(err)
	return err
}

func TestServerThatIsDownIsTransient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	environment(t, "http://"+l.Addr().String())
	fail(t, "s3://bucket/prefix", nil, "connection refused")
	if err := read(t); !node.Transient(err) {
		t.Errorf("error %v is not transient", err)
	}
}

func TestATruncatedBodySaysSo(t *testing.T) {
	asked := faulty(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 10-109/500")
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusPartialContent)
		w.Write(make([]byte, 50))
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	if err := read(t); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got error %v, want io.ErrUnexpectedEOF", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the store asked %d times", n)
	}
}

func TestAFailureIsNotRetriedHere(t *testing.T) {
	asked := faulty(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "<Error><Code>SlowDown</Code><Message>reduce\nyour rate</Message></Error>")
	})
	err := read(t)
	var status *node.StatusError
	if !errors.As(err, &status) || status.Code != 503 || status.Reason != "SlowDown" ||
		status.Message != "reduce your rate" || status.RetryAfter != 7*time.Second || !node.Transient(err) {
		t.Errorf("got error %#v", status)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the store asked %d times", n)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		faulty(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, code) })
		if err := read(t); !errors.Is(err, node.ErrProtocol) {
			t.Errorf("status %d: got error %v, want node.ErrProtocol", code, err)
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

func TestOtherBytesThanAskedForAreRefused(t *testing.T) {
	for _, other := range []string{"bytes 0-99/500", "bytes 100-199/500", "", "nonsense"} {
		faulty(t, func(w http.ResponseWriter, r *http.Request) {
			if other != "" {
				w.Header().Set("Content-Range", other)
			}
			w.Write(make([]byte, 100))
		})
		if err := read(t); !errors.Is(err, node.ErrProtocol) {
			t.Errorf("Content-Range %q: got error %v, want node.ErrProtocol", other, err)
		}
	}
}

func TestHungAndEndlessServersAreLeft(t *testing.T) {
	flood := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		is     error // nil: any
	}{
		"hung": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, context.DeadlineExceeded},
		"listing": {func(w http.ResponseWriter, r *http.Request) {
			if !r.URL.Query().Has("list-type") {
				w.WriteHeader(404)
				return
			}
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, "<ListBucketResult><Contents><Key>"+strings.Repeat("x", 64<<10)); err != nil {
					return
				}
			}
		}, node.ErrProtocol},
		"failing": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); flood(w, r) }, nil},
		"absent":  {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404); flood(w, r) }, nil},
		"headers": {func(w http.ResponseWriter, r *http.Request) {
			for i := range 1024 {
				w.Header().Set(fmt.Sprintf("X-Bomb-%d", i), strings.Repeat("x", 1024))
			}
		}, nil},
	} {
		faulty(t, c.answer)
		began := time.Now()
		if err := read(t); err == nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: got error %v", name, err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	faulty(t, flood)
	s, b := open(t, "s3://bucket"), nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	if _, err := s.Metadata(t.Context(), b.ID); !errors.Is(err, node.ErrProtocol) {
		t.Errorf("metadata without end: got error %v", err)
	}
}

func TestMissingCredentialsAreNamed(t *testing.T) {
	environment(t, "http://127.0.0.1:1")
	os.Unsetenv("AWS_ACCESS_KEY_ID")
	os.Unsetenv("AWS_SECRET_ACCESS_KEY")
	fail(t, "s3://bucket/prefix", fs.ErrPermission, "set AWS_ACCESS_KEY_ID")
}

func TestAMissingRegionIsNamed(t *testing.T) {
	environment(t, "")
	os.Unsetenv("AWS_ENDPOINT_URL")
	if _, err := s3.Open(t.Context(), "s3://bucket", nil); err == nil || !strings.Contains(err.Error(), "set AWS_REGION") {
		t.Errorf("got error %v", err)
	}
}

func TestAddressesThatCannotBeAreRefused(t *testing.T) {
	environment(t, "http://127.0.0.1:1")
	for _, address := range []string{
		"", "bucket", "s3:", "s3://", "s3:///prefix", "s3://ab", "http://bucket/x", "s3://buck:et/", "s3://user@bucket/x", "s3://a..b/x",
		"s3://bucket//x", "s3://bucket/x//y", "s3://bucket/../x", "s3://bucket/x?y", "s3://bucket/x#y", "s3://bucket/a b", "s3://bucket/%41",
		"s3://" + strings.Repeat("x", 64), "s3://bucket/" + strings.Repeat("x", 513),
	} {
		if s, err := s3.Open(t.Context(), address, nil); err == nil {
			t.Errorf("%q was opened as %s", address, s)
		}
	}
	for address, want := range map[string]string{
		"s3://bucket": "s3://bucket/", "s3://bucket/": "s3://bucket/", "s3://my.bucket/a/b/": "s3://my.bucket/a/b",
	} {
		if got := open(t, address).String(); got != want {
			t.Errorf("%q was opened as %q, want %q", address, got, want)
		}
	}
}

// A service that takes nothing more of a body is given up, and from then on
// nothing is asked of those whose slivers were to be sent.
func TestAPutThatStallsIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	faulty(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			fmt.Fprint(w, "<ListBucketResult></ListBucketResult>")
			return
		}
		io.ReadFull(r.Body, make([]byte, 100))
		<-release
	})
	s, err := s3.Open(t.Context(), "s3://bucket", &s3.Options{Answer: 300 * time.Millisecond})
	must(t, err)
	t.Cleanup(s.Close)
	p, err := walrus.NewParams(100, 64<<20)
	must(t, err)
	var all []walrus.SliverID
	for i := range 5 {
		all = append(all, primary(i))
	}
	var over atomic.Bool // whoever asks for a sliver now is late
	err = s.PutSlivers(t.Context(), walrus.BlobID{}, p, all, func(walrus.SliverID) []byte {
		if over.Load() {
			t.Error("a sliver was asked for after the return")
		}
		return make([]byte, p.SliverLen(walrus.Primary))
	})
	over.Store(true)
	if !errors.Is(err, node.ErrSlow) || !node.Transient(err) {
		t.Errorf("got error %v, want node.ErrSlow", err)
	}
}

// A list that is false costs requests: what it names and is not there, what is
// shorter than it says, and what it does not name.
func TestAListThatLies(t *testing.T) {
	b := nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	id := b.ID.String()
	n := b.Params.SliverLen(walrus.Primary)
	names := func(objects ...string) string {
		s := "<ListBucketResult>"
		for _, o := range objects {
			name, size, _ := strings.Cut(o, " ")
			s += "<Contents><Key>prefix/blobs/" + id[:2] + "/" + id + "/" + name + "</Key><Size>" + size + "</Size></Contents>"
		}
		return s + "</ListBucketResult>"
	}
	for what, c := range map[string]struct {
		list string
		is   error
	}{
		"names what is not there":   {names("p0-3 999999"), fs.ErrNotExist},
		"nothing":                   {names(), fs.ErrNotExist},
		"names nonsense":            {names("p0-0 99", "p1-0 99", "../p0 99", "p0 -5", "p0/x 99", " 99", "p999999999999 1"), fs.ErrNotExist},
		"is of another blob":        {strings.ReplaceAll(names("p0 99999"), id, strings.Repeat("A", 43)), fs.ErrNotExist},
		"says it is short":          {names(fmt.Sprintf("p0-3 %d", n-1)), io.ErrUnexpectedEOF},
		"does not end":              {"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>", node.ErrProtocol},
		"goes on without a way":     {"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", fs.ErrNotExist},
		"is no list":                {"<html>", node.ErrProtocol},
		"names what others are not": {names("p0 99999999999", "p0-1 99999999999"), fs.ErrNotExist},
	} {
		asked := faulty(t, func(w http.ResponseWriter, r *http.Request) {
			if !r.URL.Query().Has("list-type") {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			io.WriteString(w, c.list)
		})
		if err := read(t); !errors.Is(err, c.is) {
			t.Errorf("a list that %s: error %v, want %v", what, err, c.is)
		}
		if n := asked.Load(); n > 10 {
			t.Errorf("a list that %s: the store asked %d times", what, n)
		}
	}
}
