package main

import (
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
)

// Only where it is asked for, all requests go through a proxy.
func TestNodesAreReachedThroughAProxy(t *testing.T) {
	store, err := dir.Open(t.TempDir()+"/store", true)
	if err != nil {
		t.Fatal(err)
	}
	n := nodetest.Serve(t, store, node.HandlerOptions{N: 4, Shards: []int{0, 1, 2, 3}})
	var passed atomic.Int64
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) { passed.Add(1) }})
	defer proxy.Close()
	for _, c := range []struct {
		variable string
		flags    []string
		through  bool
	}{
		{},
		{flags: []string{"--proxy", proxy.URL}, through: true},
		{variable: "FLOE_PROXY", through: true},
	} {
		e := testEnv(t)
		home := e.dir
		e.lookup = func(name string) (string, bool) {
			v, ok := map[string]string{"HOME": home, c.variable: proxy.URL}[name]
			return v, ok
		}
		file := home + "/four.toml"
		text := fmt.Sprintf("n_shards = 4\n[[node]]\nname = \"one\"\nurl = %q\nshards = \"0-3\"\n", n.URL)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		passed.Store(0)
		code, stdout, stderr := runFloe(t, e, append([]string{"nodes", "--from", file}, c.flags...)...)
		if code != exitOK || !strings.Contains(stdout, "Active") {
			t.Fatalf("ended with %d: %s%s", code, stdout, stderr)
		}
		if got := passed.Load() > 0; got != c.through {
			t.Errorf("%s %v: %d requests went through the proxy", c.variable, c.flags, passed.Load())
		}
	}
}
