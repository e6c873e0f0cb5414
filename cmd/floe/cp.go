package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/floefs/floe/engine/catalog"
)

var cpCommand = command{
	name:     "cp",
	group:    "read",
	brief:    "copy files out of a dataset, every byte proven",
	complete: "dataset",
	help: `Usage: floe cp [FLAGS] ID|NAME[/PATH]|walrus:ID[/PATH]... DEST

  floe cp flowers ./flowers            the whole dataset, as DEST
  floe cp flowers/train ./data         as ./data/train if ./data is a directory
  floe cp flowers/a.csv flowers/b.csv ./data

Directories are copied with all they hold. Modes, times, symlinks, hard links,
user xattrs and holes are kept; you own the copies. What is there already is
replaced unless it has the same bytes, so a copy that was interrupted goes on
where it was. A file has its name only when it is whole. Nothing is written
outside DEST, whatever symlinks are in the way.
`,
	new: func(f *flags) action {
		c := &copying{}
		f.IntVarP(&c.jobs, "jobs", "j", runtime.GOMAXPROCS(0), "copy `N` files at once")
		f.otherwise("jobs", "one per processor")
		f.BoolVarP(&c.quiet, "quiet", "q", false, "show no progress")
		f.BoolP("recursive", "r", true, "")
		f.BoolP("archive", "a", true, "")
		for _, n := range []string{"recursive", "archive"} { // what it does anyway
			f.MarkHidden(n)
			f.variable[n] = "-"
		}
		f.private("jobs", "quiet")
		jsonFlag(f, &c.json)
		c.sources.flags(f)
		return c.run
	},
}

type copying struct {
	sources
	jobs        int
	quiet, json bool
}

// A copyJSON is the answer of cp --json.
type copyJSON struct {
	Files   int64   `json:"files"`
	Bytes   int64   `json:"bytes"`
	Skipped int64   `json:"files_unchanged"`
	Failed  int64   `json:"failed"`
	Seconds float64 `json:"seconds"`
}

func (c *copying) run(ctx context.Context, e *env, args []string) error {
	if len(args) < 2 {
		return usagef("floe cp needs something to copy and where to: floe cp NAME/PATH DEST")
	}
	if c.jobs < 1 {
		return usagef("--jobs %d: at least one", c.jobs)
	}
	srcs, dest := args[:len(args)-1], args[len(args)-1]
	if fi, err := os.Stat(e.abs(dest)); len(srcs) > 1 && (err != nil || !fi.IsDir()) {
		return exitWith(exitNotFound, fmt.Errorf("%s is not a directory: mkdir it first", dest))
	}
	began := time.Now()
	show := newProgress(e, c.quiet)
	defer show.end()
	var total copyTotals
	var failed error
	err := c.each(ctx, e, srcs, func(o *opened) error {
		parent, name, err := destination(e, o, dest)
		if err != nil {
			return err
		}
		cp := newCopier(o, &total, show, began)
		err = cp.copy(ctx, parent, name, c.jobs)
		if errors.Is(err, errTold) {
			failed = err
			return nil
		}
		return o.rd.advise(err, o.subject)
	})
	show.end()
	if err == nil {
		err = failed
	}
	if err != nil && !errors.Is(err, errTold) {
		return err
	}
	answerErr := total.answer(e, c, began)
	return errors.Join(err, answerErr)
}

func (t *copyTotals) answer(e *env, c *copying, began time.Time) error {
	if c.json {
		p := e.printer(true)
		p.object(copyJSON{t.files.Load(), t.bytes.Load(), t.skipped.Load(), t.failed.Load(), time.Since(began).Seconds()})
		return p.Flush()
	}
	if c.quiet {
		return nil
	}
	line := fmt.Sprintf("copied %s, %s, every byte proven, in %s, %s", count(t.files.Load(), "file", "files"),
		humanBytes(t.bytes.Load()), time.Since(began).Round(10*time.Millisecond), rate(t.bytes.Load(), began))
	if n := t.skipped.Load(); n > 0 {
		line += fmt.Sprintf("; %s had the same bytes already", count(n, "file", "files"))
	}
	if n := t.failed.Load(); n > 0 {
		line += fmt.Sprintf("; %s failed", grouped(n))
	}
	_, err := fmt.Fprintln(e.stderr, line)
	return err
}

// destination returns the directory to copy o into and the name it gets there.
// The top of a dataset becomes dest itself; another place goes into dest if
// that is a directory, as with cp(1).
func destination(e *env, o *opened, dest string) (parent, name string, err error) {
	path := e.abs(dest)
	fi, err := os.Stat(path)
	isDir := err == nil && fi.IsDir()
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", "", err
	case isDir && o.path == "" && o.entry.Type == catalog.Dir:
		real, err := filepath.EvalSymlinks(path) // what the user names may be a symlink
		return filepath.Dir(real), filepath.Base(real), err
	case isDir:
		return path, o.name(), nil
	case strings.HasSuffix(dest, "/") && o.entry.Type != catalog.Dir:
		return "", "", exitWith(exitNotFound, fmt.Errorf("%s is not a directory: mkdir it first", dest))
	}
	return filepath.Dir(path), filepath.Base(path), nil
}
