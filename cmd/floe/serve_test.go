package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is put can be had over HTTP, until the server is told to end.
func TestServe(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	data, store := t.TempDir(), filepath.Join(t.TempDir(), "store")
	want := bytes.Repeat([]byte("worth keeping "), 10_000)
	if err := os.WriteFile(filepath.Join(data, "file"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	var id, trouble strings.Builder
	if code := run(t.Context(), []string{"floe", "put", "-q", "--to", store, data}, nil, &id, &trouble); code != 0 {
		t.Fatalf("put: %d: %s", code, &trouble)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, stdout := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"floe", "serve", "--listen", "127.0.0.1:0", "--from", store}, nil, stdout, &trouble)
		stdout.Close()
	}()
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("serve: %d: %s", <-ended, &trouble)
	}
	resp, err := http.Get(strings.TrimSpace(url) + "/v1/datasets/" + strings.TrimSpace(id.String()) + "/file")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		t.Errorf("status %d, %d bytes, %v", resp.StatusCode, len(got), err)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d: %s", code, &trouble)
	}
}
