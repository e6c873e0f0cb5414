package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A view is a directory that shows a set: a mount, or the set itself.
type view struct {
	dir     string
	mount   func(ctx context.Context) (*process, error) // nil: there is nothing to mount; the process is nil if the kernel serves
	caches  []string                                    // directories that hold what was read
	remote  []*process                                  // where the data is
	fetched func(ctx context.Context) (int64, error)    // bytes, since it was mounted; nil: not known

	server *process
}

// up mounts.
func (v *view) up(ctx context.Context) (err error) {
	if v.mount == nil {
		return nil
	}
	for _, dir := range append(v.caches, v.dir) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if v.server, err = v.mount(ctx); err != nil || v.server == nil {
		return err
	}
	return v.server.until(ctx, "mount", func() bool { return mounted(v.dir) })
}

// close unmounts, and waits until the process behind it has ended.
func (v *view) close() error {
	if v.mount == nil {
		return nil
	}
	var err error
	if mounted(v.dir) {
		err = unmount(v.dir)
	}
	if v.server != nil {
		err = errors.Join(err, v.server.wait())
		v.server = nil
	}
	return err
}

// forget mounts again, with empty caches.
func (v *view) forget(ctx context.Context) error {
	if err := v.close(); err != nil {
		return err
	}
	for _, dir := range v.caches {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return v.up(ctx)
}

func mounted(dir string) bool {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == dir {
			return true
		}
	}
	return false
}

// unmount waits for readers that have just ended.
func unmount(dir string) (err error) {
	for range 200 {
		if err = unix.Unmount(dir, 0); err != unix.EBUSY {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		unix.Unmount(dir, unix.MNT_DETACH)
		return fmt.Errorf("unmounting %s: %w", filepath.Base(dir), err)
	}
	return nil
}

// dropCaches makes the kernel forget what it read. What is not yet on the disk
// it would keep.
func (b *bench) dropCaches() error {
	fd, err := unix.Open(b.scratch, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = unix.Syncfs(fd)
	unix.Close(fd)
	if err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}
