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
	help: `Usage: floe verify [--deep] [--json] ID|NAME|walrus:ID...

  floe verify flowers           tables, totals, and that all slivers are there
  floe verify --deep flowers    every byte, every b3sum, every sliver
  floe verify --certificate flowers     what the committee has signed, offline

Walks the whole tree, proves every table and looks at every blob. With --deep
every byte of every file is read and its b3 compared, and every sliver is
proven, also those that reading does without. What is damaged is listed; the
exit code is 4 then, even if all can still be read: floe repair heals it.

Of walrus:ID, a Walrus blob as it is, --deep encodes all of it anew and compares
ids, which is the strict consistency check of Walrus.

With --certificate nobody is asked: it checks against the committee file that
nodes with a quorum of the shards have signed that they store every blob of the
dataset, as they did when it was put. If not, the exit code is 4.
`,
	new: func(f *flags) action {
		v := &verifying{}
		f.BoolVar(&v.deep, "deep", false, "read and prove everything")
		f.StringVar(&v.certificate, "certificate", "", "check the certificate in `FILE` instead")
		f.Lookup("certificate").NoOptDefVal = keptCertificate
		f.otherwise("certificate", "the one that put kept")
		f.BoolVarP(&v.quiet, "quiet", "q", false, "show no progress")
		f.private("certificate", "quiet")
		jsonFlag(f, &v.json)
		v.sources.flags(f)
		return v.run
	},
}

type verifying struct {
	sources
	deep, quiet, json bool
	certificate       string // file, or keptCertificate; "" if it is not asked for
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
	Error      string  `json:"error,omitempty"` // why it cannot be read at all
}

func (v *verifying) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe verify needs a dataset: floe datasets lists those there are")
	}
	p := e.printer(v.json)
	err := e.each(ctx, args, func(arg string) error { return v.verify(ctx, e, p, arg) })
	return errors.Join(err, p.Flush())
}

// A verification is one dataset being verified.
type verification struct {
	*verifying
	s     subject
	rd    *reader
	p     *printer
	show  *progress
	found verifyJSON
	err   error // why the dataset could not be opened
}

func (v *verifying) verify(ctx context.Context, e *env, p *printer, arg string) error {
	if err := v.check(e); err != nil {
		return err
	}
	if v.certificate != "" {
		return v.certified(ctx, e, p, arg)
	}
	s, err := e.subject(arg)
	if err != nil {
		return err
	}
	if s.path != "" {
		return usagef("%s: datasets are verified whole", arg)
	}
	rd, err := v.open(e, s, false)
	if err != nil {
		return err
	}
	defer rd.Close()
	began := time.Now()
	c := &verification{verifying: v, s: s, rd: rd, p: p, show: newProgress(e, v.quiet)}
	defer c.show.end()
	c.found = verifyJSON{Dataset: s.address(), Deep: v.deep}
	if err := c.check(ctx); err != nil {
		return err
	}
	c.show.end()
	c.found.Seconds = time.Since(began).Seconds()
	return c.answer()
}

// check looks at the header blob first: without it nothing else is known.
func (c *verification) check(ctx context.Context) error {
	if err := c.blob(ctx, c.s.id); err != nil {
		return err
	}
	d, err := c.rd.find(ctx, c.s)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		c.err = err
		return nil
	}
	if b := d.Blob(); b != nil {
		return c.bare(ctx, d, b)
	}
	for id, err := range d.Blobs(ctx) {
		if err == nil && id != c.s.id {
			err = c.blob(ctx, id)
		}
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			c.bad("", err)
			break
		}
	}
	return c.tree(ctx, d)
}

// bare checks a Walrus blob as it is, whose slivers have been looked at.
func (c *verification) bare(ctx context.Context, d *engine.Dataset, b *engine.Blob) error {
	if !c.deep {
		return c.tree(ctx, d)
	}
	if err := b.CheckStrictly(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		c.bad("", err)
	}
	return c.tree(ctx, d)
}

// blob looks at the slivers of a blob.
func (c *verification) blob(ctx context.Context, id walrus.BlobID) error {
	t := &c.found
	t.Blobs++
	c.show.show(func() string {
		return fmt.Sprintf("checking blobs: %s, %s", grouped(t.Blobs), count(t.Slivers, "sliver", "slivers"))
	})
	reports, err := c.rd.blobs.Check(ctx, id, c.deep)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		if id == c.s.id && isNotExist(err) {
			return c.rd.absent(err, c.s)
		}
		t.BadBlobs++
		t.Lost++
		c.tell(damageJSON{Blob: id.String(), Lost: true, Error: err.Error()}, fmt.Sprintf("blob %s: %v", id, err))
		return nil
	}
	return c.judge(ctx, id, reports)
}

// judge adds up what was found of a blob, and tells what is wrong.
func (c *verification) judge(ctx context.Context, id walrus.BlobID, reports []blob.Report) error {
	t := &c.found
	bad := false
	for _, r := range reports {
		t.Slivers += r.Slivers
		t.BadSlivers += r.Bad()
		bad = bad || !r.Whole()
	}
	if !bad {
		return nil
	}
	t.BadBlobs++
	meta, err := c.rd.blobs.Metadata(ctx, id)
	if err != nil {
		return err
	}
	params, err := meta.Params()
	if err != nil {
		return err
	}
	lost := !enough(c.rd.nodes, reports, id, params)
	if lost {
		t.Lost++
	}
	for i, r := range reports {
		if !r.Whole() {
			d := c.rd.damage(id, i, r)
			d.lost = lost || d.on.shards == nil && r.Bad() > r.Tolerate
			c.tell(d.json(), d.String())
		}
	}
	return nil
}

// bad notes that something at a path is wrong.
func (c *verification) bad(path string, err error) {
	c.found.BadPaths++
	d := damageJSON{Error: err.Error()}
	d.Path, d.PathB64 = jsonName(path)
	c.tell(d, fmt.Sprintf("%s: %v", orTop(path), err))
}

// tell lists one thing that is damaged.
func (c *verification) tell(d damageJSON, line string) {
	c.show.end()
	if c.json {
		c.p.object(d)
		return
	}
	fmt.Fprintln(c.p, printable(line))
}

// tree walks all of the dataset.
func (c *verification) tree(ctx context.Context, d *engine.Dataset) error {
	var entries, bytes atomic.Int64
	root, began := d.Root(), time.Now()
	err := d.Verify(ctx, c.deep, func(p engine.Problem) { c.bad(p.Path, p.Err) }, func(n, b int64) {
		entries.Add(n)
		bytes.Add(b)
		c.show.show(func() string {
			line := fmt.Sprintf("checking files: %s of %s entries", grouped(entries.Load()), grouped(root.Entries))
			if c.deep {
				line += fmt.Sprintf(", %s of %s, %s", humanBytes(bytes.Load()), humanBytes(root.Bytes), rate(bytes.Load(), began))
			}
			return line
		})
	})
	c.found.Entries, c.found.Bytes = entries.Load(), bytes.Load()
	return err
}

// answer says what was found in all, and what to do.
func (c *verification) answer() error {
	t := &c.found
	t.Whole = t.BadBlobs == 0 && t.BadPaths == 0 && c.err == nil
	switch {
	case c.json:
		if c.err != nil {
			t.Error = c.err.Error()
		}
		c.p.object(t)
	case t.Whole:
		fmt.Fprintln(c.p, c.summary())
	}
	c.p.Flush()
	switch {
	case t.Whole:
		return nil
	case c.json:
		return errTold.as(exitDamaged)
	}
	return exitWith(exitDamaged, c.verdict())
}

func (c *verification) summary() string {
	t := &c.found
	entries, slivers := count(t.Entries, "entry", "entries"), fmt.Sprintf("%s of %s", grouped(t.Slivers), count(t.Blobs, "blob", "blobs"))
	switch {
	case c.s.bare && t.Deep:
		return fmt.Sprintf("%s is whole: encoded anew it has the same id, every sliver (%s) proven", c.s, slivers)
	case c.s.bare:
		return fmt.Sprintf("%s is whole: all slivers there (%s); --deep proves every byte", c.s, slivers)
	case t.Deep:
		return fmt.Sprintf("%s is whole: every table (%s), every b3 sum (%s), every sliver (%s) proven", c.s, entries, humanBytes(t.Bytes), slivers)
	}
	return fmt.Sprintf("%s is whole: every table (%s) proven, all slivers there (%s); --deep proves every byte", c.s, entries, slivers)
}

func (c *verification) verdict() error {
	t := &c.found
	switch {
	case c.err != nil && c.s.bare:
		return fmt.Errorf("%s cannot be read: %w", c.s, c.err)
	case c.err != nil:
		return fmt.Errorf("%s cannot be read: %w: bring slivers back, or put the directory again", c.s, c.err)
	case t.Lost > 0:
		return fmt.Errorf("%s is damaged: %s cannot be restored, %s bad: bring slivers back or put the directory again; floe repair%s heals the rest",
			c.s, count(t.Lost, "blob", "blobs"), count(t.BadPaths, "path", "paths"), c.rd.typed(c.s))
	case t.BadPaths > 0 && t.BadBlobs == 0:
		return fmt.Errorf("%s is damaged: %s bad, though every sliver is good: that is how it was published", c.s, count(t.BadPaths, "path", "paths"))
	}
	return fmt.Errorf("%s can be read, but %s damaged (%s): floe repair%s heals it",
		c.s, count(t.BadBlobs, "blob is", "blobs are"), count(t.BadSlivers, "bad sliver", "bad slivers"), c.rd.typed(c.s))
}
