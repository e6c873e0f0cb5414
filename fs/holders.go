package fs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Holder is a process that keeps a mount from being unmounted.
type Holder struct {
	PID     int
	Command string // its name
	How     string // what it holds it by: cwd, root, exe, fd 3, mapped
	Path    string // of what it holds
}

func (h Holder) String() string {
	return fmt.Sprintf("%s (pid %d): %s %s", h.Command, h.PID, h.How, h.Path)
}

// A BusyError says that a mount is in use.
type BusyError struct {
	Dir     string
	Holders []Holder // those that could be found; other users' processes are not shown to all
}

func (e *BusyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is in use", e.Dir)
	for i, h := range e.Holders {
		if i == 5 {
			fmt.Fprintf(&b, ", and by %d more", len(e.Holders)-i)
			break
		}
		sep := ", by "
		if i == 0 {
			sep = " by "
		}
		b.WriteString(sep + h.String())
	}
	return b.String()
}

// Holders returns the processes that hold the mount on dir, ordered by PID,
// one line each.
func Holders(dir string) ([]Holder, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	m, ok := topMount(abs)
	if !ok {
		return nil, fmt.Errorf("nothing is mounted on %s", dir)
	}
	return holders(m), nil
}

// holders looks through /proc. It reads links and never follows them: that
// would be a question to the mount, which we may be the one to answer.
func holders(m MountPoint) []Holder {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []Holder
	for _, d := range dirs {
		if pid, err := strconv.Atoi(d.Name()); err == nil {
			if how, path := holdsBy(filepath.Join("/proc", d.Name()), m); how != "" {
				name, _ := os.ReadFile(filepath.Join("/proc", d.Name(), "comm"))
				all = append(all, Holder{pid, string(bytes.TrimSpace(name)), how, path})
			}
		}
	}
	slices.SortFunc(all, func(a, b Holder) int { return a.PID - b.PID })
	return all
}

// holdsBy returns the first thing by which a process holds m.
func holdsBy(proc string, m MountPoint) (how, path string) {
	below := func(p string) bool { return p == m.Dir || strings.HasPrefix(p, strings.TrimSuffix(m.Dir, "/")+"/") }
	for _, l := range []string{"cwd", "root", "exe"} {
		if p, err := os.Readlink(filepath.Join(proc, l)); err == nil && below(p) {
			return l, p
		}
	}
	fds, _ := os.ReadDir(filepath.Join(proc, "fd"))
	for _, fd := range fds {
		p, err := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		if err == nil && below(p) && onMount(filepath.Join(proc, "fdinfo", fd.Name()), m.ID) {
			return "fd " + fd.Name(), p
		}
	}
	maps, _ := os.ReadFile(filepath.Join(proc, "maps"))
	for line := range bytes.Lines(maps) {
		// 7f..-7f.. r--s 00000000 00:2f 12    /mnt/file
		f := strings.Fields(string(line))
		if len(f) >= 6 && sameDev(f[3], m.Dev) {
			p := strings.TrimSpace(string(line[bytes.Index(line, []byte(f[5])):]))
			if below(p) {
				return "mapped", p
			}
		}
	}
	return "", ""
}

// onMount reports whether a descriptor was opened by way of the mount id, and
// not by another of the same file system or in another namespace.
func onMount(fdinfo string, id int) bool {
	b, err := os.ReadFile(fdinfo)
	if err != nil {
		return false
	}
	_, after, ok := bytes.Cut(b, []byte("mnt_id:\t"))
	if !ok {
		return true
	}
	n, _, _ := bytes.Cut(after, []byte("\n"))
	return string(n) == strconv.Itoa(id)
}

// sameDev compares MAJ:MIN in hex, as in maps, with decimal, as in mountinfo.
func sameDev(hex, dec string) bool {
	var a, b, c, d uint32
	fmt.Sscanf(hex, "%x:%x", &a, &b)
	fmt.Sscanf(dec, "%d:%d", &c, &d)
	return a == c && b == d
}
