package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/floefs/floe/engine/catalog"
)

var findCommand = command{
	name:     "find",
	group:    "read",
	brief:    "find files in a dataset by name, type or size",
	complete: "dataset",
	help: `Usage: floe find ID|NAME[/PATH] [FLAGS]

  floe find flowers -name '*.jpg'                all pictures
  floe find flowers/train -type f -size +10M     files of more than 10 MiB
  floe find flowers -print0 | xargs -0 -n1 echo  any names, safely

Prints the paths, within the dataset, of all that matches every flag. Flags may
be written with one dash, as find(1) has them.
`,
	new: func(f *flags) action {
		d := &finder{}
		f.StringVar(&d.name, "name", "", "only if the name matches `GLOB`: *, ?, [a-z]")
		f.StringVar(&d.kind, "type", "", "only files (f), directories (d) or symlinks (l)")
		f.StringVar(&d.size, "size", "", "only files of more than (+) or less than (-) `[+-]SIZE`")
		f.BoolVarP(&d.zero, "print0", "0", false, "end each path with a NUL byte, not a newline")
		f.oneDash = []string{"name", "type", "size", "print0"}
		f.private(f.oneDash...)
		jsonFlag(f, &d.json)
		d.sources.flags(f)
		return d.run
	},
}

type finder struct {
	sources
	name, kind, size string
	zero, json       bool

	sign  byte // of size: '+', '-' or 0
	bytes int64
}

func (d *finder) check() error {
	if _, err := path.Match(d.name, ""); err != nil {
		return usagef("--name %s: %w", d.name, err)
	}
	if d.kind != "" && !slices.Contains([]string{"f", "d", "l"}, d.kind) {
		return usagef("--type %s: it can be f, d or l", d.kind)
	}
	if d.size == "" {
		return nil
	}
	text := d.size
	if text[0] == '+' || text[0] == '-' {
		d.sign, text = text[0], text[1:]
	}
	var err error
	if d.bytes, err = parseSize(text); err != nil {
		return usagef("--size: %w", err)
	}
	return nil
}

func (d *finder) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe find needs a dataset: floe datasets lists those there are")
	}
	if err := d.check(); err != nil {
		return err
	}
	p := e.printer(d.json)
	err := d.each(ctx, e, args, func(o *opened) error {
		return walk(ctx, o.Dataset, o.entry, o.path, func(at string, depth int, e catalog.Entry) (bool, error) {
			if !d.matches(e) {
				return true, nil
			}
			return true, d.found(p, at, e)
		})
	})
	return errors.Join(err, p.Flush())
}

func (d *finder) matches(e catalog.Entry) bool {
	if d.name != "" {
		if ok, _ := path.Match(d.name, e.Name); !ok {
			return false
		}
	}
	if d.kind != "" && !strings.HasPrefix(map[catalog.Type]string{catalog.File: "f", catalog.Dir: "d", catalog.Symlink: "l"}[e.Type], d.kind) {
		return false
	}
	if d.size == "" {
		return true
	}
	switch d.sign {
	case '+':
		return e.Type == catalog.File && e.Size > d.bytes
	case '-':
		return e.Type == catalog.File && e.Size < d.bytes
	}
	return e.Type == catalog.File && e.Size == d.bytes
}

func (d *finder) found(p *printer, at string, e catalog.Entry) error {
	switch {
	case d.json:
		return p.object(toJSON(at, e))
	case d.zero:
		_, err := fmt.Fprintf(p, "%s\x00", orDot(at))
		return err
	}
	_, err := fmt.Fprintln(p, p.name(orDot(at)))
	return err
}

func orDot(path string) string {
	if path == "" {
		return "."
	}
	return path
}
