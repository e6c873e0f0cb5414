package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// Exit codes, the same for every command.
const (
	exitOK          = 0
	exitOther       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitDamaged     = 4 // something proved false
	exitTryLater    = 5
	exitDenied      = 6
	exitTooFew      = 7 // not enough good slivers to reconstruct from
	exitBusy        = 8 // in use, or mounted already
	exitInterrupted = 130
)

// An exitError is an error that knows its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitWith gives err an exit code.
func exitWith(code int, err error) error { return &exitError{code, err} }

// usagef returns the error of a command line that makes no sense.
func usagef(format string, a ...any) error {
	return exitWith(exitUsage, fmt.Errorf(format, a...))
}

// told is the error of a command that has said all there is to say.
type told struct{}

func (told) Error() string          { return "failed" }
func (t told) as(code int) error    { return exitWith(code, t) }
func (t told) like(err error) error { return exitWith(exitCode(context.Background(), err), t) }

var errTold told

// exitCode returns the exit code for err. A command that was interrupted
// fails in many ways, all of which mean that.
func exitCode(ctx context.Context, err error) int {
	var known *exitError
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil || errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &known):
		return known.code
	case errors.Is(err, merkle.ErrMismatch), errors.Is(err, catalog.ErrMalformed), errors.Is(err, walrus.ErrInconsistent):
		return exitDamaged
	case errors.Is(err, blob.ErrUnavailable):
		return exitTooFew
	case errors.Is(err, context.DeadlineExceeded):
		return exitTryLater
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	case errors.Is(err, fs.ErrPermission):
		return exitDenied
	case errors.Is(err, syscall.EBUSY):
		return exitBusy
	}
	return exitOther
}
