package oracle

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

var openFlags = []struct {
	name string
	bits int
}{
	{"O_WRONLY", unix.O_WRONLY}, {"O_RDWR", unix.O_RDWR}, {"O_CREAT", unix.O_CREAT}, {"O_EXCL", unix.O_EXCL}, {"O_TRUNC", unix.O_TRUNC},
	{"O_APPEND", unix.O_APPEND}, {"O_DIRECTORY", unix.O_DIRECTORY}, {"O_NOFOLLOW", unix.O_NOFOLLOW}, {"O_PATH", unix.O_PATH},
	{"O_NONBLOCK", unix.O_NONBLOCK}, {"O_NOATIME", unix.O_NOATIME}, {"O_SYNC", unix.O_SYNC}, {"O_TMPFILE", unix.O_TMPFILE},
} // not O_DIRECT, which the kernel refuses for directories of FUSE mounts

func (d *drawer) open() operation {
	p, flags, words := d.path(0), 0, []string{"O_RDONLY"}
	for d.one(2) {
		f := pick(d.rng, openFlags)
		flags |= f.bits
		words = append(words, f.name)
	}
	return operation{
		what: fmt.Sprintf("open(%q, %s)", p, strings.Join(words, "|")),
		do: func(s *side) answer {
			return s.opened(p, flags, func(fd int) answer {
				var st unix.Stat_t
				if err := unix.Fstat(fd, &st); err != nil {
					return failed(err)
				}
				now, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
				return say("%s, flags %#x %v", about(&st), now, err)
			})
		},
	}
}

// A change is a way to alter a tree, given a path in it and another.
type change struct {
	name string
	do   func(p, q string) error
}

var changes = []change{
	{"mkdir", func(p, _ string) error { return unix.Mkdir(p, 0o755) }},
	{"rmdir", func(p, _ string) error { return unix.Rmdir(p) }},
	{"unlink", func(p, _ string) error { return unix.Unlink(p) }},
	{"mknod", func(p, _ string) error { return unix.Mknod(p, unix.S_IFIFO|0o644, 0) }},
	{"rename", unix.Rename},
	{"rename, not replacing", func(p, q string) error {
		return unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_NOREPLACE)
	}},
	{"exchange", func(p, q string) error {
		return unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE)
	}},
	{"link", unix.Link},
	{"symlink", func(p, _ string) error { return unix.Symlink("target", p) }},
	{"chmod", func(p, _ string) error { return unix.Chmod(p, 0o777) }},
	{"chown", func(p, _ string) error { return unix.Chown(p, 0, 0) }},
	{"lchown", func(p, _ string) error { return unix.Lchown(p, 1, 1) }},
	{"utimes, now", func(p, _ string) error { return unix.UtimesNanoAt(unix.AT_FDCWD, p, nil, 0) }},
	{"utimes", func(p, _ string) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, make([]unix.Timespec, 2), unix.AT_SYMLINK_NOFOLLOW)
	}},
	{"truncate", func(p, _ string) error { return unix.Truncate(p, 0) }},
	{"truncate to a negative size", func(p, _ string) error { return unix.Truncate(p, -1) }},
	{"setxattr", func(p, _ string) error { return unix.Setxattr(p, "user.x", []byte("x"), 0) }},
	{"setxattr, create", func(p, _ string) error { return unix.Lsetxattr(p, "user.colour", nil, unix.XATTR_CREATE) }},
	{"setxattr of another kind", func(p, _ string) error { return unix.Setxattr(p, "trusted.x", []byte("x"), 0) }},
	{"removexattr", func(p, _ string) error { return unix.Lremovexattr(p, "user.colour") }},
	{"create", func(p, _ string) error { return creat(p, unix.O_CREAT|unix.O_WRONLY) }},
	{"create anew", func(p, _ string) error { return creat(p, unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY) }},
	{"create below", func(p, _ string) error { return creat(p+"/created", unix.O_CREAT|unix.O_RDWR) }},
	{"mkdir below", func(p, _ string) error { return unix.Mkdir(p+"/made", 0o755) }},
	{"write", func(p, _ string) error {
		return onOpen(p, func(fd int) error { _, err := unix.Write(fd, []byte("x")); return err })
	}},
	{"ftruncate", func(p, _ string) error { return onOpen(p, func(fd int) error { return unix.Ftruncate(fd, 0) }) }},
	{"fchmod", func(p, _ string) error { return onOpen(p, func(fd int) error { return unix.Fchmod(fd, 0o777) }) }},
	{"fsetxattr", func(p, _ string) error {
		return onOpen(p, func(fd int) error { return unix.Fsetxattr(fd, "user.x", nil, 0) })
	}},
	{"fallocate", func(p, _ string) error { return onOpen(p, func(fd int) error { return unix.Fallocate(fd, 0, 0, 10) }) }},
}

func creat(p string, flags int) error {
	fd, err := unix.Open(p, flags|unix.O_CLOEXEC, 0o644)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func onOpen(p string, do func(fd int) error) error {
	fd, err := unix.Open(p, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return do(fd)
}

// change tries to alter the tree. All there is around the trees is read-only
// as well, wherever a path leads.
func (d *drawer) change() operation {
	p, q, c := d.path(0), d.path(0), pick(d.rng, changes)
	if d.one(4) {
		q = p + ".new"
	}
	return operation{
		what: fmt.Sprintf("%s(%q, %q)", c.name, p, q),
		do:   func(s *side) answer { return outcome(c.do(s.path(p), s.path(q))) },
	}
}
