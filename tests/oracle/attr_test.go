package oracle

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// about is what stat(2) says that does not depend on the file system.
func about(st *unix.Stat_t) string {
	out := fmt.Sprintf("mode %o, rdev %d, mtime %v, atime %v, ctime %v", st.Mode, st.Rdev, st.Mtim, st.Atim, st.Ctim)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		out += fmt.Sprintf(", size %d, links %d", st.Size, st.Nlink)
	}
	return out
}

func (d *drawer) stat() operation {
	p, how := d.path(0), pick(d.rng, []string{"lstat", "stat", "fstat"})
	return operation{
		what: fmt.Sprintf("%s(%q)", how, p),
		do: func(s *side) answer {
			var st unix.Stat_t
			var err error
			switch how {
			case "lstat":
				err = unix.Lstat(s.path(p), &st)
			case "stat":
				err = unix.Stat(s.path(p), &st)
			default:
				return s.opened(p, unix.O_PATH, func(fd int) answer {
					if err := unix.Fstat(fd, &st); err != nil {
						return failed(err)
					}
					return answer{text: about(&st)}
				})
			}
			if err != nil {
				return failed(err)
			}
			return answer{text: about(&st)}
		},
	}
}

func (d *drawer) statx() operation {
	p := d.path(0)
	flags := pick(d.rng, []int{0, unix.AT_SYMLINK_NOFOLLOW, unix.AT_STATX_FORCE_SYNC, unix.AT_STATX_DONT_SYNC, unix.AT_SYMLINK_NOFOLLOW | unix.AT_STATX_FORCE_SYNC})
	return operation{
		what: fmt.Sprintf("statx(%q, %#x)", p, flags),
		do: func(s *side) answer {
			var st unix.Statx_t
			if err := unix.Statx(unix.AT_FDCWD, s.path(p), flags, unix.STATX_BASIC_STATS, &st); err != nil {
				return failed(err)
			}
			out := fmt.Sprintf("mask %#x, mode %o, mtime %v, atime %v, ctime %v", st.Mask&unix.STATX_BASIC_STATS&^unix.STATX_ATIME, st.Mode, st.Mtime, st.Atime, st.Ctime)
			if st.Mode&unix.S_IFMT != unix.S_IFDIR {
				out += fmt.Sprintf(", size %d, links %d", st.Size, st.Nlink)
			}
			return answer{text: out}
		},
	}
}

func (d *drawer) statfs() operation {
	p := d.path(0)
	return operation{
		what: fmt.Sprintf("statfs(%q)", p),
		do: func(s *side) answer {
			var st unix.Statfs_t
			if err := unix.Statfs(s.path(p), &st); err != nil {
				return failed(err)
			}
			return say("names of %d bytes, read-only %v", st.Namelen, st.Flags&unix.ST_RDONLY != 0)
		},
	}
}

func (d *drawer) access() operation {
	p, mode := d.path(0), uint32(d.rng.IntN(9)) // 8 is no mode
	flags := pick(d.rng, []int{0, 0, unix.AT_EACCESS, unix.AT_SYMLINK_NOFOLLOW})
	return operation{
		what: fmt.Sprintf("access(%q, %d, %#x)", p, mode, flags),
		do:   func(s *side) answer { return outcome(unix.Faccessat(unix.AT_FDCWD, s.path(p), mode, flags)) },
	}
}

func (d *drawer) readlink() operation {
	p, room := d.path(0), pick(d.rng, []int{1, 10, page, page})
	if !d.one(3) {
		p = "links/" + pick(d.rng, []string{"relative", "up", "absolute", "gone", "loop", "odd", "long", "longest", "chain3", "sub", "slash"})
	}
	return operation{
		what: fmt.Sprintf("readlink(%q, room for %d)", p, room),
		do: func(s *side) answer {
			b := make([]byte, room)
			n, err := unix.Readlink(s.path(p), b)
			return got(b, n, err)
		},
	}
}

var xattrNames = []string{
	"user.colour", "user.void", "user.long", "user.attribute.0", "user.attribute.29", "user.absent", "user.\xff\xfe\n", "user.top",
	"user." + strings.Repeat("n", 250), "user." + strings.Repeat("n", 251), "user.", "nonsense", "",
}

func (d *drawer) xattrPath() string {
	if d.one(3) {
		return d.path(0)
	}
	return "xattrs" + pick(d.rng, []string{"", "/none", "/one", "/empty", "/long", "/many", "/odd", "/dir"})
}

func (d *drawer) getxattr() operation {
	p, name, room, follow := d.xattrPath(), pick(d.rng, xattrNames), pick(d.rng, []int{0, 1, 3, 64 << 10, 64 << 10}), d.one(2)
	get := unix.Lgetxattr
	if follow {
		get = unix.Getxattr
	}
	return operation{
		what: fmt.Sprintf("getxattr(%q, %q, room for %d, follow %v)", p, name, room, follow),
		do: func(s *side) answer {
			b := make([]byte, room)
			n, err := get(s.path(p), name, b)
			if room == 0 {
				return say("%d %v", n, err)
			}
			return got(b, n, err)
		},
	}
}

func (d *drawer) listxattr() operation {
	p, room, follow := d.xattrPath(), pick(d.rng, []int{0, 5, 64 << 10, 64 << 10}), d.one(2)
	list := unix.Llistxattr
	if follow {
		list = unix.Listxattr
	}
	return operation{
		what: fmt.Sprintf("listxattr(%q, room for %d, follow %v)", p, room, follow),
		do: func(s *side) answer {
			b := make([]byte, room)
			n, err := list(s.path(p), b)
			if err != nil || room == 0 {
				return say("%d %v", n, err)
			}
			all := bytes.Split(b[:n], []byte{0})
			slices.SortFunc(all, bytes.Compare)
			return answer{fmt.Sprint(n), bytes.Join(all, []byte{0})}
		},
	}
}

// seek seeks by what every file system answers alike.
func (d *drawer) seek() operation {
	t := d.file()
	off, whence := d.offset(t.size), d.rng.IntN(3)
	if d.one(3) {
		off = -off
	}
	return operation{
		what: fmt.Sprintf("lseek(%q, %d, %d)", t.path, off, whence),
		do: func(s *side) answer {
			return s.opened(t.path, unix.O_RDONLY, func(fd int) answer {
				at, err := unix.Seek(fd, off, whence)
				return say("%d %v", at, err)
			})
		},
	}
}
