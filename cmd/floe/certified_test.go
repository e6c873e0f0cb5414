package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/certificate"
	"github.com/floefs/floe/engine/committee"
	"github.com/floefs/floe/engine/walrus"
)

// A certificate is checked without a connection to anybody, and without a
// store.
func TestACertificateIsCheckedOffline(t *testing.T) {
	e := testEnv(t)
	var listeners []*net.TCPListener
	var keys []*walrus.PrivateKey
	lines := "n_shards = 7\n"
	for i, shards := range []string{"0-1", "2-3", "4-6"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		listeners, keys = append(listeners, ln.(*net.TCPListener)), append(keys, walrus.GenerateKey())
		lines += fmt.Sprintf("[[node]]\nname = \"n%d\"\nurl = \"http://%s\"\nshards = %q\n%s\n", i, ln.Addr(), shards, publicKeyLines(keys[i]))
	}
	file := filepath.Join(e.dir, "three.toml")
	if err := os.WriteFile(file, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	id := keepEmptyDataset(t, e, file, keys)
	code, stdout, stderr := runFloe(t, e, "verify", "--certificate", "--from", file, id.String())
	if code != 0 || !strings.Contains(stdout, "nodes with 7 of 7 shards, of which it takes 5, have signed that they store the one blob") || !strings.Contains(stdout, "signed by n0, n1, n2\n") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	for i, ln := range listeners {
		ln.SetDeadline(time.Now()) // whoever has connected waits already
		if conn, err := ln.Accept(); err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("node %d was asked: %v, %v", i, conn, err)
		}
	}
	for _, dir := range []string{e.places().cache, e.defaultStore()} {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s was made", dir)
		}
	}
}

// keepEmptyDataset keeps a certificate of a dataset that holds nothing, by the
// committee in a file.
func keepEmptyDataset(t *testing.T, e *env, file string, keys []*walrus.PrivateKey) walrus.BlobID {
	t.Helper()
	c, err := committee.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	by, err := c.Signers()
	if err != nil {
		t.Fatal(err)
	}
	header, err := catalog.AppendHeader(nil, catalog.Header{BlobSize: 1 << 14, Shards: c.Shards, Root: catalog.Entry{Type: catalog.Dir, Mode: 0o755}})
	if err != nil {
		t.Fatal(err)
	}
	enc, err := walrus.NewEncoder(c.Shards)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := enc.Encode(t.Context(), header, 0)
	if err != nil {
		t.Fatal(err)
	}
	message := walrus.StoredMessage{Epoch: c.Epoch, Blob: blob.ID}.Bytes()
	signatures := make(map[int]walrus.Signature)
	for i, k := range keys {
		signatures[i] = k.Sign(message)
	}
	signed, err := by.Certify(message, signatures)
	if err != nil {
		t.Fatal(err)
	}
	cert, _, err := certificate.New(t.Context(), blob.ID, [][]byte{header}, by, map[walrus.BlobID]*walrus.Certificate{blob.ID: signed})
	if err == nil {
		_, err = e.keepCertificate(cert, by)
	}
	if err != nil {
		t.Fatal(err)
	}
	return blob.ID
}
