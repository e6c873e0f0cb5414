package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/floefs/floe/tests/bench/workload"
)

// A stage is a set on disk, and what shows it. Everything is made when it is
// first asked for.
type stage struct {
	bench  *bench
	set    *workload.Set
	dir    string // everything is in it
	source string // the set; its parent holds nothing else
	bytes  int64

	nodes   *nodes
	gateway *gateway
	squash  string // the image
	ends    []func() error
}

// newStage writes a set.
func newStage(ctx context.Context, b *bench, set *workload.Set) (st *stage, err error) {
	st = &stage{bench: b, set: set}
	if st.dir, err = os.MkdirTemp(b.scratch, "_bench-"); err != nil { // the go command passes by what begins so
		return nil, err
	}
	st.source = st.path("buckets", set.Name)
	if err := os.MkdirAll(st.source, 0o755); err != nil {
		return nil, err
	}
	b.say("%s: %s", set.Name, set.About)
	st.bytes, err = set.Write(st.source, b.scale)
	return st, errors.Join(err, ctx.Err())
}

func (st *stage) path(elem ...string) string {
	return filepath.Join(append([]string{st.dir}, elem...)...)
}

// atEnd adds what close does; the last first.
func (st *stage) atEnd(do func() error) { st.ends = append(st.ends, do) }

// close ends all and removes the set. Nothing is removed while something is
// mounted in it.
func (st *stage) close() error {
	var errs []error
	for _, end := range slices.Backward(st.ends) {
		errs = append(errs, end())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w; %s is left", err, st.dir)
	}
	return os.RemoveAll(st.dir)
}
