package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/floefs/floe/engine/catalog"
)

var lsCommand = command{
	name:     "ls",
	group:    "read",
	brief:    "list a directory of a dataset",
	complete: "dataset",
	help: `Usage: floe ls [FLAGS] ID|NAME[/PATH]|walrus:ID[/PATH]...

  floe ls flowers                  the top directory
  floe ls -l flowers/train         with modes, sizes and times
  floe ls -R --json flowers | jq   the whole tree, for a script
  floe ls walrus:BLOBID            what is in a quilt, or the Walrus blob itself

Lists what a directory holds, in bytewise order of names, without a mount.
Nothing is hidden. On a terminal, names are escaped as by ls -b; piped, they
are the bytes they are.
`,
	new: func(f *flags) action {
		l := &lister{}
		f.BoolVarP(&l.long, "long", "l", false, "show mode, links, size, time, and where symlinks point")
		f.BoolVarP(&l.human, "human", "h", false, "show sizes as 1.5 MiB")
		f.BoolVarP(&l.recursive, "recursive", "R", false, "list directories below as well")
		f.BoolVarP(&l.itself, "directory", "d", false, "list the directory itself, not what it holds")
		jsonFlag(f, &l.json)
		l.sources.flags(f)
		return l.run
	},
}

type lister struct {
	sources
	long, human, recursive, itself, json bool
	p                                    *printer
}

func (l *lister) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe ls needs a dataset: floe datasets lists those there are")
	}
	l.p = e.printer(l.json)
	err := l.each(ctx, e, args, func(o *opened) error {
		if len(args) > 1 && !l.json && o.entry.Type == catalog.Dir && !l.itself {
			fmt.Fprintf(l.p, "%s:\n", l.p.name(o.arg))
			defer fmt.Fprintln(l.p)
		}
		return l.list(ctx, o)
	})
	return errors.Join(err, l.p.Flush())
}

func (l *lister) list(ctx context.Context, o *opened) error {
	if o.entry.Type != catalog.Dir || l.itself {
		return l.line(o.path, o.name(), o.entry)
	}
	return walk(ctx, o.Dataset, o.entry, o.path, func(path string, depth int, e catalog.Entry) (bool, error) {
		if depth == 0 {
			return true, nil
		}
		shown := e.Name
		if l.recursive {
			shown = path[len(o.path):]
			if o.path != "" {
				shown = shown[1:]
			}
		}
		return l.recursive, l.line(path, shown, e)
	})
}

// line writes one entry. shown is its name as the user sees it.
func (l *lister) line(path, shown string, e catalog.Entry) error {
	if l.json {
		return l.p.object(toJSON(path, e))
	}
	if !l.long {
		_, err := fmt.Fprintln(l.p, l.p.name(shown))
		return err
	}
	size := fmt.Sprint(sizeOf(e))
	if l.human {
		size = humanBytes(sizeOf(e))
	}
	line := fmt.Sprintf("%s %3d %12s %s %s", modeString(e), max(1, e.Links), size, modTime(e).Format(time.DateTime), l.p.name(shown))
	if e.Type == catalog.Symlink {
		line += " -> " + l.p.name(e.Target)
	}
	_, err := fmt.Fprintln(l.p, line)
	return err
}

// sizeOf returns the bytes of an entry; of a directory, those of all below it.
func sizeOf(e catalog.Entry) int64 {
	switch e.Type {
	case catalog.Dir:
		return int64(e.Bytes)
	case catalog.Symlink:
		return int64(len(e.Target))
	}
	return e.Size
}
