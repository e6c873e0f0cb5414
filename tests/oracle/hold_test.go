package oracle

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hold opens something into a slot and leaves it open, across whatever else
// happens to the tree, caches dropped included.
func (d *drawer) hold() operation {
	i := d.rng.IntN(len(d.held))
	p := d.path(pick(d.rng, []uint32{unix.S_IFREG, unix.S_IFREG, unix.S_IFDIR}))
	flags := pick(d.rng, []int{unix.O_RDONLY, unix.O_RDONLY, unix.O_RDONLY, unix.O_PATH})
	d.held[i] = p
	return operation{
		what: fmt.Sprintf("slot %d = open(%q, %#x)", i, p, flags),
		do: func(s *side) answer {
			if s.held[i] >= 0 {
				unix.Close(s.held[i])
			}
			fd, err := unix.Open(s.path(p), flags|unix.O_CLOEXEC, 0)
			s.held[i] = fd // -1 after an error
			return outcome(err)
		},
	}
}

// useHeld does something with what a slot holds.
func (d *drawer) useHeld() operation {
	i := d.rng.IntN(len(d.held))
	off, n, buffer, count := d.offset(blob), d.length(), d.buffer(), 1+d.rng.IntN(200)
	name := d.bend(".")
	var what string
	var do func(fd int) answer
	switch d.rng.IntN(8) {
	case 0:
		what, do = fmt.Sprintf("pread %d bytes at %d", n, off), func(fd int) answer {
			b := make([]byte, n)
			n, err := unix.Pread(fd, b, off)
			return got(b, n, err)
		}
	case 1, 2:
		what, do = fmt.Sprintf("read on %d bytes", n), func(fd int) answer {
			b := make([]byte, n)
			n, err := unix.Read(fd, b)
			return got(b, n, err)
		}
	case 3, 4:
		what, do = fmt.Sprintf("list on %d names, buffer of %d", count, buffer), func(fd int) answer {
			all, _, err := names(fd, buffer, count)
			if err != nil {
				return failed(err)
			}
			return listing(all)
		}
	case 5:
		what, do = "rewind", func(fd int) answer {
			at, err := unix.Seek(fd, 0, unix.SEEK_SET)
			return say("%d %v", at, err)
		}
	case 6:
		what, do = "fstat", func(fd int) answer {
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				return failed(err)
			}
			return answer{text: about(&st)}
		}
	default:
		what, do = fmt.Sprintf("fstatat(%q)", name), func(fd int) answer {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return failed(err)
			}
			return answer{text: about(&st)}
		}
	}
	return operation{
		what: fmt.Sprintf("slot %d (%q): %s", i, d.held[i], what),
		do:   func(s *side) answer { return do(s.held[i]) },
	}
}
