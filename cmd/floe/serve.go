package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/web"
)

var serveCommand = command{
	name:     "serve",
	group:    "serve",
	brief:    "serve datasets and blobs over HTTP, proven",
	complete: "file",
	help: `Usage: floe serve [FLAGS]

  floe serve                                   the default store, on 127.0.0.1:8080
  floe serve --from committee.toml --listen 127.0.0.1:8080

  curl http://127.0.0.1:8080/v1/datasets/ID/train/0001.parquet
  curl -r 0-99 http://127.0.0.1:8080/v1/blobs/ID

Speaks the HTTP API of Walrus aggregators, and serves the files of datasets
beside it: /v1/api lists the paths. Every byte is proven before it is sent.
Prints the address, and then serves until it is told to end. Whoever reaches it
can read whatever it can, if they know its id.
`,
	new: func(f *flags) action {
		s := &webServer{}
		f.StringVar(&s.listen, "listen", "127.0.0.1:8080", "listen on `ADDRESS`; port 0 takes a free one")
		s.sources.flags(f)
		f.BoolVarP(&s.verbose, "verbose", "v", false, "log more")
		f.private("listen", "verbose")
		return s.run
	},
}

type webServer struct {
	sources
	listen  string
	verbose bool
}

func (s *webServer) run(ctx context.Context, e *env, args []string) error {
	if len(args) > 0 {
		return usagef("floe serve takes no arguments: --from names what it serves")
	}
	if err := s.check(e); err != nil {
		return err
	}
	level := slog.LevelWarn
	if s.verbose {
		level = slog.LevelDebug
	}
	s.log = slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level}))
	rd, err := s.open(e, subject{}, true)
	if err != nil {
		return err
	}
	defer rd.Close()
	limitHeap(e, 2*rd.memory+64<<20)
	ln, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("%w: --listen names another address", err)
	}
	if _, err := fmt.Fprintf(e.stdout, "http://%s\n", reachable(ln.Addr())); err != nil {
		ln.Close()
		return err
	}
	handler := web.New(rd.Engine, &web.Options{Fetch: s.timeout, Logger: s.log})
	return node.Serve(ctx, ln, handler, &node.ServeOptions{Conns: 1024, Logger: s.log})
}
