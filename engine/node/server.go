package node

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// ServeOptions are the settings of Serve; nil and zero mean the defaults.
type ServeOptions struct {
	Certificate *tls.Certificate // default: none, and no TLS
	Conns       int              // connections at a time: default 4096
	Logger      *slog.Logger     // default: silent
}

// grace is how long requests may go on after the server was told to end.
const grace = 10 * time.Second

// Serve serves h on ln, with bounds on what a connection may send and how
// slowly, until ctx is done; then it lets requests under way finish. It closes
// ln.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, opts *ServeOptions) error {
	if opts == nil {
		opts = new(ServeOptions)
	}
	logger := opts.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 256},
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ConnState:         limitConns(opts.Conns),
		// Bodies and answers have deadlines of their own, by how they get on.
	}
	if opts.Certificate != nil {
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*opts.Certificate}}
	}
	done := make(chan error, 1) // takes what Shutdown returns
	stop := context.AfterFunc(ctx, func() {
		ending, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		done <- srv.Shutdown(ending)
	})
	var err error
	if srv.TLSConfig != nil {
		err = srv.ServeTLS(ln, "", "")
	} else {
		err = srv.Serve(ln)
	}
	if stop() { // it was not told to end
		srv.Close()
		return err
	}
	if !errors.Is(err, http.ErrServerClosed) {
		logger.Error("serving ended", "error", err)
	}
	if err := <-done; err != nil {
		logger.Warn("requests were cut off", "error", err)
		return srv.Close()
	}
	return nil
}

// limitConns returns a hook that closes new connections beyond limit.
func limitConns(limit int) func(net.Conn, http.ConnState) {
	if limit == 0 {
		limit = 4096
	}
	var open atomic.Int64
	return func(c net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			if open.Add(1) > int64(limit) {
				c.Close()
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
}
