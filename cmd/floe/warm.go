package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/fs"
)

var warmCommand = command{
	name:     "warm",
	group:    "keep",
	brief:    "bring files into the cache before they are needed",
	complete: "dataset",
	help: `Usage: floe warm [FLAGS] ID|NAME[/PATH]|PATH-IN-A-MOUNT... | @FILE

  floe warm flowers                  all of it
  floe warm /mnt/flowers/train       as its mount will read it, and where that caches
  floe warm @list                    what the lines of a file name
  floe warm --pin flowers/train      and keep it there: see floe help pin
  floe warm --check flowers          only tell how much is there

What is there already is not fetched again, so a warm that was interrupted goes
on where it was when it is typed again. A mount uses what is brought at once.
--check exits with 5 if something is missing.
`,
	new: func(f *flags) action {
		w := &warmer{}
		f.BoolVar(&w.pin, "pin", false, "pin it")
		f.BoolVar(&w.check, "check", false, "fetch nothing, tell how much is there")
		f.IntVarP(&w.jobs, "jobs", "j", 8, "fetch `N` files at a time")
		f.Var(&w.most, "bwlimit", "fetch at most so many bytes a second; 0: as fast as it goes")
		f.BoolVarP(&w.quiet, "quiet", "q", false, "show no progress")
		f.private("pin", "check", "jobs", "bwlimit", "quiet")
		jsonFlag(f, &w.json)
		w.sources.flags(f)
		return w.run
	},
}

type warmer struct {
	sources
	pin, check, quiet, json bool
	jobs                    int
	most                    size // bytes a second
}

// A warmJSON is the answer of warm --json, one for each dataset.
type warmJSON struct {
	Dataset string  `json:"dataset"`
	Files   int64   `json:"files"`
	Bytes   int64   `json:"bytes"`         // stored, so without holes
	Before  int64   `json:"cached_before"` // of these
	Cached  int64   `json:"cached"`
	Fetched int64   `json:"fetched"` // from nodes, tables included
	Failed  int64   `json:"failed"`  // files
	Pinned  int     `json:"pinned_blobs"`
	Seconds float64 `json:"seconds"`
}

func (w *warmer) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe warm needs a dataset or a path in a mount: floe warm NAME/PATH")
	}
	if w.jobs < 1 || w.jobs > 256 {
		return usagef("--jobs %d: it can be 1 to 256", w.jobs)
	}
	if w.check && w.pin {
		return usagef("--check fetches nothing, so there is nothing to --pin: floe pin keeps what comes")
	}
	args, err := e.lines(args)
	if err != nil {
		return err
	}
	p := e.printer(w.json)
	all, err := w.targets(ctx, e, args)
	for _, t := range all {
		if err == nil || ctx.Err() == nil {
			err = errors.Join(err, w.warm(ctx, e, p, t))
		}
	}
	return errors.Join(err, p.Flush())
}

const maxList = 256 << 20 // bytes of a list of paths

// lines replaces @FILE by what the lines of the file name.
func (e *env) lines(args []string) ([]string, error) {
	var all []string
	for _, arg := range args {
		name, ok := strings.CutPrefix(arg, "@")
		if !ok {
			all = append(all, arg)
			continue
		}
		fi, err := os.Stat(e.abs(name))
		if err == nil && fi.Size() > maxList {
			err = fmt.Errorf("%s is longer than %s", name, humanBytes(maxList))
		}
		var data []byte
		if err == nil {
			data, err = os.ReadFile(e.abs(name))
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				all = append(all, line)
			}
		}
	}
	return all, nil
}

// A warmTarget is places of one dataset that are to be warmed, and how to read
// them.
type warmTarget struct {
	sources
	subject
	paths []string
}

// targets finds out what args name. What belongs to one dataset is warmed
// together, in the order it was named.
func (w *warmer) targets(ctx context.Context, e *env, args []string) (all []*warmTarget, err error) {
	by := make(map[string]*warmTarget)
	for _, arg := range args {
		src := w.sources
		s, found, err := src.inMount(ctx, e, arg)
		if err == nil && !found {
			s, err = e.subject(arg)
		}
		if err != nil {
			return nil, err
		}
		key := fmt.Sprint(s.address(), s.store, src.from, src.cacheDir, src.cacheMode)
		t := by[key]
		if t == nil {
			t = &warmTarget{sources: src, subject: s}
			by[key] = t
			all = append(all, t)
		}
		t.paths = append(t.paths, s.path)
	}
	return all, nil
}

// inMount returns the place in a dataset that is mounted at path arg, and sets
// the sources to those of the mount, as far as they were not named. It reports
// false if no mount of ours is there.
func (r *sources) inMount(ctx context.Context, e *env, arg string) (s subject, found bool, err error) {
	m, path, ok := mountAbove(e.abs(arg))
	if !ok {
		return s, false, nil
	}
	st, conn, err := e.askMount(ctx, m)
	if err != nil {
		return s, true, exitWith(exitTryLater, fmt.Errorf("%s: %w", m.Dir, err))
	}
	conn.Close()
	if s, err = e.subject(st.Dataset); err != nil {
		return s, true, err
	}
	s.arg, s.name, s.path = arg, st.Name, path
	if len(r.from) == 0 {
		r.from = st.Places
	}
	if r.cacheDir == "" && st.Cache != nil {
		r.cacheDir = st.Cache.Dir
	}
	if !st.InPlace {
		r.cacheMode = "always"
	}
	return s, true, nil
}

// mountAbove returns the floe mount that an absolute path lies in, and the rest
// of the path. It asks the mount nothing.
func mountAbove(path string) (m fs.MountPoint, rest string, ok bool) {
	all, _ := fs.Mounts()
	for _, x := range all {
		below, under := strings.CutPrefix(path, x.Dir+"/")
		if path == x.Dir {
			below, under = "", true
		}
		if under && (!ok || len(x.Dir) >= len(m.Dir)) {
			m, rest, ok = x, below, true
		}
	}
	return m, rest, ok
}

// warm warms one dataset.
func (w *warmer) warm(ctx context.Context, e *env, p *printer, t *warmTarget) error {
	if err := t.check(e); err != nil {
		return err
	}
	rd, err := t.open(e, t.subject, true)
	if err != nil {
		return err
	}
	defer rd.Close()
	if rd.near {
		return usagef("%s is read in place, from %s: there is nothing to warm; --cache always keeps a copy of what is read", t.subject, rd.places[0].url)
	}
	ds, err := rd.dataset(ctx, t.subject)
	if err != nil {
		return err
	}
	run := &warming{w: w, t: t, rd: rd, ds: ds, show: newProgress(e, w.quiet), began: time.Now()}
	defer run.show.end()
	if err := run.do(ctx); err != nil {
		return rd.advise(err, t.subject)
	}
	run.show.end()
	return run.answer(p)
}

// A warming is one dataset being warmed.
type warming struct {
	w     *warmer
	t     *warmTarget
	rd    *reader
	ds    *engine.Dataset
	show  *progress
	began time.Time

	files, bytes, before, cached, failed atomic.Int64
	pinned                               int

	mu      sync.Mutex // guards what follows
	read    int64      // bytes read so far
	waiting int64      // of these, perhaps not written yet
}

// rounds is how often it is looked whether everything is in the cache, which
// drops what its disk is too slow for.
const rounds = 3

// do brings in what is missing, and looks whether it is there.
func (r *warming) do(ctx context.Context) error {
	if r.w.check {
		return r.round(ctx, r.count)
	}
	if r.w.pin {
		n, err := pin(ctx, r.rd, r.ds, r.t.paths)
		if err != nil {
			return err
		}
		r.pinned = n
	}
	for i := range rounds {
		r.files.Store(0)
		r.bytes.Store(0)
		r.cached.Store(0)
		if err := r.round(ctx, r.count); err != nil {
			return err
		}
		if i == 0 {
			r.before.Store(r.cached.Load())
		}
		if r.cached.Load() == r.bytes.Load() || r.failed.Load() > 0 {
			return nil
		}
		if limit := r.rd.cache.Stats().Limit; i == 0 && r.bytes.Load() > limit {
			r.show.say("floe: %s are %s, the cache may take %s: --cache-size lets it take more", r.t.subject, humanBytes(r.bytes.Load()), humanBytes(limit))
		}
		if err := r.round(ctx, r.fetch); err != nil {
			return err
		}
		r.rd.cache.Flush()
	}
	r.files.Store(0)
	r.bytes.Store(0)
	r.cached.Store(0)
	return r.round(ctx, r.count)
}

// round calls do for each file, for several at a time.
func (r *warming) round(ctx context.Context, do func(ctx context.Context, path string, f *engine.File) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(r.w.jobs)
	for _, top := range r.t.paths {
		at := opened{subject: r.t.subject, Dataset: r.ds, rd: r.rd}
		at.path = top
		entry, err := at.find(gctx)
		if err == nil {
			err = walk(gctx, r.ds, entry, top, func(path string, _ int, e catalog.Entry) (bool, error) {
				if e.Type != catalog.File || e.First != e.Number && e.Number != entry.Number {
					return true, nil
				}
				g.Go(func() error {
					f, err := r.ds.File(gctx, e)
					if err != nil {
						return err
					}
					return do(gctx, path, f)
				})
				return true, nil
			})
		}
		if err != nil {
			return errors.Join(g.Wait(), err)
		}
	}
	return g.Wait()
}

// count adds up how much of a file is there.
func (r *warming) count(ctx context.Context, _ string, f *engine.File) error {
	cached, total, err := f.Cached(ctx, 0, f.Entry().Size)
	r.files.Add(1)
	r.bytes.Add(total)
	r.cached.Add(cached)
	r.show.show(func() string {
		return fmt.Sprintf("looking: %s, %s of %s cached", count(r.files.Load(), "file", "files"), humanBytes(r.cached.Load()), humanBytes(r.bytes.Load()))
	})
	return err
}

// fetchSize is how much is fetched by one read, and settleSize how much may be
// on its way to the disk.
const (
	fetchSize  = 1 << 20
	settleSize = 8 << 20
)

// fetch reads what is missing of a file.
func (r *warming) fetch(ctx context.Context, path string, f *engine.File) error {
	for off := int64(0); off < f.Entry().Size; off += fetchSize {
		cached, total, err := f.Cached(ctx, off, fetchSize)
		if err == nil && cached < total {
			var s *engine.Span
			if s, err = f.Read(ctx, off, fetchSize); err == nil {
				n := int64(s.Len())
				s.Release()
				err = r.settle(ctx, n)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.failed.Add(1)
			r.show.say("floe: %s: %v", path, err)
			return nil
		}
	}
	return nil
}

// settle takes note of n bytes read. It waits until the cache has written
// most of what was read, and as long as the limit demands.
func (r *warming) settle(ctx context.Context, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read += n
	if r.waiting += n; r.waiting >= settleSize {
		r.rd.cache.Flush()
		r.waiting = 0
	}
	r.show.show(func() string {
		return fmt.Sprintf("warming: %s of %s, %s", humanBytes(r.before.Load()+r.read), humanBytes(r.bytes.Load()), rate(r.read, r.began))
	})
	if r.w.most == 0 {
		return nil
	}
	early := time.Duration(float64(r.read)/float64(r.w.most)*float64(time.Second)) - time.Since(r.began)
	select {
	case <-time.After(early):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answer says how much is there.
func (r *warming) answer(p *printer) error {
	j := warmJSON{
		Dataset: r.ds.ID().String(), Files: r.files.Load(), Bytes: r.bytes.Load(), Before: r.before.Load(), Cached: r.cached.Load(),
		Fetched: r.rd.Stats().Fetched, Failed: r.failed.Load(), Pinned: r.pinned, Seconds: time.Since(r.began).Seconds(),
	}
	missing := j.Bytes - j.Cached
	if r.w.json {
		p.object(j)
		if missing > 0 || j.Failed > 0 {
			return errTold.as(exitTryLater)
		}
		return nil
	}
	switch {
	case missing == 0:
		fmt.Fprintf(p, "%s: all %s of %s cached%s\n", r.t.subject, humanBytes(j.Bytes), count(j.Files, "file", "files"), r.pins())
		return nil
	case r.w.check:
		fmt.Fprintf(p, "%s: %s of %s of %s cached\n", r.t.subject, humanBytes(j.Cached), humanBytes(j.Bytes), count(j.Files, "file", "files"))
		return errTold.as(exitTryLater)
	case j.Failed > 0:
		return exitWith(exitTryLater, fmt.Errorf("%s: %s could not be fetched; %s of %s are cached: floe nodes tells who failed",
			r.t.subject, count(j.Failed, "file", "files"), humanBytes(j.Cached), humanBytes(j.Bytes)))
	}
	st := r.rd.cache.Stats()
	why := fmt.Sprintf("it may take %s: --cache-size, --min-free", humanBytes(st.Limit))
	if st.Stalled {
		why = "its disk is full or fails"
	}
	return exitWith(exitTryLater, fmt.Errorf("%s: the cache %s kept %s of %s: %s", r.t.subject, r.rd.dir, humanBytes(j.Cached), humanBytes(j.Bytes), why))
}

func (r *warming) pins() string {
	if !r.w.pin {
		return ""
	}
	return fmt.Sprintf(", pinned (%s)", count(r.pinned, "blob", "blobs"))
}
