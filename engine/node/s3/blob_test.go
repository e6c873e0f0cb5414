package s3_test

import (
	"bytes"
	"encoding/pem"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/node/nodetest"
)

func TestAnAuthorityOfOnesOwnIsTrusted(t *testing.T) {
	needGateway(t)
	front := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: server.address}))
	defer front.Close()
	t.Setenv("AWS_ENDPOINT_URL", front.URL)
	address := "s3://" + newBucket(t)
	if err := open(t, address).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: got error %v", err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	if err := os.WriteFile(file, cert, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", file)
	s, b := open(t, address), nodetest.Encode(t, 10, nodetest.Bytes(1, 5003))
	nodetest.Put(t, s, b, primary(0))
	got := make([]byte, 10)
	if err := s.ReadSliver(t.Context(), b.ID, b.Params, primary(0), got, 5); err != nil || !bytes.Equal(got, b.Sliver(primary(0))[5:15]) {
		t.Errorf("what was put is not what is read (error %v)", err)
	}
}
