package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/catalog"
)

// maxDepth is how far below the top readers follow an entry; a directory there
// could hold nothing.
const maxDepth = 2048

// A found is what a walk has found: the items, and how many links files have
// that have several in the dataset.
type found struct {
	*spool
	links map[uint64]uint32 // by the number of the first
}

// A walker is the first step.
type walker struct {
	*run
	*cursor
	out    *spool
	number uint64           // of the latest entry
	links  map[inode]*links // of files with several
	avoid  map[inode]bool

	denied []string // paths that may not be read, the first of them
	more   int      // others
}

// An inode names a file, whatever its names.
type inode struct{ dev, ino uint64 }

// links are the names of one file.
type links struct {
	first uint64 // number of the first
	count uint32
	stamp stamp
}

// walk lists everything below root in pre-order, names sorted bytewise. It
// also opens every file, so that one that cannot be read is known before
// anything is stored.
func (r *run) walk(root *cursor) (*found, error) {
	r.progress.Step = Walking
	out, err := newSpool(r.TempDir)
	if err != nil {
		return nil, err
	}
	w := &walker{run: r, cursor: root, out: out, links: make(map[inode]*links), avoid: inodes(r.Avoid)}
	err = w.top()
	if err == nil {
		err = w.permitted()
	}
	if err == nil {
		err = out.rewind()
	}
	if err != nil {
		out.close()
		return nil, err
	}
	f := &found{spool: out, links: make(map[uint64]uint32)}
	for _, l := range w.links {
		if l.count > 1 {
			f.links[l.first] = l.count
		}
	}
	return f, nil
}

// keptDenied is how many paths that may not be read are named.
const keptDenied = 10

// refused notes that an entry may not be read, so that the user learns of all
// of them at once. Another err is returned, as fail has it.
func (w *walker) refused(what, name string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return w.fail(what, name, err)
	}
	if len(w.denied) < keptDenied {
		w.denied = append(w.denied, w.path(name))
	} else {
		w.more++
	}
	return nil
}

// permitted returns the error of a walk on which something was refused.
func (w *walker) permitted() error {
	if len(w.denied) == 0 {
		return nil
	}
	paths := strings.Join(w.denied, ", ")
	if w.more > 0 {
		paths += fmt.Sprintf(" and %d more", w.more)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreadable, paths, fs.ErrPermission)
}

// inodes returns what some paths name now. Those that name nothing cannot
// turn up.
func inodes(paths []string) map[inode]bool {
	m := make(map[inode]bool)
	for _, p := range paths {
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil {
			m[inode{st.Dev, st.Ino}] = true
		}
	}
	return m
}

// top lists the published directory itself and what it holds.
func (w *walker) top() error {
	st, err := w.stat()
	if err != nil {
		return w.fail("reading", "", err)
	}
	return w.dir("", &st)
}

// dir lists the directory the cursor is in.
func (w *walker) dir(name string, st *unix.Stat_t) error {
	w.number++
	it := w.item(name, catalog.Dir, st)
	if err := w.xattrs(it, w.at().fd); err != nil {
		return w.fail("reading attributes of", "", err)
	}
	if err := w.out.add(it); err != nil {
		return err
	}
	names, err := w.names()
	if err != nil {
		return w.fail("listing", "", err)
	}
	slices.Sort(names)
	for _, n := range names {
		if err := w.ctx.Err(); err != nil {
			return context.Cause(w.ctx)
		}
		if err := w.entry(n); err != nil {
			return err
		}
	}
	return w.out.add(&item{end: true})
}

// entry lists one entry of the directory the cursor is in, with all it holds.
func (w *walker) entry(name string) error {
	st, err := w.lstat(name)
	if err != nil {
		return w.refused("reading", name, err)
	}
	if w.leaveOut(name, &st) {
		return nil
	}
	w.progress.Entries++
	w.progress.tick(func() string { return w.path(name) })
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return w.subdir(name, &st)
	case unix.S_IFLNK:
		return w.symlink(name, &st)
	default:
		return w.file(name, &st)
	}
}

// leaveOut reports, also to the user, whether an entry is left out.
func (w *walker) leaveOut(name string, st *unix.Stat_t) bool {
	kind, detail := Kind(""), ""
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case w.avoid[inode{st.Dev, st.Ino}]:
		kind = Avoided
	case w.match.Match(name, isDir, func() string { return w.path(name) }):
		kind = Excluded
	case w.OneFileSystem && st.Dev != w.way[0].dev:
		kind = OtherFS
	case isDir && w.depth() >= maxDepth-1:
		kind, detail = TooDeep, fmt.Sprintf("below %d others", maxDepth-1)
	default:
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
			return false
		case unix.S_IFBLK, unix.S_IFCHR:
			kind = Device
		case unix.S_IFIFO:
			kind = Fifo
		case unix.S_IFSOCK:
			kind = Socket
		default:
			kind = OtherType
		}
	}
	w.res.Notices.add(kind, w.path(name), detail)
	return true
}

func (w *walker) subdir(name string, seen *unix.Stat_t) error {
	if err := w.enter(name); err != nil {
		return w.refused("opening", name, err)
	}
	st, err := w.stat()
	if err != nil {
		return w.fail("reading", "", err)
	}
	if st.Dev != seen.Dev || st.Ino != seen.Ino {
		// Something was mounted there, perhaps by our looking at it.
		if err := w.left(name); err != nil {
			return err
		}
		if w.leaveOut(name, &st) {
			return nil
		}
		return w.subdir(name, &st)
	}
	w.res.Dirs++
	if err := w.dir(name, &st); err != nil {
		return err
	}
	return w.left(name)
}

// left moves the cursor out of a directory called name.
func (c *cursor) left(name string) error {
	if err := c.leave(); err != nil {
		return c.fail("leaving", name, err)
	}
	return nil
}

func (w *walker) symlink(name string, st *unix.Stat_t) error {
	target, err := w.readlink(name)
	if err != nil {
		return w.fail("reading", name, err)
	}
	w.number++
	w.res.Symlinks++
	it := w.item(name, catalog.Symlink, st)
	it.entry.Size, it.entry.Mode, it.entry.Target = 0, catalog.MaxMode, target
	return w.out.add(it)
}

func (w *walker) file(name string, st *unix.Stat_t) error {
	fd, err := w.openat(name, fileFlags)
	if err != nil {
		return w.refused("opening", name, err)
	}
	defer unix.Close(fd)
	var now unix.Stat_t
	if _, err := retry(func() (int, error) { return 0, unix.Fstat(fd, &now) }); err != nil {
		return w.fail("reading", name, err)
	}
	if stampOf(&now) != stampOf(st) || now.Mode != st.Mode {
		return w.fail("reading", name, ErrChanged)
	}
	w.number++
	it := w.item(name, catalog.File, st)
	if err := w.xattrs(it, fd); err != nil {
		return w.fail("reading attributes of", name, err)
	}
	if st.Nlink > 1 {
		key := inode{st.Dev, st.Ino}
		l := w.links[key]
		if l == nil {
			l = &links{first: w.number, stamp: it.stamp}
			w.links[key] = l
		}
		if l.stamp != it.stamp {
			return w.fail("reading", name, ErrChanged)
		}
		l.count++
		it.entry.First = l.first
	}
	w.res.Files++
	w.res.Bytes += uint64(st.Size)
	w.progress.Files++
	w.progress.Bytes += uint64(st.Size)
	return w.out.add(it)
}

// item returns what a stat says of an entry.
func (w *walker) item(name string, t catalog.Type, st *unix.Stat_t) *item {
	it := &item{stamp: stampOf(st)}
	it.entry = catalog.Entry{
		Name: name, Type: t, Mode: uint16(st.Mode & catalog.MaxMode),
		Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec), Links: 1,
	}
	if t == catalog.File {
		it.entry.Size = st.Size
	}
	path := func() string {
		if t == catalog.Dir {
			return w.path("") // the cursor is in it
		}
		return w.path(name)
	}
	if bits := st.Mode & (unix.S_ISUID | unix.S_ISGID | unix.S_ISVTX); bits != 0 && t != catalog.Symlink {
		w.res.Notices.add(Special, path(), fmt.Sprintf("mode %04o", st.Mode&0o7777))
	}
	if sec := min(max(st.Mtim.Sec, -catalog.MaxTime), catalog.MaxTime); sec != st.Mtim.Sec {
		it.entry.Sec, it.entry.Nsec = sec, 0
		w.res.Notices.add(TimeMoved, path(), fmt.Sprintf("%d seconds since 1970", st.Mtim.Sec))
	}
	return it
}

// stampOf returns the stamp of what was stated.
func stampOf(st *unix.Stat_t) stamp {
	return stamp{
		Dev: st.Dev, Ino: st.Ino, Size: st.Size,
		Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec), CSec: st.Ctim.Sec, CNsec: uint32(st.Ctim.Nsec),
	}
}
