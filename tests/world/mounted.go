package world

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// CompareMounted is Compare through a mount at dir, by another process's
// server. direct reads around the kernel's cache.
func (t Tree) CompareMounted(dir string, it *Item, off, n int, direct bool) error {
	at := filepath.Join(dir, it.Path)
	if err := it.sameMounted(at); err != nil {
		return err
	}
	switch {
	case it.Dir:
		return t.compareMountedDir(at, it)
	case it.Target != "":
		return nil
	}
	flag := os.O_RDONLY
	if direct {
		flag |= unix.O_DIRECT
	}
	f, err := os.OpenFile(at, flag, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	got := make([]byte, n)
	if _, err := f.ReadAt(got, int64(off)); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: %q ends early", ErrWrong, it.Path)
		}
		return err
	}
	return it.SameBytes(got, off)
}

func (t Tree) compareMountedDir(at string, it *Item) error {
	d, err := os.Open(at)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	if want := t.Below(it.Path); !slices.Equal(names, want) {
		return fmt.Errorf("%w: a listing of %q has %d names, want %d", ErrWrong, it.Path, len(names), len(want))
	}
	return nil
}

// sameMounted compares what stat(2) and readlink(2) say with the item.
func (it *Item) sameMounted(at string) error {
	var st unix.Stat_t
	if err := unix.Lstat(at, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: at, Err: err}
	}
	kind := uint32(unix.S_IFREG)
	switch {
	case it.Dir:
		kind = unix.S_IFDIR
	case it.Target != "":
		kind = unix.S_IFLNK
	}
	if st.Mode&unix.S_IFMT != kind {
		return fmt.Errorf("%w: %q is of type %o", ErrWrong, it.Path, st.Mode)
	}
	if it.Target != "" {
		got, err := os.Readlink(at)
		if err == nil && got != it.Target {
			err = fmt.Errorf("%w: %q leads to %q", ErrWrong, it.Path, got)
		}
		if err != nil {
			return err
		}
	}
	if uint16(st.Mode&0o7777) != it.Mode || st.Mtim.Sec != it.Time.Unix() || int(st.Mtim.Nsec) != it.Time.Nanosecond() {
		return fmt.Errorf("%w: %q has mode %o and time %v", ErrWrong, it.Path, st.Mode, st.Mtim)
	}
	if kind == unix.S_IFREG && st.Size != int64(len(it.Data)) {
		return fmt.Errorf("%w: %q has %d bytes, want %d", ErrWrong, it.Path, st.Size, len(it.Data))
	}
	return nil
}

// NeedMount skips a test where nothing can be mounted.
func NeedMount(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounting in tests takes root")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skip("SKIPPED: nothing can be mounted here: ", err)
	}
	f.Close()
}
