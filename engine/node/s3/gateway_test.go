package s3_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/s3"
	"github.com/floefs/floe/engine/walrus"
)

// The S3 server of these tests: a program of its own, with a directory behind
// it. It is built, not imported, and so no dependency of Floe.
const gateway = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"

const (
	accessKey = "floe"
	secretKey = "a key of tests"
)

var server struct {
	once    sync.Once
	address string // of the gateway; empty if there is none
	root    string // whose directories are the buckets
	why     string // there is none
	stop    func() // nil if there is none
}

func TestMain(m *testing.M) {
	code := m.Run()
	if server.stop != nil {
		server.stop()
	}
	os.Exit(code)
}

// start builds and starts the gateway.
func start() (stop func(), err error) {
	dir, err := os.MkdirTemp("", "floe-s3-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	build := exec.Command("go", "install", gateway)
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building %s: %w: %s", gateway, err, bytes.TrimSpace(out[max(0, len(out)-300):]))
	}
	server.root = filepath.Join(dir, "buckets")
	sidecar := filepath.Join(dir, "sidecar") // for file systems without extended attributes
	for _, d := range []string{server.root, sidecar} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	l.Close()
	var log bytes.Buffer
	c := exec.Command(filepath.Join(dir, "versitygw"), "--port", address, "--access", accessKey, "--secret", secretKey,
		"--quiet", "posix", "--sidecar", sidecar, server.root)
	c.Dir, c.Stdout, c.Stderr = dir, &log, &log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{}) // closed when the gateway has
	go func() { c.Wait(); close(ended) }()
	stop = func() {
		c.Process.Kill()
		<-ended
		os.RemoveAll(dir)
	}
	for range 200 {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
			server.address = address
			return stop, nil
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("the gateway ended: %s", log.Bytes())
		case <-time.After(50 * time.Millisecond):
		}
	}
	stop()
	return nil, fmt.Errorf("the gateway does not listen: %s", log.Bytes())
}

// environment sets what AWS's tools would have, and nothing else.
func environment(t *testing.T, endpoint string) {
	t.Helper()
	for _, v := range []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3",
		"AWS_CA_BUNDLE", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE",
	} {
		if _, set := os.LookupEnv(v); set {
			t.Setenv(v, "") // remembers it
			os.Unsetenv(v)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", accessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	t.Setenv("AWS_ENDPOINT_URL", endpoint)
}

// needGateway makes the environment that of the gateway.
func needGateway(t *testing.T) {
	t.Helper()
	server.once.Do(func() {
		stop, err := start()
		if err != nil {
			server.why = err.Error()
			return
		}
		server.stop = stop
	})
	if server.address == "" {
		t.Fatalf("there is no S3 server to test against: %s", server.why)
	}
	environment(t, "http://"+server.address)
}

var buckets atomic.Int64

// newBucket makes an empty bucket and returns its name.
func newBucket(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", buckets.Add(1))
	if err := os.Mkdir(filepath.Join(server.root, name), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t *testing.T, address string) *s3.Store { return openExpecting(t, address, nil) }

// alone is what a store that holds blobs alone is expected to hold of each.
func alone(id walrus.BlobID, p walrus.Params) []walrus.SliverID {
	return new(blob.Member).Slivers(id, p)
}

func openExpecting(t *testing.T, address string, expect func(walrus.BlobID, walrus.Params) []walrus.SliverID) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), address, &s3.Options{Expect: expect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
