package publish

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// What can be wrong with a directory.
var (
	ErrChanged    = errors.New("changed while being read")
	ErrUnreadable = errors.New("no permission to read") // wrapped together with fs.ErrPermission
)

// keptOpen is how many directories on the way to a cursor stay open, so that
// trees deeper than there are descriptors can be walked.
const keptOpen = 64

// A cursor is a place in the directory being published. It moves by one name
// at a time and never through a symlink, so that a tree that changes under it
// cannot lead it outside, and no path is ever too long.
type cursor struct{ way []place } // from the published directory to where it is

// A place is a directory on the way.
type place struct {
	name     string
	fd       int // -1: closed, to be opened again on the way back
	dev, ino uint64
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC

// openRoot returns a cursor in dir, which may be a symlink.
func openRoot(dir string) (*cursor, error) {
	fd, err := retry(func() (int, error) { return unix.Open(dir, dirFlags, 0) })
	if err != nil {
		return nil, err
	}
	c := &cursor{way: []place{{fd: fd}}}
	st, err := c.stat()
	if err != nil {
		c.close()
		return nil, err
	}
	c.way[0].dev, c.way[0].ino = st.Dev, st.Ino
	return c, nil
}

// at returns where the cursor is.
func (c *cursor) at() *place { return &c.way[len(c.way)-1] }

// depth is 0 in the published directory.
func (c *cursor) depth() int { return len(c.way) - 1 }

// path returns the path of an entry here, from the published directory; of
// the directory itself for an empty name.
func (c *cursor) path(name string) string {
	var b strings.Builder
	for _, p := range c.way[1:] {
		b.WriteString(p.name)
		b.WriteByte('/')
	}
	b.WriteString(name)
	if name == "" {
		return strings.TrimSuffix(b.String(), "/")
	}
	return b.String()
}

// fail returns err with the path of an entry here, and of its class.
func (c *cursor) fail(what, name string, err error) error {
	path := c.path(name)
	if path == "" {
		path = "."
	}
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %s %s: %w", ErrUnreadable, what, path, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ESTALE), errors.Is(err, ErrChanged):
		// It was there, and what it was, a moment ago.
		return fmt.Errorf("%w: %s", ErrChanged, path)
	}
	return fmt.Errorf("%s %s: %w", what, path, err)
}

// enter moves into a directory.
func (c *cursor) enter(name string) error {
	fd, err := c.openat(name, dirFlags)
	if err != nil {
		return err
	}
	c.way = append(c.way, place{name: name, fd: fd})
	st, err := c.stat()
	if err != nil {
		unix.Close(fd)
		c.way = c.way[:len(c.way)-1]
		return err
	}
	c.at().dev, c.at().ino = st.Dev, st.Ino
	if i := len(c.way) - 1 - keptOpen; i > 0 {
		unix.Close(c.way[i].fd)
		c.way[i].fd = -1
	}
	return nil
}

// leave moves back to the directory above.
func (c *cursor) leave() error {
	here := c.at()
	if up := &c.way[len(c.way)-2]; up.fd < 0 {
		fd, err := c.openat("..", dirFlags)
		if err != nil {
			return err
		}
		up.fd = fd
		c.way = c.way[:len(c.way)-1]
		unix.Close(here.fd)
		st, err := c.stat()
		if err == nil && (st.Dev != up.dev || st.Ino != up.ino) {
			err = ErrChanged
		}
		return err
	}
	unix.Close(here.fd)
	c.way = c.way[:len(c.way)-1]
	return nil
}

// openat opens an entry here.
func (c *cursor) openat(name string, flags int) (int, error) {
	return retry(func() (int, error) { return unix.Openat(c.at().fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) })
}

// stat returns what the cursor is in.
func (c *cursor) stat() (st unix.Stat_t, err error) {
	_, err = retry(func() (int, error) { return 0, unix.Fstat(c.at().fd, &st) })
	return st, err
}

// lstat returns what an entry here is.
func (c *cursor) lstat(name string) (st unix.Stat_t, err error) {
	_, err = retry(func() (int, error) { return 0, unix.Fstatat(c.at().fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// readlink returns the target of a symlink here.
func (c *cursor) readlink(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := retry(func() (int, error) { return unix.Readlinkat(c.at().fd, name, buf) })
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// names returns the names in the directory the cursor is in, in no order. It
// works once for each time the directory is entered.
func (c *cursor) names() ([]string, error) {
	var names []string
	buf := make([]byte, 64<<10)
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(c.at().fd, buf) })
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// close forgets the way; the cursor is of no use afterwards.
func (c *cursor) close() {
	for _, p := range c.way {
		if p.fd >= 0 {
			unix.Close(p.fd)
		}
	}
	c.way = nil
}

// retry calls f again while a signal interrupts it, as the Go runtime's own
// may do on network file systems.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}
