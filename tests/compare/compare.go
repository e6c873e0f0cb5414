// Package compare compares two directory trees, every byte and attribute.
package compare

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Result is what was compared, and what differs.
type Result struct {
	Dirs, Files, Symlinks int
	Bytes                 int64
	Differences           []string
}

// Trees compares the tree at got with the one at want: names, types,
// permissions, sizes, times, link targets, hard links, user xattrs and bytes.
// Owners and directory sizes are the file system's own affair.
func Trees(want, got string) (Result, error) {
	c := comparer{want: want, got: got, links: map[[2]uint64]uint64{}}
	c.g.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	err := c.dir(".")
	if e := c.g.Wait(); err == nil {
		err = e
	}
	slices.Sort(c.r.Differences)
	return c.r, err
}

type comparer struct {
	want, got string
	g         errgroup.Group
	links     map[[2]uint64]uint64 // dev and inode in want to inode in got

	mu sync.Mutex // guards r
	r  Result
}

func (c *comparer) differ(rel, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r.Differences = append(c.r.Differences, fmt.Sprintf("%q: %s", rel, fmt.Sprintf(format, args...)))
}

func (c *comparer) dir(rel string) error {
	names := func(top string) ([]string, error) {
		d, err := os.Open(filepath.Join(top, rel))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		n, err := d.Readdirnames(-1)
		slices.Sort(n)
		return n, err
	}
	want, err := names(c.want)
	if err != nil {
		return err
	}
	got, err := names(c.got)
	if err != nil {
		return err
	}
	if !slices.Equal(want, got) {
		c.differ(rel, "holds %d names, want %d; %v", len(got), len(want), firstDifference(want, got))
	}
	for _, n := range want {
		if err := c.entry(filepath.Join(rel, n)); err != nil {
			return err
		}
	}
	return c.attributes(rel)
}

func firstDifference(want, got []string) string {
	for _, n := range want {
		if _, ok := slices.BinarySearch(got, n); !ok {
			return fmt.Sprintf("%q is missing", n)
		}
	}
	for _, n := range got {
		if _, ok := slices.BinarySearch(want, n); !ok {
			return fmt.Sprintf("%q is too many", n)
		}
	}
	return "in another order"
}

func (c *comparer) entry(rel string) error {
	fi, err := os.Lstat(filepath.Join(c.want, rel))
	if err != nil {
		return err
	}
	switch fi.Mode().Type() {
	case fs.ModeDir:
		c.r.Dirs++
		return c.dir(rel)
	case fs.ModeSymlink:
		c.r.Symlinks++
		a, err := os.Readlink(filepath.Join(c.want, rel))
		if err != nil {
			return err
		}
		if b, err := os.Readlink(filepath.Join(c.got, rel)); err != nil || a != b {
			c.differ(rel, "leads to %q (%v), want %q", b, err, a)
		}
		return c.attributes(rel)
	case 0:
		c.r.Files++
		if err := c.attributes(rel); err != nil {
			return err
		}
		c.g.Go(func() error { return c.content(rel) })
	}
	return nil // what a dataset cannot hold is put's affair
}

func (c *comparer) attributes(rel string) error {
	var a, b syscall.Stat_t
	if err := syscall.Lstat(filepath.Join(c.want, rel), &a); err != nil {
		return err
	}
	if err := syscall.Lstat(filepath.Join(c.got, rel), &b); err != nil {
		c.differ(rel, "%v", err)
		return nil
	}
	const perm = syscall.S_IFMT | 0o777
	if a.Mode&perm != b.Mode&perm {
		c.differ(rel, "mode %o, want %o", b.Mode, a.Mode&perm)
	}
	if a.Mtim != b.Mtim {
		c.differ(rel, "time %v, want %v", b.Mtim, a.Mtim)
	}
	switch a.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		return nil
	case syscall.S_IFREG:
		if a.Size != b.Size {
			c.differ(rel, "%d bytes, want %d", b.Size, a.Size)
		}
		if a.Nlink > 1 {
			key := [2]uint64{a.Dev, a.Ino}
			if ino, seen := c.links[key]; !seen {
				c.links[key] = b.Ino
			} else if ino != b.Ino {
				c.differ(rel, "inode %d, its other links have %d", b.Ino, ino)
			}
		}
	}
	return c.xattrs(rel)
}

func (c *comparer) xattrs(rel string) error {
	a := userXattrs(filepath.Join(c.want, rel))
	b := userXattrs(filepath.Join(c.got, rel))
	for n, v := range a {
		if b[n] != v {
			c.differ(rel, "xattr %s is %q, want %q", n, b[n], v)
		}
	}
	if len(a) != len(b) {
		c.differ(rel, "%d xattrs, want %d", len(b), len(a))
	}
	return nil
}

func userXattrs(path string) map[string]string {
	out := map[string]string{}
	if n, err := unix.Llistxattr(path, nil); err != nil || n == 0 {
		return out // as most files do: without a buffer
	}
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return out
	}
	for name := range bytes.SplitSeq(buf[:n], []byte{0}) {
		if bytes.HasPrefix(name, []byte("user.")) {
			val := make([]byte, 64<<10)
			if k, err := unix.Lgetxattr(path, string(name), val); err == nil {
				out[string(name)] = string(val[:k])
			}
		}
	}
	return out
}

var buffers = sync.Pool{New: func() any { return new([2][256 << 10]byte) }}

func (c *comparer) content(rel string) error {
	a, err := os.Open(filepath.Join(c.want, rel))
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(filepath.Join(c.got, rel))
	if err != nil {
		c.differ(rel, "%v", err)
		return nil
	}
	defer b.Close()
	bufs := buffers.Get().(*[2][256 << 10]byte)
	defer buffers.Put(bufs)
	bufA, bufB := bufs[0][:], bufs[1][:]
	var off int64
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if errB != nil && errB != io.EOF && errB != io.ErrUnexpectedEOF {
			c.differ(rel, "at %d: %v", off, errB)
			return nil
		}
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			c.differ(rel, "bytes differ between %d and %d", off, off+int64(n))
			return nil
		}
		off += int64(n)
		if errA != nil {
			break
		}
	}
	c.mu.Lock()
	c.r.Bytes += off
	c.mu.Unlock()
	return nil
}
