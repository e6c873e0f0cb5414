package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/catalog"
)

// A copier copies a part of a dataset into a directory. One goroutine walks
// the tree and makes directories and symlinks; workers copy files. Every
// directory is held open by a descriptor, and names are only used relative to
// one, without following symlinks: whatever is in the way, or is put there
// meanwhile, nothing is written elsewhere.
type copier struct {
	o     *opened
	total *copyTotals
	show  *progress
	began time.Time

	top   *targetDir
	files chan fileTask      // from the walk, which closes it; full: the workers are behind
	links map[uint64]*leader // of hard-link groups of which names are to come; only the walk touches it

	mu    sync.Mutex // guards first
	first error      // of those that were told

	xattrsTold atomic.Bool // that the target keeps no xattrs
}

// copyTotals count what several copiers have done.
type copyTotals struct{ files, bytes, skipped, failed atomic.Int64 }

// A fileTask is a file to be copied to a name in dir.
type fileTask struct {
	dir   *targetDir // held
	name  string
	path  string // within the dataset
	entry catalog.Entry
	lead  *leader // of its hard links; nil if it has none
	leads bool    // it is the first of them, which the others wait for
}

// A leader is the first of the names of a file that is copied; the others
// become links to it.
type leader struct {
	done chan struct{} // closed when it is copied, or cannot be
	path string        // below the top of the copy
	ok   bool          // it was copied; set before done is closed
	left uint32        // names still to come; only the walk touches it
}

func newCopier(o *opened, total *copyTotals, show *progress, began time.Time) *copier {
	return &copier{o: o, total: total, show: show, began: began, files: make(chan fileTask, 64), links: make(map[uint64]*leader)}
}

// copy copies the subject's entry to a name in directory parent. What fails is
// told, and the rest goes on; then the error is errTold.
func (c *copier) copy(ctx context.Context, parent, name string, jobs int) error {
	fd, err := unix.Open(parent, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("open", parent, err)
	}
	c.top = &targetDir{fd: fd, path: parent}
	c.top.holds.Store(1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	for range jobs {
		workers.Go(func() {
			for t := range c.files {
				c.file(ctx, t)
			}
		})
	}
	err = c.walk(ctx, c.top, name, c.o.path, c.o.entry)
	close(c.files)
	if err != nil {
		cancel(err)
	}
	workers.Wait()
	c.top.release(c)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}

// maxTold is how many failures are told one by one.
const maxTold = 50

// fail tells of something that could not be copied.
func (c *copier) fail(path string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	switch n := c.total.failed.Add(1); {
	case n <= maxTold:
		c.show.say("floe: copying %s: %v", orTop(path), c.o.rd.advise(err, c.o.subject))
	case n == maxTold+1:
		c.show.say("floe: more fails; it is counted")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil {
		c.first = errTold.like(err)
	}
}

// walk copies e to a name in dir. Its error ends everything.
func (c *copier) walk(ctx context.Context, dir *targetDir, name, path string, e catalog.Entry) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// The catalog has refused such names; here it would be fatal.
	if err := checkTargetName(name); err != nil {
		return err
	}
	switch e.Type {
	case catalog.Symlink:
		if err := dir.symlink(name, e); err != nil {
			c.fail(path, err)
		}
		return nil
	case catalog.File:
		c.queue(dir, name, path, e)
		return nil
	}
	sub, err := dir.enter(name, e)
	if err != nil {
		c.fail(path, err)
		return nil
	}
	defer sub.release(c)
	sub.dataset = path
	if sub.xattrs, err = c.o.Xattrs(ctx, e); err != nil {
		c.fail(path, err)
	}
	for child, err := range c.o.List(ctx, e, 0) {
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			c.fail(path, err)
			return nil
		}
		if err := c.walk(ctx, sub, child.Name, join(path, child.Name), child); err != nil {
			return err
		}
	}
	return nil
}

// queue hands a file to the workers. The first of several links is queued
// before the others, and taken before them, so they can wait for it.
func (c *copier) queue(dir *targetDir, name, path string, e catalog.Entry) {
	t := fileTask{dir: dir, name: name, path: path, entry: e}
	if e.Links > 1 {
		l := c.links[e.First]
		if l == nil {
			l = &leader{done: make(chan struct{}), path: join(dir.below, name), left: e.Links}
			c.links[e.First] = l
			t.leads = true
		}
		if l.left--; l.left == 0 {
			delete(c.links, e.First)
		}
		t.lead = l
	}
	dir.hold()
	c.files <- t
}

// file does one task.
func (c *copier) file(ctx context.Context, t fileTask) {
	defer t.dir.release(c)
	if t.leads {
		defer close(t.lead.done)
	}
	if ctx.Err() != nil {
		return
	}
	if t.lead != nil && !t.leads {
		<-t.lead.done
		if t.lead.ok && t.dir.link(t.name, c.top, t.lead.path) == nil {
			c.total.files.Add(1)
			return
		}
		// A file system without links, or with too many: a copy will do.
	}
	if err := c.copyFile(ctx, t); err != nil {
		c.fail(t.path, err)
		return
	}
	if t.leads {
		t.lead.ok = true
	}
}

// line says how far all have come.
func (c *copier) line() string {
	return fmt.Sprintf("copying: %s, %s, %s", count(c.total.files.Load(), "file", "files"),
		humanBytes(c.total.bytes.Load()), rate(c.total.bytes.Load(), c.began))
}
