package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
)

// copyFile copies a file whole, or leaves what was there before.
func (c *copier) copyFile(ctx context.Context, t fileTask) error {
	f, err := c.o.File(ctx, t.entry)
	if err != nil {
		return err
	}
	xattrs, err := c.o.Xattrs(ctx, t.entry)
	if err != nil {
		return err
	}
	if fd, ok := t.dir.same(ctx, t.name, t.entry); ok {
		defer unix.Close(fd)
		c.total.skipped.Add(1)
		c.show.show(c.line)
		return c.dress(fd, t, xattrs)
	}
	path := t.dir.path + "/" + t.name
	temp := tempName()
	fd, err := unix.Openat(t.dir.fd, temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return pathError("create", path, err)
	}
	defer unix.Close(fd)
	if err = c.fill(ctx, fd, f); err == nil {
		err = c.dress(fd, t, xattrs)
	}
	if err != nil {
		unix.Unlinkat(t.dir.fd, temp, 0)
		return err
	}
	if err := t.dir.rename(temp, t.name); err != nil {
		return err
	}
	c.total.files.Add(1)
	c.show.show(c.line)
	return nil
}

// same opens what a name stands for and reports whether it is a file with just
// the bytes of e. Their hash decides, the same by which a reader proves them.
func (d *targetDir) same(ctx context.Context, name string, e catalog.Entry) (fd int, ok bool) {
	if d.fresh {
		return -1, false
	}
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != e.Size || st.Nlink > 1 {
		return -1, false // what is a link elsewhere is not ours to change
	}
	fd, err = unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, false
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		f := os.NewFile(uintptr(dup), name)
		defer f.Close()
		if tree, err := merkle.HashTree(interruptible{ctx, f}, ""); err == nil && tree.Size == e.Size && tree.Root == e.Root {
			return fd, true
		}
	}
	unix.Close(fd)
	return -1, false
}

// An interruptible reader ends when its context does.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, r.ctx.Err()
	}
	return r.r.Read(p)
}

// fill writes the bytes of f, and leaves holes where it has them.
func (c *copier) fill(ctx context.Context, fd int, f *engine.File) error {
	size := f.Entry().Size
	if err := unix.Ftruncate(fd, size); err != nil {
		return fmt.Errorf("making a file of %d bytes: %w", size, err)
	}
	lay := f.Layout()
	for off := int64(0); off < size; {
		from, ok := lay.NextData(off)
		if !ok {
			return nil
		}
		to, _ := lay.NextHole(from)
		for off = from; off < to; {
			s, err := f.Read(ctx, off, int(min(1<<20, to-off)))
			if err != nil {
				return err
			}
			n := s.Len()
			err = writeAll(fd, s, off)
			s.Release()
			if err != nil {
				return fmt.Errorf("writing: %w", err)
			}
			off += int64(n)
			c.total.bytes.Add(int64(n))
			c.show.show(c.line)
		}
	}
	return nil
}

func writeAll(fd int, s *engine.Span, off int64) error {
	for _, chunk := range s.Parts() {
		for p := chunk.Bytes(); len(p) > 0; {
			n, err := unix.Pwrite(fd, p, off)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return err
			}
			p, off = p[n:], off+int64(n)
		}
	}
	return nil
}

// dress gives a file its attributes; xattrs before the mode, which may forbid
// them, and the time last.
func (c *copier) dress(fd int, t fileTask, xattrs []catalog.Xattr) error {
	if err := c.setXattrs(fd, t.path, xattrs); err != nil {
		return err
	}
	path := t.dir.path + "/" + t.name
	if err := unix.Fchmod(fd, uint32(t.entry.Mode)); err != nil {
		return pathError("chmod", path, err)
	}
	return setTime(fd, path, t.entry)
}
