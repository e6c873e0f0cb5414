package main

import (
	"context"
	"fmt"
	"io"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
)

var catCommand = command{
	name:     "cat",
	group:    "read",
	brief:    "write files of a dataset to standard output",
	complete: "dataset",
	help: `Usage: floe cat ID|NAME/PATH... | walrus:ID[/PATH]...

  floe cat flowers/README
  floe cat flowers/train.tar | tar -tf -
  floe cat walrus:BLOBID                a Walrus blob as it is

Every byte is proven before it is written. If one cannot be, the output ends
there and the exit code says why.
`,
	new: func(f *flags) action {
		c := &catter{}
		c.sources.flags(f)
		c.strictFlag(f)
		return c.run
	},
}

type catter struct{ sources }

func (c *catter) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe cat needs a file of a dataset: floe cat NAME/PATH")
	}
	return c.each(ctx, e, args, func(o *opened) error {
		if o.bare && o.path == "" {
			if e, err := o.Resolve(ctx, o.id.String()); err == nil {
				o.entry = e // the blob, which is alone in the directory
			}
		}
		if o.entry.Type != catalog.File {
			return fmt.Errorf("%s is a %s: floe cat writes files", o.arg, typeName(o.entry.Type))
		}
		f, err := o.File(ctx, o.entry)
		if err == nil {
			err = writeFile(ctx, e.stdout, f)
		}
		if err != nil {
			return o.rd.advise(fmt.Errorf("reading %s: %w", o.arg, err), o.subject)
		}
		return nil
	})
}

// writeFile writes all of f to w. While one part is being written the next is
// being read.
func writeFile(ctx context.Context, w io.Writer, f *engine.File) error {
	size := f.Entry().Size
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type part struct {
		*engine.Span
		err error
	}
	parts := make(chan part) // from the reader below, who closes it
	go func() {
		defer close(parts)
		for off := int64(0); off < size; {
			s, err := f.Read(ctx, off, 1<<20)
			var n int
			if err == nil {
				n = s.Len()
			}
			select {
			case parts <- part{s, err}:
			case <-ctx.Done():
				if err == nil {
					s.Release()
				}
				return
			}
			if err != nil {
				return
			}
			off += int64(n)
		}
	}()
	var err error
	for p := range parts {
		if err == nil {
			err = p.err
		}
		if p.Span == nil {
			continue
		}
		for _, c := range p.Parts() {
			if err == nil {
				_, err = w.Write(c.Bytes())
			}
		}
		p.Release()
		if err != nil {
			cancel()
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}
