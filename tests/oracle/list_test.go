package oracle

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A dirent is one entry of a listing.
type dirent struct {
	name string
	ino  uint64
	next int64 // position behind it
	kind byte
}

// isDot reports whether an entry is "." or "..", which file systems list
// where they like.
func (e dirent) isDot() bool { return e.name == "." || e.name == ".." }

// dirents parses what getdents(2) returned.
func dirents(b []byte) []dirent {
	var all []dirent
	for len(b) > 0 {
		d := (*unix.Dirent)(unsafe.Pointer(&b[0]))
		name, _, _ := bytes.Cut(b[unsafe.Offsetof(d.Name):d.Reclen], []byte{0})
		all = append(all, dirent{string(name), d.Ino, d.Off, d.Type})
		b = b[d.Reclen:]
	}
	return all
}

// names lists up to n entries (all: -1) other than "." and ".." from the
// descriptor's position on, by getdents(2) with a buffer of that size, and
// leaves the position behind the last of them. dots says which of "." and
// ".." came by.
func names(fd, buffer, n int) (all []dirent, dots string, err error) {
	b := make([]byte, buffer)
	for {
		got, err := unix.Getdents(fd, b)
		if err != nil || got == 0 {
			return all, dots, err
		}
		for _, e := range dirents(b[:got]) {
			if e.isDot() {
				dots += e.name + " "
				continue
			}
			all = append(all, e)
			if len(all) == n {
				_, err := unix.Seek(fd, e.next, unix.SEEK_SET)
				return all, dots, err
			}
		}
	}
}

// listing is the answer of a listing: names and types, in the order in which
// they came. Both file systems sort them bytewise.
func listing(all []dirent) answer {
	var b bytes.Buffer
	for _, e := range all {
		fmt.Fprintf(&b, "%q %d\n", e.name, e.kind)
	}
	return answer{fmt.Sprintf("%d names", len(all)), b.Bytes()}
}

// buffer returns a buffer size for getdents(2) that has room for any name.
func (d *drawer) buffer() int {
	return pick(d.rng, []int{280, 300, 512, page, 32 << 10, 1 << 20})
}

func (d *drawer) list() operation {
	p, buffer := d.path(unix.S_IFDIR), d.buffer()
	if d.one(20) {
		buffer = 1 + d.rng.IntN(23) // too small for any name
	}
	return operation{
		what: fmt.Sprintf("list(%q, buffer of %d)", p, buffer),
		do: func(s *side) answer {
			return s.opened(p, unix.O_RDONLY|unix.O_DIRECTORY, func(fd int) answer {
				all, dots, err := names(fd, buffer, -1)
				if err != nil {
					return failed(err)
				}
				a := listing(all)
				d := strings.Fields(dots)
				slices.Sort(d)
				a.text += fmt.Sprint(" and ", d)
				return a
			})
		},
	}
}

// listParts reads some of a directory, goes back to where it was or to the
// start, and reads on, perhaps by another descriptor.
func (d *drawer) listParts() operation {
	p, buffer := d.path(unix.S_IFDIR), d.buffer()
	first, second, third := 1+d.rng.IntN(40), 1+d.rng.IntN(400), 1+d.rng.IntN(400)
	how := pick(d.rng, []string{"go back", "rewind", "reopen", "go on"})
	at := d.rng.IntN(first)
	return operation{
		what: fmt.Sprintf("list(%q, buffer of %d, %d names, then %d; %s behind name %d, then %d)", p, buffer, first, second, how, at, third),
		do: func(s *side) answer {
			return s.opened(p, unix.O_RDONLY|unix.O_DIRECTORY, func(fd int) answer {
				one, _, err := names(fd, buffer, first)
				if err != nil {
					return failed(err)
				}
				two, _, err := names(fd, buffer, second)
				if err != nil {
					return failed(err)
				}
				var back int64
				if len(one) > at {
					back = one[at].next
				}
				switch how {
				case "go back":
					_, err = unix.Seek(fd, back, unix.SEEK_SET)
				case "rewind":
					_, err = unix.Seek(fd, 0, unix.SEEK_SET)
				case "reopen":
					return s.opened(p, unix.O_RDONLY, func(fd int) answer {
						if _, err := unix.Seek(fd, back, unix.SEEK_SET); err != nil {
							return failed(err)
						}
						three, _, err := names(fd, buffer, third)
						if err != nil {
							return failed(err)
						}
						return listing(slices.Concat(one, two, three))
					})
				}
				if err != nil {
					return failed(err)
				}
				three, _, err := names(fd, buffer, third)
				if err != nil {
					return failed(err)
				}
				return listing(slices.Concat(one, two, three))
			})
		},
	}
}

// numbers compares the inode numbers of a listing with those of lstat(2).
func (d *drawer) numbers() operation {
	dir := d.dir().path
	skip := d.rng.IntN(300)
	return operation{
		what: fmt.Sprintf("inode numbers in %q, from name %d on", dir, skip),
		do: func(s *side) answer {
			return s.opened(dir, unix.O_RDONLY|unix.O_DIRECTORY, func(fd int) answer {
				if _, _, err := names(fd, page, skip+1); err != nil {
					return failed(err)
				}
				all, _, err := names(fd, page, 20)
				if err != nil {
					return failed(err)
				}
				out := "the same by both ways"
				for _, e := range all {
					var st unix.Stat_t
					if err := unix.Lstat(s.path(dir+"/"+e.name), &st); err != nil {
						out += fmt.Sprintf("; %q: %v", e.name, err)
					} else if st.Ino != e.ino || st.Ino == 0 {
						out += fmt.Sprintf("; %q: getdents says %d, lstat %d", e.name, e.ino, st.Ino)
					}
				}
				return answer{text: out}
			})
		},
		want: func(source *side) answer { return d.numbersOf(source, dir) },
	}
}

// numbersOf is what numbers must answer: whether the directory can be read,
// and its names be looked up, its modes say.
func (d *drawer) numbersOf(source *side, dir string) answer {
	return source.opened(dir, unix.O_RDONLY|unix.O_DIRECTORY, func(fd int) answer {
		if unix.Access(source.path(dir), unix.X_OK) != nil {
			return answer{text: anything}
		}
		return answer{text: "the same by both ways"}
	})
}
