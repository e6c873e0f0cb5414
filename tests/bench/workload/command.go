package workload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// trees are the workloads of programs that look at names more than at bytes.
var trees = []Workload{
	{Name: "ls-lR", About: "ls -lR of 100 directories of 1,000 files", Set: "smallfiles", Unit: "entries/s", run: lsLR},
	{Name: "find", About: "find in 100 directories of 1,000 files", Set: "smallfiles", Unit: "entries/s", run: find},
	{Name: "flat-ls", About: "ls -lR of one directory of 100,000 files", Set: "flatdir", Unit: "entries/s", run: lsLR},
	{Name: "million-find", About: "find in a tree of 1,000,000 files", Set: "milliontree", Unit: "entries/s", run: find},
	{Name: "million-walk", About: "ls -lR of a tree of 1,000,000 files while 200 files of 1 MiB are open and read", Set: "milliontree", Unit: "entries/s", run: walkOpen},
	{Name: "grep", About: "grep -r in 20,000 files of text", Set: "sourcecode", Unit: "files/s", run: grep},
}

// A command is a program that looks at a whole set.
type command struct {
	args  []string
	ops   int // that it does
	lines int // that it writes
}

// command runs a program, or checks what it would have seen.
func (r *run) command(c command) error {
	if r.check {
		r.start()
		if err := r.walk(); err != nil || r.cut.Load() {
			return err
		}
		if r.Kind == Check {
			r.ops += int64(c.ops)
			return nil
		}
	}
	exec.Command(c.args[0], "--version").Run() // brings the program itself into memory
	r.start()
	ctx := context.Background()
	if r.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Limit)
		defer cancel()
	}
	var n lines
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdout = &n
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		r.cut.Store(true)
		r.ops += int64(float64(c.ops) * float64(n) / float64(c.lines))
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", strings.Join(c.args, " "), err)
	case int(n) != c.lines:
		return fmt.Errorf("%w: %s writes %d lines, not %d", ErrWrong, strings.Join(c.args, " "), n, c.lines)
	}
	r.ops += int64(c.ops)
	return nil
}

// lines counts them.
type lines int

func (l *lines) Write(p []byte) (int, error) {
	*l += lines(bytes.Count(p, []byte{'\n'}))
	return len(p), nil
}

func lsLR(r *run) error {
	files, dirs := r.count()
	// A directory has a line with its name and one with its total, and between
	// two of them is an empty one.
	return r.command(command{[]string{"ls", "-lR", r.Dir}, files + dirs, files + dirs - 1 + 3*dirs - 1})
}

func find(r *run) error {
	files, dirs := r.count()
	return r.command(command{[]string{"find", r.Dir}, files + dirs, files + dirs})
}

func grep(r *run) error {
	all, found := r.files(), 0
	for _, f := range all {
		for line := range bytes.Lines(f.prose()) {
			if bytes.Contains(line, []byte(needle)) {
				found++
			}
		}
	}
	c := command{[]string{"grep", "-rF", needle, r.Dir}, len(all), found}
	if r.check {
		if err := r.each(1, len(all), func(w *worker, i int) error { return w.whole(all[i], 64*kib) }); err != nil {
			return err
		}
		c.ops = 0 // they are counted
	} else {
		for _, f := range all {
			r.bytes += f.Size
		}
	}
	return r.command(c)
}

// walkOpen lists the tree while files are open that it has read.
func walkOpen(r *run) error {
	var open []File
	for f := range r.set.Files(r.Scale) {
		if f.Size > 0 {
			open = append(open, f)
		}
	}
	var held []io.Closer
	defer func() {
		for _, h := range held {
			h.Close()
		}
	}()
	err := r.each(1, len(open), func(w *worker, i int) error {
		fd, err := r.open(open[i])
		if err != nil {
			return err
		}
		held = append(held, os.NewFile(uintptr(fd), open[i].Path))
		return w.sequence(fd, open[i], mib)
	})
	if err != nil || r.cut.Load() {
		return err
	}
	return lsLR(r)
}

// count returns how many files the set has and how many directories, its own
// among them.
func (r *run) count() (files, dirs int) {
	dirs, last := 1, "."
	for f := range r.set.Files(r.Scale) {
		files++
		if d := path.Dir(f.Path); d != last { // files come directory by directory
			dirs, last = dirs+1, d
		}
	}
	return files, dirs
}

// walk makes sure that the directory holds the set's names, and no others,
// with their types and sizes.
func (r *run) walk() error {
	type entry struct {
		name string
		size int64 // -1: a directory
	}
	want := map[string][]entry{} // by directory; no set has two levels
	for f := range r.set.Files(r.Scale) {
		dir := path.Dir(f.Path)
		if _, seen := want[dir]; !seen && dir != "." {
			want["."] = append(want["."], entry{dir, -1})
		}
		want[dir] = append(want[dir], entry{path.Base(f.Path), f.Size})
	}
	for dir, entries := range want {
		if r.over() {
			return nil
		}
		got, err := os.ReadDir(filepath.Join(r.Dir, dir)) // sorted, as entries are not
		if err != nil {
			return err
		}
		slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
		if len(got) != len(entries) {
			return fmt.Errorf("%w: %s has %d entries, not %d", ErrWrong, dir, len(got), len(entries))
		}
		for i, e := range entries {
			if err := same(got[i], e.name, e.size); err != nil {
				return fmt.Errorf("%w in %s", err, dir)
			}
		}
	}
	return nil
}

func same(d fs.DirEntry, name string, size int64) error {
	if d.Name() != name {
		return fmt.Errorf("%w: there is %q, not %q", ErrWrong, d.Name(), name)
	}
	fi, err := d.Info()
	if err != nil {
		return err
	}
	if dir := size < 0; fi.IsDir() != dir || !dir && (!fi.Mode().IsRegular() || fi.Size() != size) {
		return fmt.Errorf("%w: %s has mode %s and %d bytes, not %d", ErrWrong, name, fi.Mode(), fi.Size(), size)
	}
	return nil
}
