package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/walrus"
)

var verifyCommand = command{
	name:     "verify",
	group:    "trust",
	brief:    "check that a dataset is whole",
	complete: "dataset",
	help: `Usage: floe verify [--deep] [--json] ID|NAME...

  floe verify flowers           tables, totals, and that all slivers are there
  floe verify --deep flowers    every byte, every b3sum, every sliver

Walks the whole tree, proves every table and looks at every blob. With --deep
every byte of every file is read and its b3 compared, and every sliver is
proven, also those that reading does without. What is damaged is listed; the
exit code is 4 then, even if all can still be read: floe repair heals it.
`,
	new: func(f *flags) action {
		v := &verifying{}
		f.BoolVar(&v.deep, "deep", false, "read and prove everything")
		f.BoolVarP(&v.quiet, "quiet", "q", false, "show no progress")
		f.private("quiet")
		jsonFlag(f, &v.json)
		v.sources.flags(f)
		return v.run
	},
}

type verifying struct {
	sources
	deep, quiet, json bool
}

// A verifyJSON is the answer of verify --json, after the damage, a line each.
type verifyJSON struct {
	Dataset    string  `json:"dataset"`
	Deep       bool    `json:"deep"`
	Whole      bool    `json:"whole"`
	Entries    int64   `json:"entries"`
	Bytes      int64   `json:"bytes"` // read and compared with b3 sums; 0 if not deep
	Blobs      int     `json:"blobs"`
	Slivers    int     `json:"slivers"`
	BadBlobs   int     `json:"bad_blobs"`
	BadSlivers int     `json:"bad_slivers"`
	Lost       int     `json:"lost_blobs"` // with too few slivers left
	BadPaths   int     `json:"bad_paths"`
	Seconds    float64 `json:"seconds"`
}

// A damageJSON is one thing that is damaged: a path or a blob on a node.
type damageJSON struct {
	Path    *string `json:"path,omitempty"`
	PathB64 []byte  `json:"path_b64,omitempty"`

	Blob         string `json:"blob,omitempty"`
	Node         string `json:"node,omitempty"`
	Missing      []int  `json:"missing,omitempty"` // slivers
	False        []int  `json:"false,omitempty"`   // slivers
	MetadataGood *int   `json:"metadata_good,omitempty"`
	MetadataOf   int    `json:"metadata_of,omitempty"`
	Lost         bool   `json:"lost,omitempty"`

	Error string `json:"error,omitempty"`
}

func (v *verifying) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe verify needs a dataset: floe datasets lists those there are")
	}
	p := e.printer(v.json)
	err := v.each(ctx, e, args, func(o *opened) error {
		if o.path != "" {
			return usagef("%s: datasets are verified whole", o.arg)
		}
		return v.verify(ctx, e, p, o)
	})
	return errors.Join(err, p.Flush())
}

func (v *verifying) verify(ctx context.Context, e *env, p *printer, o *opened) error {
	began := time.Now()
	show := newProgress(e, v.quiet)
	defer show.end()
	t := verifyJSON{Dataset: o.id.String(), Deep: v.deep}
	told := func(d damageJSON, format string, a ...any) {
		show.end()
		if v.json {
			p.object(d)
			return
		}
		fmt.Fprintf(p, "%s\n", printable(fmt.Sprintf(format, a...)))
	}
	if err := v.blobs(ctx, o, &t, show, told); err != nil {
		return o.rd.advise(err, o.subject)
	}
	if err := v.tree(ctx, o, &t, show, told); err != nil {
		return err
	}
	show.end()
	t.Whole = t.BadBlobs == 0 && t.BadPaths == 0
	t.Seconds = time.Since(began).Seconds()
	if v.json {
		p.object(t)
	} else if t.Whole {
		fmt.Fprintln(p, t.summary(o))
	}
	p.Flush()
	if t.Whole {
		return nil
	}
	if v.json {
		return errTold.as(exitDamaged)
	}
	return exitWith(exitDamaged, errors.New(t.verdict(o)))
}

// blobs looks at every blob.
func (v *verifying) blobs(ctx context.Context, o *opened, t *verifyJSON, show *progress, told func(damageJSON, string, ...any)) error {
	for id, err := range o.Blobs(ctx) {
		if err != nil {
			return err
		}
		t.Blobs++
		show.show(func() string {
			return fmt.Sprintf("checking blobs: %s, %s", grouped(t.Blobs), count(t.Slivers, "sliver", "slivers"))
		})
		reports, err := o.rd.blobs.Check(ctx, id, v.deep)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			t.BadBlobs++
			t.Lost++
			told(damageJSON{Blob: id.String(), Lost: true, Error: err.Error()}, "blob %s: %v", id, err)
			continue
		}
		bad := false
		for _, r := range reports {
			t.Slivers += r.Slivers
			if r.Whole() {
				continue
			}
			bad = true
			t.BadSlivers += r.Bad()
			lost := r.Bad() > r.Tolerate
			if lost && len(reports) == 1 {
				t.Lost++
			}
			told(damageOf(id, r, lost), "%s", damageLine(id, r, lost))
		}
		if bad {
			t.BadBlobs++
		}
	}
	return nil
}

func damageOf(id walrus.BlobID, r blob.Report, lost bool) damageJSON {
	return damageJSON{
		Blob: id.String(), Node: r.Member, Missing: r.Missing, False: r.False,
		MetadataGood: &r.Metadata.Good, MetadataOf: r.Metadata.Of, Lost: lost,
	}
}

func damageLine(id walrus.BlobID, r blob.Report, lost bool) string {
	line := fmt.Sprintf("blob %s in %s:", id, r.Member)
	sep := " "
	add := func(format string, a ...any) {
		line += sep + fmt.Sprintf(format, a...)
		sep = ", "
	}
	if len(r.Missing) > 0 {
		add("%s missing (%s)", count(len(r.Missing), "sliver", "slivers"), firstFew(r.Missing))
	}
	if len(r.False) > 0 {
		add("%s false (%s)", count(len(r.False), "sliver", "slivers"), firstFew(r.False))
	}
	if bad := r.Metadata.Of - r.Metadata.Good; bad > 0 {
		add("%d of %s of its metadata bad", bad, count(r.Metadata.Of, "copy", "copies"))
	}
	if lost {
		return line + fmt.Sprintf("; %d more than can be lost: it cannot be restored from here", r.Bad()-r.Tolerate)
	}
	return line + fmt.Sprintf("; %s may be lost, so it can be read and restored", count(r.Tolerate, "sliver", "slivers"))
}

// firstFew lists numbers, the first ten.
func firstFew(n []int) string {
	s := ""
	for i, x := range n {
		if i == 10 {
			return s + " …"
		}
		if i > 0 {
			s += " "
		}
		s += fmt.Sprint(x)
	}
	return s
}

// tree walks all of the dataset.
func (v *verifying) tree(ctx context.Context, o *opened, t *verifyJSON, show *progress, told func(damageJSON, string, ...any)) error {
	var entries, bytes atomic.Int64
	root, began := o.Root(), time.Now()
	err := o.Verify(ctx, v.deep, func(pr engine.Problem) {
		t.BadPaths++
		d := damageJSON{Error: pr.Err.Error()}
		d.Path, d.PathB64 = jsonName(pr.Path)
		told(d, "%s: %v", orTop(pr.Path), pr.Err)
	}, func(n, b int64) {
		entries.Add(n)
		bytes.Add(b)
		show.show(func() string {
			line := fmt.Sprintf("checking files: %s of %s entries", grouped(entries.Load()), grouped(root.Entries))
			if v.deep {
				line += fmt.Sprintf(", %s of %s, %s", humanBytes(bytes.Load()), humanBytes(root.Bytes), rate(bytes.Load(), began))
			}
			return line
		})
	})
	t.Entries, t.Bytes = entries.Load(), bytes.Load()
	return err
}

func (t verifyJSON) summary(o *opened) string {
	what := fmt.Sprintf("every table of %s", count(t.Entries, "entry", "entries"))
	if t.Deep {
		what = fmt.Sprintf("every table of %s, every b3 sum (%s)", count(t.Entries, "entry", "entries"), humanBytes(t.Bytes))
		return fmt.Sprintf("%s is whole: %s, every sliver (%s of %s) proven", o.subject, what, grouped(t.Slivers), count(t.Blobs, "blob", "blobs"))
	}
	return fmt.Sprintf("%s is whole: %s proven, all slivers there (%s of %s); --deep proves every byte", o.subject, what, grouped(t.Slivers), count(t.Blobs, "blob", "blobs"))
}

// verdict says what is wrong in all, and what to do.
func (t verifyJSON) verdict(o *opened) string {
	switch {
	case t.Lost > 0:
		return fmt.Sprintf("%s is damaged: %s cannot be restored, %s bad: bring back slivers or put the directory again; floe repair %[1]s heals the rest",
			o.subject, count(t.Lost, "blob", "blobs"), count(t.BadPaths, "path", "paths"))
	case t.BadPaths > 0:
		return fmt.Sprintf("%s is damaged: %s bad, and %s: its publisher made it so, or floe repair %[1]s heals it",
			o.subject, count(t.BadPaths, "path", "paths"), count(t.BadSlivers, "bad sliver", "bad slivers"))
	}
	return fmt.Sprintf("%s can be read, but %s damaged (%s): floe repair %[1]s heals it",
		o.subject, count(t.BadBlobs, "blob is", "blobs are"), count(t.BadSlivers, "bad sliver", "bad slivers"))
}
