package oracle

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/merkle"
)

// Some things differ between any two file systems, or only a dataset has
// them. They are compared with the directory that was put, or with what the
// format says of it.

// anything is the answer when nothing is promised.
const anything = "anything"

// A thing is a path of the tree, and what is there.
type thing struct {
	path string // below the top; "." for the top
	kind uint32 // S_IFREG, S_IFDIR or S_IFLNK
	size int64
	ino  uint64
}

// A truth is what the source holds, as the format sees it.
type truth struct {
	uid   int               // who asks
	sums  map[string]string // of files: BLAKE3 in hex
	zeros map[string][]bool // of files with holes: which MiB are one
	full  map[string]bool   // directories with something in them
}

// survey lists everything below top, the top first, and reads every file.
func survey(top string) ([]thing, *truth, error) {
	var all []thing
	tr := &truth{sums: map[string]string{}, zeros: map[string][]bool{}, full: map[string]bool{}}
	err := filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel := "."
		if path != top {
			rel = path[len(top)+1:]
			tr.full[filepath.Dir(rel)] = true
		}
		t := thing{rel, st.Mode & unix.S_IFMT, st.Size, st.Ino}
		all = append(all, t)
		if t.kind == unix.S_IFREG {
			return tr.read(path, rel)
		}
		return nil
	})
	return all, tr, err
}

var zeroSegment = make([]byte, segment)

func (tr *truth) read(path, rel string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	tr.sums[rel] = merkle.Blake3(data).String()
	var zeros []bool
	any := false
	for ; len(data) >= segment; data = data[segment:] { // a hole is whole
		z := bytes.Equal(data[:segment], zeroSegment)
		zeros = append(zeros, z)
		any = any || z
	}
	if any {
		tr.zeros[rel] = zeros
	}
	return nil
}

// stored returns how many bytes of a file are not in holes.
func (tr *truth) stored(rel string, size int64) int64 {
	for _, z := range tr.zeros[rel] {
		if z {
			size -= segment
		}
	}
	return size
}

// find is lseek(2) with SEEK_HOLE or SEEK_DATA.
func (tr *truth) find(rel string, size, off int64, hole bool) (int64, error) {
	if off < 0 || off >= size {
		return -1, unix.ENXIO
	}
	for ; off < size; off = (off/segment + 1) * segment {
		i := int(off / segment)
		if z := tr.zeros[rel]; (i < len(z) && z[i]) == hole {
			return off, nil
		}
	}
	if hole {
		return size, nil
	}
	return -1, unix.ENXIO
}

// dataOrHole seeks data and holes. Where the source has holes that are none
// to the format, the format says what to expect.
func (d *drawer) dataOrHole() operation {
	t, whence := d.file(), pick(d.rng, []int{unix.SEEK_DATA, unix.SEEK_HOLE})
	for i := 0; i < 20 && !strings.HasPrefix(t.path, "sparse/") && !strings.HasPrefix(t.path, "ragged/"); i++ {
		t = d.file()
	}
	off := d.offset(t.size)
	seek := func(s *side) answer {
		return s.opened(t.path, unix.O_RDONLY, func(fd int) answer {
			at, err := unix.Seek(fd, off, whence)
			return say("%d %v", at, err)
		})
	}
	op := operation{what: fmt.Sprintf("lseek(%q, %d, %d)", t.path, off, whence), do: seek, want: seek}
	if strings.HasPrefix(t.path, "ragged/") {
		op.want = func(*side) answer {
			at, err := d.truth.find(t.path, t.size, off, whence == unix.SEEK_HOLE)
			return say("%d %v", at, err)
		}
	}
	return op
}

// blocks compares st_blocks with what is not in holes, and what a directory
// takes with whether there is anything in it.
func (d *drawer) blocks() operation {
	t := d.thing()
	return operation{
		what: fmt.Sprintf("blocks of %q", t.path),
		do: func(s *side) answer {
			var st unix.Stat_t
			if err := unix.Lstat(s.path(t.path), &st); err != nil {
				return failed(err)
			}
			if t.kind == unix.S_IFDIR {
				return say("empty %v, blocks as size %v", st.Size == 0, st.Blocks == (st.Size+511)/512)
			}
			return say("%d", st.Blocks)
		},
		want: func(s *side) answer {
			var st unix.Stat_t
			if err := unix.Lstat(s.path(t.path), &st); err != nil {
				return failed(err)
			}
			switch t.kind {
			case unix.S_IFDIR:
				return say("empty %v, blocks as size true", !d.truth.full[t.path])
			case unix.S_IFLNK:
				return say("0")
			}
			return say("%d", (d.truth.stored(t.path, t.size)+511)/512)
		},
	}
}

// owner compares owners and link counts; a directory has one link, which
// tells find(1) not to conclude anything.
func (d *drawer) owner() operation {
	t := d.thing()
	if d.one(3) {
		t = pick(d.rng, d.links)
	}
	show := func(s *side) answer {
		var st unix.Stat_t
		if err := unix.Lstat(s.path(t.path), &st); err != nil {
			return failed(err)
		}
		return say("uid %d, gid %d, links %d", st.Uid, st.Gid, st.Nlink)
	}
	return operation{
		what: fmt.Sprintf("owner and links of %q", t.path),
		do:   show,
		want: func(s *side) answer {
			a := show(s)
			if owner, _, ok := strings.Cut(a.text, "links"); ok && t.kind == unix.S_IFDIR {
				a.text = owner + "links 1"
			}
			return a
		},
	}
}

// sameFile compares whether two names are one file, and on one device.
func (d *drawer) sameFile() operation {
	a, b := pick(d.rng, d.links), pick(d.rng, d.links)
	if d.one(3) {
		b = d.thing()
	}
	same := func(s *side) answer {
		var sa, sb unix.Stat_t
		if err := unix.Lstat(s.path(a.path), &sa); err != nil {
			return failed(err)
		}
		if err := unix.Lstat(s.path(b.path), &sb); err != nil {
			return failed(err)
		}
		return say("same device %v, same inode %v", sa.Dev == sb.Dev, sa.Ino == sb.Ino)
	}
	return operation{what: fmt.Sprintf("whether %q is %q", a.path, b.path), do: same, want: same}
}

// otherXattrs asks for attributes that no dataset has. The mount says that it
// knows no such kind, so that ls asks once and not for every file.
func (d *drawer) otherXattrs() operation {
	p, name := d.thing().path, pick(d.rng, []string{"security.selinux", "security.capability", "system.posix_acl_access", "system.posix_acl_default", "trusted.x"})
	return operation{
		what: fmt.Sprintf("getxattr(%q, %q)", p, name),
		do: func(s *side) answer {
			n, err := unix.Lgetxattr(s.path(p), name, make([]byte, 100))
			return say("%d %v", n, err)
		},
		want: func(s *side) answer {
			var st unix.Stat_t
			if err := unix.Lstat(s.path(p), &st); err != nil {
				return say("-1 %v", err)
			}
			if d.truth.uid != 0 && strings.HasPrefix(name, "trusted.") {
				return say("-1 %v", unix.ENODATA) // the kernel hides all of them
			}
			return say("-1 %v", unix.EOPNOTSUPP)
		},
	}
}

// utmostNames looks at what has a name of 255 bytes.
func (d *drawer) utmostNames() operation {
	p, how := pick(d.rng, d.utmost).path, pick(d.rng, []string{"lstat", "read", "list", "readlink", "open for writing", "unlink"})
	if how == "open for writing" && d.truth.uid != 0 {
		how = "lstat" // the source is writable below its mount, and asks for rights first
	}
	if d.one(8) {
		p += pick(d.rng, []string{"x", "/", "/.."})
	}
	do := func(s *side) answer {
		switch how {
		case "read":
			return s.opened(p, unix.O_RDONLY, func(fd int) answer {
				b := make([]byte, segment)
				n, err := unix.Read(fd, b)
				return got(b, n, err)
			})
		case "list":
			return s.opened(p, unix.O_RDONLY|unix.O_DIRECTORY, func(fd int) answer {
				all, _, err := names(fd, page, -1)
				if err != nil {
					return failed(err)
				}
				slices.SortFunc(all, func(a, b dirent) int { return strings.Compare(a.name, b.name) })
				return listing(all)
			})
		case "readlink":
			b := make([]byte, page)
			n, err := unix.Readlink(s.path(p), b)
			return got(b, n, err)
		case "open for writing":
			return s.opened(p, unix.O_RDWR, func(int) answer { return say("it can be written") })
		case "unlink":
			return outcome(unix.Unlink(s.path(p)))
		}
		var st unix.Stat_t
		if err := unix.Lstat(s.path(p), &st); err != nil {
			return failed(err)
		}
		st.Atim, st.Ctim = unix.Timespec{}, unix.Timespec{}
		return answer{text: about(&st)}
	}
	return operation{what: fmt.Sprintf("%s of %q", how, p), do: do, want: do}
}

// b3 asks for the hash that b3sum prints.
func (d *drawer) b3() operation {
	t := d.file()
	return operation{
		what: fmt.Sprintf("getxattr(%q, user.floe.b3)", t.path),
		do: func(s *side) answer {
			b := make([]byte, 100)
			n, err := unix.Getxattr(s.path(t.path), "user.floe.b3", b)
			if err != nil {
				return failed(err)
			}
			return answer{text: string(b[:n])}
		},
		want: func(s *side) answer {
			return s.opened(t.path, unix.O_RDONLY, func(int) answer { return answer{text: d.truth.sums[t.path]} })
		},
	}
}

// pairInodes checks that inode numbers tell files apart on the mount just as
// they do in the source.
func pairInodes(w io.Writer, mount *side, all []thing) (differences int) {
	forth, back := map[uint64]uint64{}, map[uint64]string{}
	for _, t := range all {
		var st unix.Stat_t
		err := unix.Lstat(mount.path(t.path), &st)
		known, seen := forth[t.ino]
		other, taken := back[st.Ino]
		switch {
		case err != nil:
			fmt.Fprintf(w, "%q: %v\n", t.path, err)
		case seen && known != st.Ino:
			fmt.Fprintf(w, "%q has inode %d, another name of the file %d\n", t.path, st.Ino, known)
		case !seen && taken:
			fmt.Fprintf(w, "%q and %q both have inode %d\n", t.path, other, st.Ino)
		default:
			forth[t.ino], back[st.Ino] = st.Ino, t.path
			continue
		}
		differences++
	}
	return differences
}
