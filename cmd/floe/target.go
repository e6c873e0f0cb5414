package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/catalog"
)

// A targetDir is an open directory that is being copied into. It gets its
// mode and time when the last one lets go of it.
type targetDir struct {
	fd      int
	path    string // for messages
	below   string // path below the top of the copy
	dataset string // path within the dataset
	parent  *targetDir
	entry   *catalog.Entry // nil: a directory that is not ours to change
	xattrs  []catalog.Xattr
	fresh   bool // it was made by this copy, so nothing is in the way
	holds   atomic.Int64
}

func (d *targetDir) hold() { d.holds.Add(1) }

func (d *targetDir) release(c *copier) {
	for d != nil && d.holds.Add(-1) == 0 {
		if err := d.finish(c); err != nil {
			c.fail(d.dataset, err)
		}
		unix.Close(d.fd)
		d = d.parent // which was held by this one
	}
}

// finish gives the directory what it should have.
func (d *targetDir) finish(c *copier) error {
	if d.entry == nil {
		return nil
	}
	if err := c.setXattrs(d.fd, d.dataset, d.xattrs); err != nil {
		return err
	}
	if err := unix.Fchmod(d.fd, uint32(d.entry.Mode)); err != nil {
		return pathError("chmod", d.path, err)
	}
	return setTime(d.fd, d.path, *d.entry)
}

// enter makes the directory a name in d stands for, or opens the one there is.
func (d *targetDir) enter(name string, e catalog.Entry) (*targetDir, error) {
	path := d.path + "/" + name
	made := unix.Mkdirat(d.fd, name, 0o700)
	if made != nil && made != unix.EEXIST {
		return nil, pathError("mkdir", path, made)
	}
	open := func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	fd, err := open()
	if err == unix.EACCES { // an earlier copy has made it unreadable
		if unix.Fchmodat(d.fd, name, 0o700, unix.AT_SYMLINK_NOFOLLOW) == nil {
			fd, err = open()
		}
	}
	if err == unix.ELOOP || err == unix.ENOTDIR {
		return nil, fmt.Errorf("%s is in the way: it is not a directory", path)
	}
	if err == nil {
		if err = unix.Fchmod(fd, 0o700); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, pathError("open", path, err)
	}
	d.hold()
	sub := &targetDir{fd: fd, path: path, below: join(d.below, name), parent: d, entry: &e, fresh: made == nil}
	sub.holds.Store(1)
	return sub, nil
}

// symlink makes a symlink, in the place of what is there.
func (d *targetDir) symlink(name string, e catalog.Entry) error {
	path := d.path + "/" + name
	old := make([]byte, catalog.MaxTarget+1)
	if n, err := unix.Readlinkat(d.fd, name, old); err != nil || string(old[:n]) != e.Target {
		temp := tempName()
		if err := unix.Symlinkat(e.Target, d.fd, temp); err != nil {
			return pathError("symlink", path, err)
		}
		if err := d.rename(temp, name); err != nil {
			return err
		}
	}
	err := unix.UtimesNanoAt(d.fd, name, times(e), unix.AT_SYMLINK_NOFOLLOW)
	return pathError("utimes", path, err)
}

// link makes name another name of the file at path below top.
func (d *targetDir) link(name string, top *targetDir, path string) error {
	dir, base, err := top.beneath(path)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var a, b unix.Stat_t
	if unix.Fstatat(d.fd, name, &a, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstatat(dir, base, &b, unix.AT_SYMLINK_NOFOLLOW) == nil && a.Dev == b.Dev && a.Ino == b.Ino {
		return nil // a rename would do nothing and leave both names
	}
	temp := tempName()
	if err := unix.Linkat(dir, base, d.fd, temp, 0); err != nil {
		return err
	}
	return d.rename(temp, name)
}

// beneath opens the directory that holds what path names below d, without
// following symlinks.
func (d *targetDir) beneath(path string) (dir int, base string, err error) {
	dir, err = unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0)
	for err == nil {
		first, rest, more := strings.Cut(path, "/")
		if !more {
			return dir, first, nil
		}
		up := dir
		dir, err = unix.Openat(up, first, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		unix.Close(up)
		path = rest
	}
	return -1, "", err
}

// rename gives a temporary file its name. A directory in the way is an error.
func (d *targetDir) rename(temp, name string) error {
	err := unix.Renameat(d.fd, temp, d.fd, name)
	if err == nil {
		return nil
	}
	unix.Unlinkat(d.fd, temp, 0)
	if err == unix.EISDIR || err == unix.EEXIST || err == unix.ENOTEMPTY {
		return fmt.Errorf("%s/%s is in the way: it is a directory", d.path, name)
	}
	return pathError("rename", d.path+"/"+name, err)
}

// tempPrefix begins the names of files that are not whole yet.
const tempPrefix = ".floe-cp-"

func tempName() string {
	var b [8]byte
	rand.Read(b[:])
	return tempPrefix + hex.EncodeToString(b[:])
}

// checkTargetName refuses what is no plain name.
func checkTargetName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%w: %q is no name for a file", catalog.ErrMalformed, name)
	}
	return nil
}

// setXattrs sets attributes. A file system that cannot keep them is told of
// once.
func (c *copier) setXattrs(fd int, path string, xattrs []catalog.Xattr) error {
	for _, x := range xattrs {
		err := unix.Fsetxattr(fd, x.Name, x.Value, 0)
		if err == unix.EACCES { // a mode that an earlier copy has set
			var st unix.Stat_t
			if unix.Fstat(fd, &st) == nil && unix.Fchmod(fd, st.Mode&0o777|0o600) == nil {
				err = unix.Fsetxattr(fd, x.Name, x.Value, 0)
			}
		}
		switch err {
		case nil:
		case unix.EOPNOTSUPP, unix.E2BIG, unix.ENOSPC, unix.ERANGE:
			if !c.xattrsTold.Swap(true) {
				c.show.say("floe: extended attributes are lost, the first on %s: %v", orTop(path), err)
			}
			return nil
		default:
			return fmt.Errorf("setting %s: %w", x.Name, err)
		}
	}
	return nil
}

func times(e catalog.Entry) []unix.Timespec {
	return []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: e.Sec, Nsec: int64(e.Nsec)}}
}

// setTime sets the time of an open file. The system call takes no path for
// that, which package unix does not know.
func setTime(fd int, path string, e catalog.Entry) error {
	ts := times(e)
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts[0])), 0, 0, 0)
	if errno != 0 {
		return pathError("utimes", path, errno)
	}
	return nil
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var e unix.Errno
	if errors.As(err, &e) {
		err = e
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
