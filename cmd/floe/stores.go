package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/node/dir"
)

func (e *env) defaultStore() string {
	path := filepath.Join(e.places().data, "store")
	if other := e.otherData(); other != "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if other = filepath.Join(other, "store"); isDir(other) {
				return other
			}
		}
	}
	return path
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// storeURL is how a store in a directory is written.
func storeURL(path string) string { return "dir:" + path }

// A storeLock keeps those who add blobs to a store and those who remove blobs
// from it apart: what one leaves out because it is there already, the other
// must not take away.
type storeLock struct{ f *os.File }

// lockStore locks a store, for one process if exclusive is set, else for any
// number. It does not wait.
func lockStore(s *dir.Store, exclusive bool) (storeLock, error) {
	how, who := unix.LOCK_SH, "rm is removing from"
	if exclusive {
		how, who = unix.LOCK_EX, "put or rm is at work in"
	}
	f, err := os.Open(filepath.Join(s.Path(), "floe-store"))
	if err != nil {
		return storeLock{}, err
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		err = exitWith(exitBusy, fmt.Errorf("another floe %s the store %s: try again when it is done", who, s.Path()))
	}
	if err != nil {
		f.Close()
		return storeLock{}, err
	}
	return storeLock{f}, nil
}

func (l storeLock) release() { l.f.Close() }

// sameFS reports whether two paths lie on one file system. What does not exist
// yet counts as its nearest parent that does.
func sameFS(a, b string) bool {
	x, ok := device(a)
	y, ok2 := device(b)
	return ok && ok2 && x == y
}

func device(path string) (dev uint64, ok bool) {
	for {
		var st unix.Stat_t
		err := unix.Stat(path, &st)
		if err == nil {
			return uint64(st.Dev), true
		}
		up := filepath.Dir(path)
		if err != unix.ENOENT || up == path {
			return 0, false
		}
		path = up
	}
}
