package cachestore

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Names in a cache directory.
const (
	markerName  = "floe-cache" // says that the directory is a cache
	versionName = "v1"         // what this version keeps; others lie beside it
	lockName    = "lock"
	indexName   = "index.db"
	badName     = "index.bad" // the last index that was given up
	socketName  = "socket"
	blobsName   = "blobs"
	metaName    = "meta"
	pinsName    = "pins"
)

const marker = "This directory is a cache of Floe (https://github.com/floefs/floe).\n" +
	"Everything in it can be deleted at any time; put nothing else here.\n"

// A dir is an open cache directory. Its files are opened relative to these
// descriptors, so it does not matter where the directory is moved to.
type dir struct {
	top, blobs, meta, pins *os.File
	lock                   *os.File // whoever has it locked owns the index
}

// openDir opens the cache in directory path, which it makes if there is none.
// It refuses a directory that holds anything but a cache.
func openDir(path string) (_ *dir, err error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	base, err := os.OpenFile(path, unix.O_DIRECTORY|os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	if err := claim(base, path); err != nil {
		return nil, err
	}
	d := &dir{}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.top, err = subdir(base, versionName); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		name string
		f    **os.File
	}{{blobsName, &d.blobs}, {metaName, &d.meta}, {pinsName, &d.pins}} {
		if *s.f, err = subdir(d.top, s.name); err != nil {
			return nil, err
		}
	}
	d.lock, err = openFile(d.top, lockName, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// deleted reports whether somebody has removed the directory, or what is
// needed of it.
func (d *dir) deleted() bool {
	for _, f := range []*os.File{d.top, d.blobs, d.meta, d.pins, d.lock} {
		if _, _, linked, err := allocated(f); err == nil && !linked {
			return true
		}
	}
	return false
}

// claim checks that base is a cache or empty, and makes it a cache.
func claim(base *os.File, path string) error {
	f, err := openFile(base, markerName, os.O_RDONLY)
	if err == nil {
		defer f.Close()
		head := make([]byte, len(marker))
		if n, _ := io.ReadFull(f, head); !bytes.HasPrefix([]byte(marker), head[:n]) {
			return fmt.Errorf("%s: file %s is not that of a cache", path, markerName)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: opening %s: %w", path, markerName, err)
	}
	names, err := readNames(base)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != "lost+found" && name != markerName {
			return fmt.Errorf("%s is not empty and not a cache: it holds %q", path, name)
		}
	}
	f, err = openFile(base, markerName, os.O_CREATE|os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteString(marker)
	return errors.Join(err, f.Close())
}

// subdir opens a directory below parent, which it makes if need be. It must
// belong to this user; nobody else may look into it.
func subdir(parent *os.File, name string) (*os.File, error) {
	if err := unix.Mkdirat(int(parent.Fd()), name, 0o700); err != nil && err != unix.EEXIST {
		return nil, &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	fd, err := unix.Openat(int(parent.Fd()), name, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && int(st.Uid) != os.Geteuid() {
		err = fmt.Errorf("belongs to user %d", st.Uid)
	}
	if err == nil && st.Mode&0o777 != 0o700 {
		err = unix.Fchmod(fd, 0o700)
	}
	if err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(parent.Name(), name)), nil
}

func (d *dir) close() {
	for _, f := range []*os.File{d.top, d.blobs, d.meta, d.pins, d.lock} {
		if f != nil {
			f.Close()
		}
	}
}

// errNotOurs says that something lies in the cache that it did not make.
var errNotOurs = errors.New("is not a file of the cache")

// openFile opens a file of parent: a regular one, with one name, of this
// user. It does not follow a symbolic link and does not wait for a fifo.
func openFile(parent *os.File, name string, flag int) (*os.File, error) {
	flag |= unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	var fd int
	err := at(parent, func(dir int) (err error) {
		fd, err = unix.Openat(dir, name, flag, 0o600)
		return err
	})
	switch err {
	case nil:
	case unix.ELOOP, unix.EISDIR, unix.ENXIO, unix.ENODEV:
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotOurs}
	default:
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if bad := checkFile(parent, fd, name); bad != nil {
		unix.Close(fd)
		if bad == unix.ENOENT && flag&os.O_CREATE != 0 {
			bad = errNotOurs // made, and removed at once; not a sign that parent is gone
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: bad}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// checkFile returns an error unless fd is a regular file of this user whose
// only name is name. Then it cannot be one from elsewhere.
func checkFile(parent *os.File, fd int, name string) error {
	var st, named unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	err := at(parent, func(dir int) error { return unix.Fstatat(dir, name, &named, unix.AT_SYMLINK_NOFOLLOW) })
	switch {
	case err != nil:
		return err
	case st.Ino != named.Ino || st.Dev != named.Dev || named.Nlink != 1 ||
		st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid():
		return errNotOurs
	}
	return unix.SetNonblock(fd, false)
}

// readNames returns the names in an open directory.
func readNames(d *os.File) ([]string, error) {
	// A descriptor of its own: reading moves the offset.
	var fd int
	err := at(d, func(dir int) (err error) {
		fd, err = unix.Openat(dir, ".", unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), d.Name())
	defer f.Close()
	return f.Readdirnames(-1)
}

// blobName is the name of a blob's data file.
func blobName(k Key) string { return hex.EncodeToString(k[:]) }

// parseName is the reverse of blobName; it accepts nothing else.
func parseName(name string) (k Key, ok bool) {
	if len(name) != 2*len(k) {
		return k, false
	}
	_, err := hex.Decode(k[:], []byte(name))
	return k, err == nil && blobName(k) == name
}

// allocated returns the bytes of disk a file takes, and whether it still has
// a name.
func allocated(f *os.File) (size, bytes int64, linked bool, err error) {
	var st unix.Stat_t
	err = at(f, func(fd int) error { return unix.Fstat(fd, &st) })
	return st.Size, st.Blocks * 512, st.Nlink > 0, err
}

// allocatedAt is allocated for a file that is not open.
func allocatedAt(parent *os.File, name string) (size, bytes int64, regular bool, err error) {
	var st unix.Stat_t
	err = at(parent, func(dir int) error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st.Size, st.Blocks * 512, st.Mode&unix.S_IFMT == unix.S_IFREG, err
}

// punch gives the disk space of [off, off+n) back.
func punch(f *os.File, off, n int64) error {
	return at(f, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// remove removes a file of parent; that there is none is no error.
func remove(parent *os.File, name string) error {
	err := at(parent, func(dir int) error { return unix.Unlinkat(dir, name, 0) })
	if err != nil && err != unix.ENOENT {
		return &fs.PathError{Op: "unlink", Path: name, Err: err}
	}
	return nil
}

// rename gives a file of parent another name.
func rename(parent *os.File, from, to string) error {
	err := at(parent, func(dir int) error { return unix.Renameat(dir, from, dir, to) })
	if err != nil {
		return &fs.PathError{Op: "rename", Path: from, Err: err}
	}
	return nil
}

// at calls fn with f's descriptor, which stays f's until fn returns even if
// f is closed meanwhile, and again after an interruption.
func at(f *os.File, fn func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	ctlErr := conn.Control(func(fd uintptr) {
		for err = fn(int(fd)); err == unix.EINTR; err = fn(int(fd)) {
		}
	})
	if ctlErr != nil {
		return os.ErrClosed
	}
	return err
}

// extent returns the first run of data in f at or after off; ok is false if
// there is none. On a file system without holes all of f is data.
func extent(f *os.File, off int64) (from, to int64, ok bool) {
	from, err := f.Seek(off, unix.SEEK_DATA)
	if err != nil {
		return 0, 0, false
	}
	to, err = f.Seek(from, unix.SEEK_HOLE)
	return from, to, err == nil && to > from
}

// space returns the size of d's file system and what is free of it.
func (d *dir) space() (size, free int64, err error) {
	var st unix.Statfs_t
	if err := at(d.top, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return 0, 0, err
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}

// quarantine puts the index aside, in the place of an earlier one.
func (d *dir) quarantine() {
	if err := rename(d.top, indexName, badName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		remove(d.top, indexName)
	}
}
