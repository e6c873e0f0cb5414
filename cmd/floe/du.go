package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/floefs/floe/engine/catalog"
)

var duCommand = command{
	name:     "du",
	group:    "read",
	brief:    "show how large directories are",
	complete: "dataset",
	help: `Usage: floe du [FLAGS] ID|NAME[/PATH]...

  floe du -sh flowers          the whole dataset
  floe du -h -d 1 flowers      it and each directory directly in it

Shows bytes of all files below each directory, not blocks; a file with several
names counts once for each. Every directory stores these totals, so -s costs
nothing however large it is.
`,
	new: func(f *flags) action {
		d := &usage{}
		f.BoolVarP(&d.summary, "summarize", "s", false, "show only what is named")
		f.BoolVarP(&d.human, "human", "h", false, "show sizes as 1.5 MiB")
		f.IntVarP(&d.depth, "max-depth", "d", -1, "show directories down to depth `N`")
		f.otherwise("max-depth", "all")
		jsonFlag(f, &d.json)
		d.sources.flags(f)
		return d.run
	},
}

type usage struct {
	sources
	summary, human, json bool
	depth                int
}

func (d *usage) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe du needs a dataset: floe datasets lists those there are")
	}
	if d.summary {
		d.depth = 0
	}
	p := e.printer(d.json)
	err := d.each(ctx, e, args, func(o *opened) error {
		return walk(ctx, o.Dataset, o.entry, o.path, func(path string, depth int, e catalog.Entry) (bool, error) {
			if e.Type != catalog.Dir && depth > 0 {
				return false, nil
			}
			err := d.line(p, o, path, e)
			return d.depth < 0 || depth < d.depth, err
		})
	})
	return errors.Join(err, p.Flush())
}

func (d *usage) line(p *printer, o *opened, path string, e catalog.Entry) error {
	if d.json {
		return p.object(toJSON(path, e))
	}
	size := fmt.Sprint(sizeOf(e))
	if d.human {
		size = humanBytes(sizeOf(e))
	}
	_, err := fmt.Fprintf(p, "%s\t%s\n", size, p.name(join(o.subject.String(), path)))
	return err
}
