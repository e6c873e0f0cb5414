package fs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// act does what a question asks for.
func act(q question, r *reply) (err error) {
	switch q.Op {
	case "tid":
		r.N = int64(unix.Gettid())
	case "readmany":
		return readMany(q)
	case "stat":
		return unix.Lstat(q.Path, &r.Stat)
	case "statfs":
		return unix.Statfs(q.Path, &r.Statfs)
	case "readlink":
		r.Text, err = os.Readlink(q.Path)
	case "cat":
		r.Data, err = os.ReadFile(q.Path)
	case "sum":
		r.N, err = catAll(q.Path, q.N)
	case "random":
		return random(q)
	case "absent":
		for i := range q.N {
			var st unix.Stat_t
			if err := unix.Lstat(fmt.Sprintf("%s/absent%d.%d", q.Path, q.Off, i), &st); err != unix.ENOENT {
				return err
			}
		}
	case "read":
		r.Data, err = readAt(q)
	case "mmap":
		r.Data, err = mapped(q.Path)
	case "list":
		r.Names, err = list(q.Path, q.Off, q.N)
	case "getxattr":
		b := make([]byte, 64<<10)
		var n int
		n, err = unix.Lgetxattr(q.Path, q.Name, b)
		r.Data = b[:max(n, 0)]
	case "getxattr-size":
		var n int
		n, err = unix.Lgetxattr(q.Path, q.Name, nil)
		r.N = int64(n)
	case "getxattr-short":
		_, err = unix.Lgetxattr(q.Path, q.Name, make([]byte, 1))
	case "listxattr":
		b := make([]byte, 64<<10)
		var n int
		n, err = unix.Llistxattr(q.Path, b)
		r.Text = string(b[:max(n, 0)])
	case "seek":
		f, err := os.Open(q.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		r.N, err = unix.Seek(int(f.Fd()), q.Off, q.N)
		return err
	case "write":
		return write(q)
	case "access":
		return unix.Access(q.Path, uint32(q.N))
	case "open": // and keep open
		_, err = unix.Open(q.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	case "chdir":
		return unix.Chdir(q.Path)
	case "keepmapped":
		f, err := os.Open(q.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
		return err
	case "handle":
	case "walk":
		r.N, err = walk(q.Path)
	default:
		return fmt.Errorf("unknown op %q", q.Op)
	}
	return err
}

// readAt reads with one pread(2), without the Go runtime's retries.
func readAt(q question) ([]byte, error) {
	flags := unix.O_RDONLY | unix.O_CLOEXEC
	if q.Direct {
		flags |= unix.O_DIRECT
	}
	fd, err := unix.Open(q.Path, flags, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b, err := unix.Mmap(-1, 0, max(q.N, 4096), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
	if err != nil {
		return nil, err
	}
	n, err := unix.Pread(fd, b[:q.N], q.Off)
	if err != nil {
		return nil, err
	}
	return b[:n], nil
}

// random reads 4 KiB q.N times from places all over the file, past the
// kernel's cache.
func random(q question) error {
	fd, err := unix.Open(q.Path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(b)
	for i := range q.N {
		at := int64(i) * 7919 % (q.Off / 4096) * 4096
		if _, err := unix.Pread(fd, b, at); err != nil {
			return err
		}
	}
	return nil
}

// catAll reads a file that the kernel has nothing of, in pieces of n bytes,
// and returns how many there were.
func catAll(path string, n int) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return 0, err
	}
	b := make([]byte, n)
	var total int64
	for {
		n, err := f.Read(b)
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// readMany reads the first byte of q.N files, of each in a thread of its own.
func readMany(q question) error {
	errs := make(chan error, q.N)
	for i := range q.N {
		go func() {
			_, err := readAt(question{Path: fmt.Sprintf("%s/%05d", q.Path, i), N: int(max(1, q.Off)), Direct: q.Direct})
			errs <- err
		}()
	}
	var first error
	for range q.N {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

func mapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	defer unix.Munmap(b)
	return bytes.Clone(b), nil
}

// list lists a directory from a position on, at most n names (0: all).
func list(path string, off int64, n int) ([]dirent, error) {
	var all []dirent
	err := eachName(path, off, func(d dirent) (bool, error) {
		all = append(all, d)
		return len(all) != n, nil
	})
	return all, err
}

// eachName calls fn for what getdents(2) returns, until it returns false.
func eachName(path string, off int64, fn func(dirent) (bool, error)) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if off > 0 {
		if _, err := unix.Seek(fd, off, io.SeekStart); err != nil {
			return err
		}
	}
	buf := make([]byte, 32<<10)
	for {
		got, err := unix.Getdents(fd, buf)
		if err != nil || got == 0 {
			return err
		}
		for b := buf[:got]; len(b) > 0; {
			d := (*unix.Dirent)(unsafe.Pointer(&b[0]))
			name := b[unsafe.Offsetof(d.Name):d.Reclen]
			name, _, _ = bytes.Cut(name, []byte{0})
			if more, err := fn(dirent{string(name), d.Ino, d.Off, d.Type}); !more || err != nil {
				return err
			}
			b = b[d.Reclen:]
		}
	}
}

// walk stats everything below path, each name as soon as it is read, as
// ls -lR does, and counts.
func walk(path string) (int64, error) {
	var total int64
	var dirs []string
	err := eachName(path, 0, func(d dirent) (bool, error) {
		if d.Name == "." || d.Name == ".." {
			return true, nil
		}
		total++
		var st unix.Stat_t
		if err := unix.Lstat(path+"/"+d.Name, &st); err != nil {
			return false, err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			dirs = append(dirs, path+"/"+d.Name)
		}
		return true, nil
	})
	for _, d := range dirs {
		if err != nil {
			break
		}
		var n int64
		n, err = walk(d)
		total += n
	}
	return total, err
}

// write tries one of the ways of changing something, by name.
func write(q question) error {
	var err error
	switch q.Name {
	case "create":
		_, err = unix.Open(q.Path, unix.O_CREAT|unix.O_WRONLY, 0o644)
	case "open for writing":
		_, err = unix.Open(q.Path, unix.O_RDWR, 0)
	case "truncate":
		err = unix.Truncate(q.Path, 0)
	case "unlink":
		err = unix.Unlink(q.Path)
	case "mkdir":
		err = unix.Mkdir(q.Path+".new", 0o755)
	case "rename":
		err = unix.Rename(q.Path, q.Path+".new")
	case "chmod":
		err = unix.Chmod(q.Path, 0)
	case "utimes":
		err = unix.Utimes(q.Path, []unix.Timeval{{}, {}})
	case "setxattr":
		err = unix.Setxattr(q.Path, "user.x", nil, 0)
	case "symlink":
		err = unix.Symlink("x", q.Path+".new")
	case "link":
		err = unix.Link(q.Path, q.Path+".new")
	default:
		return fmt.Errorf("no way of writing called %q", q.Name)
	}
	return err
}

// names returns a listing without "." and "..".
func names(ds []dirent) string {
	var all []string
	for _, d := range ds {
		if d.Name != "." && d.Name != ".." {
			all = append(all, d.Name)
		}
	}
	return strings.Join(all, " ")
}
