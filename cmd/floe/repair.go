package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/floefs/floe/engine/blob"
)

var repairCommand = command{
	name:     "repair",
	group:    "trust",
	brief:    "restore missing and false slivers of a dataset",
	complete: "dataset",
	help: `Usage: floe repair [--json] ID|NAME|walrus:ID...

  floe repair flowers
  floe verify --deep flowers     proves that it worked, if you want it twice

Proves every sliver of every blob, computes those that are missing or false
from the others, proves what it computed, and stores it. If too few are left,
says for which blobs; the exit code is 7 then.
`,
	new: func(f *flags) action {
		r := &repairing{}
		f.BoolVarP(&r.quiet, "quiet", "q", false, "show no progress")
		f.private("quiet")
		jsonFlag(f, &r.json)
		r.sources.fromFlag(f)
		return r.run
	},
}

type repairing struct {
	sources
	quiet, json bool
}

// A repairJSON is the answer of repair --json, after one line for each blob
// that was damaged.
type repairJSON struct {
	Dataset  string  `json:"dataset"`
	Whole    bool    `json:"whole"`
	Blobs    int     `json:"blobs"`
	Slivers  int     `json:"slivers"`
	Rebuilt  int     `json:"slivers_rebuilt"`
	Metadata int     `json:"metadata_rewritten"`
	Lost     int     `json:"lost_blobs"`
	Failed   int     `json:"failed_blobs"` // that a node would not take
	Seconds  float64 `json:"seconds"`
}

func (r *repairing) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe repair needs a dataset: floe datasets lists those there are")
	}
	r.cacheMode = "auto"
	limitHeap(e, putMemory)
	p := e.printer(r.json)
	err := e.each(ctx, args, func(arg string) error { return r.repair(ctx, e, p, arg) })
	return errors.Join(err, p.Flush())
}

func (r *repairing) repair(ctx context.Context, e *env, p *printer, arg string) error {
	if err := r.check(e); err != nil {
		return err
	}
	s, err := e.subject(arg)
	if err != nil {
		return err
	}
	if s.path != "" {
		return usagef("%s: datasets are repaired whole", arg)
	}
	rd, err := r.open(e, s, false)
	if err != nil {
		return err
	}
	defer rd.Close()
	began := time.Now()
	show := newProgress(e, r.quiet)
	defer show.end()
	t := repairJSON{Dataset: s.address()}
	blobs, err := rd.blobsOf(ctx, s)
	if errors.Is(err, blob.ErrUnavailable) {
		return exitWith(exitTooFew, fmt.Errorf("%s: its header is lost, and with it what else there is: %w: bring slivers back, or put the directory again", s, err))
	}
	if err != nil {
		return rd.absent(err, s)
	}
	for id, err := range blobs {
		if err != nil {
			return rd.advise(err, s)
		}
		t.Blobs++
		show.show(func() string {
			return fmt.Sprintf("proving: %s, %s, %s rebuilt", count(t.Blobs, "blob", "blobs"), count(t.Slivers, "sliver", "slivers"), grouped(t.Rebuilt))
		})
		reports, err := rd.blobs.Repair(ctx, id)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		explained := false
		for i, rep := range reports {
			dam := rd.damage(id, i, rep)
			dam.lost = errors.Is(err, blob.ErrUnavailable)
			explained = explained || dam.why != ""
			if rep.Metadata.Good < rep.Metadata.Of && (err == nil || rep.Restored() > 0) {
				t.Metadata++
			}
			r.tell(p, show, &t, dam)
		}
		switch {
		case errors.Is(err, blob.ErrUnavailable):
			t.Lost++
			show.end()
			e.complain(err)
		case err != nil:
			t.Failed++
			if show.end(); !explained {
				e.complain(err)
			}
		}
	}
	show.end()
	t.Whole, t.Seconds = t.Lost == 0 && t.Failed == 0, time.Since(began).Seconds()
	return r.answer(p, rd, s, t)
}

// tell adds up what was done for a blob, and tells of it if it was damaged.
func (r *repairing) tell(p *printer, show *progress, t *repairJSON, d damage) {
	rep := d.r
	t.Slivers += rep.Slivers
	t.Rebuilt += rep.Restored()
	if rep.Whole() {
		return
	}
	show.end()
	if r.json {
		p.object(struct {
			damageJSON
			Rebuilt int `json:"rebuilt"`
		}{d.json(), rep.Restored()})
		return
	}
	fmt.Fprintf(p, "%s; rebuilt %d\n", printable(d.String()), rep.Restored())
}

func (r *repairing) answer(p *printer, rd *reader, s subject, t repairJSON) error {
	if r.json {
		if err := p.object(t); err != nil || t.Whole {
			return err
		}
		return errTold.as(t.code())
	}
	done := fmt.Sprintf("%s and %s of metadata restored and proven, of %s",
		count(t.Rebuilt, "sliver", "slivers"), count(t.Metadata, "set of copies", "sets of copies"), count(t.Slivers, "sliver", "slivers"))
	if t.Whole && t.Rebuilt == 0 && t.Metadata == 0 {
		done = fmt.Sprintf("nothing to do: %s of %s proven", count(t.Slivers, "sliver", "slivers"), count(t.Blobs, "blob", "blobs"))
	}
	if t.Whole {
		_, err := fmt.Fprintf(p, "%s is whole: %s\n", s, done)
		return err
	}
	if t.Lost == 0 {
		return exitWith(t.code(), fmt.Errorf("%s is still damaged: %s; nodes did not take what they lack of %s: when they are back, type floe repair%s again",
			s, done, count(t.Failed, "blob", "blobs"), rd.typed(s)))
	}
	return exitWith(t.code(), fmt.Errorf("%s is still damaged: %s; %s too few slivers left: bring some back, or put the directory again",
		s, done, count(t.Lost, "blob has", "blobs have")))
}

func (t repairJSON) code() int {
	if t.Lost == 0 {
		return exitTryLater
	}
	return exitTooFew
}
