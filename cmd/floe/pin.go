package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

var pinCommand = command{
	name:     "pin",
	group:    "keep",
	brief:    "keep what is cached of files, whatever else is read",
	complete: "dataset",
	help: `Usage: floe pin [FLAGS] ID|NAME[/PATH]|PATH-IN-A-MOUNT...

  floe pin flowers/train       what is cached of it stays, and what comes to be
  floe warm --pin flowers      brings all of it at once
  floe unpin flowers           what it kept may go again

The cache gives back what was not read for longest when it is full; what is
pinned it does not give back. Blobs are pinned whole, so neighbours in them stay
too. Pins outlive restarts; floe cache ls shows them.
`,
	new: func(f *flags) action {
		p := &pinning{}
		p.sources.flags(f)
		return p.pin
	},
}

var unpinCommand = command{
	name:     "unpin",
	group:    "keep",
	brief:    "let the cache give back what was pinned",
	complete: "dataset",
	help: `Usage: floe unpin [FLAGS] ID|NAME[/PATH]|PATH-IN-A-MOUNT...

  floe unpin flowers           all of it
  floe unpin flowers/train     the blobs that hold this, and what else lies in them

Takes back the pins of floe pin and floe warm --pin. Nothing is removed at once.
`,
	new: func(f *flags) action {
		p := &pinning{}
		p.sources.flags(f)
		return p.unpin
	},
}

type pinning struct{ sources }

func (p *pinning) pin(ctx context.Context, e *env, args []string) error {
	return p.each(ctx, e, args, "pinned", pin)
}

func (p *pinning) unpin(ctx context.Context, e *env, args []string) error {
	return p.each(ctx, e, args, "no longer pinned", unpin)
}

// each calls do for each place that args name.
func (p *pinning) each(ctx context.Context, e *env, args []string, done string, do func(context.Context, *reader, *engine.Dataset, []string) (int, error)) error {
	if len(args) == 0 {
		return usagef("name a dataset or a path in a mount: floe datasets lists those there are")
	}
	w := warmer{sources: p.sources}
	all, err := w.targets(ctx, e, args)
	for _, t := range all {
		n, one := 0, t.check(e)
		var rd *reader
		if one == nil {
			rd, one = t.open(e, t.subject, true)
		}
		if one == nil {
			var ds *engine.Dataset
			if ds, one = rd.dataset(ctx, t.subject); one == nil {
				n, one = do(ctx, rd, ds, t.paths)
			}
			rd.Close()
		}
		if one == nil {
			_, one = fmt.Fprintf(e.stdout, "%s: %s %s\n", t.subject, count(n, "blob", "blobs"), done)
		}
		err = errors.Join(err, one)
	}
	return err
}

// pin pins the blobs that hold what is at paths of a dataset, and what it takes
// to find it, and returns how many those are.
func pin(ctx context.Context, rd *reader, ds *engine.Dataset, paths []string) (int, error) {
	return eachBlob(ctx, rd, ds, paths, func(id walrus.BlobID) error { return rd.cache.Pin(id, ds.ID()) })
}

// unpin takes the pins of a dataset back from the blobs that hold what is at
// paths.
func unpin(ctx context.Context, rd *reader, ds *engine.Dataset, paths []string) (int, error) {
	return eachBlob(ctx, rd, ds, paths, func(id walrus.BlobID) error { return rd.cache.Unpin(id, ds.ID()) })
}

// eachBlob calls do once for each blob that holds bytes of what is at paths.
func eachBlob(ctx context.Context, rd *reader, ds *engine.Dataset, paths []string, do func(walrus.BlobID) error) (n int, err error) {
	if ds.Blob() != nil {
		for _, path := range paths {
			o := opened{Dataset: ds, rd: rd}
			o.path = path
			if _, err := o.find(ctx); err != nil {
				return 0, err
			}
		}
		return 1, do(ds.ID())
	}
	done := make(map[int64]bool)
	size := ds.Header().BlobSize
	extent := func(at, length int64) error {
		for i := at / size; length > 0 && i <= (at+length-1)/size; i++ {
			if done[i] {
				continue
			}
			id, _, err := ds.BlobID(ctx, i)
			if err == nil {
				err = do(id)
			}
			if err != nil {
				return err
			}
			done[i] = true
		}
		return nil
	}
	for _, path := range paths {
		o := opened{Dataset: ds, rd: rd}
		o.path = path
		top, err := o.find(ctx)
		if err == nil {
			err = walk(ctx, ds, top, path, func(_ string, _ int, e catalog.Entry) (bool, error) {
				var layout *merkle.Layout
				switch e.Type {
				case catalog.File:
					f, err := ds.File(ctx, e)
					if err != nil {
						return false, err
					}
					layout = f.Layout()
				case catalog.Dir:
					var err error
					if layout, err = merkle.NewLayout(e.Size, nil); err != nil {
						return false, err
					}
				default:
					return false, nil
				}
				return true, extent(e.At, layout.StoredSize())
			})
		}
		if err != nil {
			return 0, err
		}
	}
	return len(done), nil
}
