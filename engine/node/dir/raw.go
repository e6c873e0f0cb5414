package dir

import (
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// raw is a file that is opened for one read. An os.File would be offered to the
// runtime's poller first, which takes five more system calls.
type raw struct {
	fd   int
	size int64
}

// openRaw opens a file for reading, as openFile does.
func openRaw(path string) (raw, error) {
	failed := func(op string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	})
	if err != nil {
		return raw{}, failed("open", err)
	}
	f := raw{fd: fd}
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		f.close()
		return raw{}, failed("stat", err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		f.close()
		return raw{}, fmt.Errorf("%s is not a regular file", path)
	}
	f.size = st.Size
	return f, nil
}

// readAt fills p from off on; io.ErrUnexpectedEOF says that the file ends
// before that.
func (f raw) readAt(p []byte, off int64) error {
	for len(p) > 0 {
		n, err := retry(func() (int, error) { return unix.Pread(f.fd, p, off) })
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (f raw) close() { unix.Close(f.fd) }

// retry repeats a system call that a signal has interrupted.
func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != unix.EINTR {
			return n, err
		}
	}
}
