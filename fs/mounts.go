package fs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A MountPoint is a mount as this process sees it.
type MountPoint struct {
	Dir    string // where
	Source string // of what: "floe#" and the first 8 characters of the dataset's id
	Type   string // of file system: fuse.floe
	Dev    string // MAJ:MIN, the same for all mounts of one file system
	ID     int    // of this mount, as in /proc/PID/fdinfo
}

func (m MountPoint) isFloe() bool { return m.Type == "fuse.floe" }

// Mounts returns the floe mounts that this process sees, in the order in which
// they were mounted.
func Mounts() ([]MountPoint, error) {
	all, err := readMounts()
	if err != nil {
		return nil, err
	}
	var ours []MountPoint
	for _, m := range all {
		if m.isFloe() {
			ours = append(ours, m)
		}
	}
	return ours, nil
}

// readMounts reads the list of mounts, which asks no file system anything.
func readMounts() ([]MountPoint, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	defer f.Close()
	var all []MountPoint
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if m, ok := parseMount(sc.Text()); ok {
			all = append(all, m)
		}
	}
	return all, sc.Err()
}

// parseMount parses a line of mountinfo:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMount(line string) (m MountPoint, ok bool) {
	before, after, ok := strings.Cut(line, " - ")
	f, g := strings.Fields(before), strings.Fields(after)
	if !ok || len(f) < 6 || len(g) < 2 {
		return m, false
	}
	m = MountPoint{Dir: unescape(f[4]), Source: unescape(g[1]), Type: g[0], Dev: f[2]}
	_, err := fmt.Sscan(f[0], &m.ID)
	return m, err == nil
}

// unescape undoes what the kernel does to blanks and backslashes: \040.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			var c byte
			if _, err := fmt.Sscanf(s[i+1:i+4], "%03o", &c); err == nil {
				b.WriteByte(c)
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// topMount returns what is mounted on dir, the topmost if there is more.
func topMount(dir string) (top MountPoint, ok bool) {
	all, _ := readMounts()
	for _, m := range all {
		if m.Dir == dir {
			top, ok = m, true
		}
	}
	return top, ok
}

// mountedOn reports whether dev is mounted on dir at all.
func mountedOn(dir, dev string) bool {
	all, _ := readMounts()
	for _, m := range all {
		if m.Dir == dir && m.Dev == dev {
			return true
		}
	}
	return false
}

// Unmount unmounts the floe mount on dir, whoever serves it; see
// [Server.Unmount] about lazy and [*BusyError].
func Unmount(dir string, lazy bool) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	m, ok := topMount(abs)
	if !ok { // by way of a symlink, perhaps
		if real, err := filepath.EvalSymlinks(abs); err == nil {
			m, ok = topMount(real)
		} else if real, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
			m, ok = topMount(filepath.Join(real, filepath.Base(abs)))
		}
	}
	switch {
	case !ok:
		return fmt.Errorf("unmounting %s: nothing is mounted there", dir)
	case !m.isFloe():
		return fmt.Errorf("unmounting %s: %s (%s) is mounted there, which is not floe's", dir, m.Source, m.Type)
	}
	return unmount(m, lazy)
}

// unmount unmounts m, the topmost mount on its directory. A mount that nobody
// is found to hold may be busy with what has just been closed.
func unmount(m MountPoint, lazy bool) error {
	for try := 0; ; try++ {
		err := unmountOnce(m, lazy)
		if busy, ok := err.(*BusyError); !ok || len(busy.Holders) > 0 || try == 5 {
			return err
		}
		time.Sleep(time.Millisecond << (2 * try))
	}
}

func unmountOnce(m MountPoint, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	err := unix.Unmount(m.Dir, flags)
	if err == unix.EPERM && os.Geteuid() != 0 {
		err = unmountByHelper(m.Dir, lazy)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		return &BusyError{m.Dir, holders(m)}
	}
	return fmt.Errorf("unmounting %s: %w", m.Dir, err)
}

// unmountByHelper unmounts what fusermount3 has mounted for an ordinary user.
func unmountByHelper(dir string, lazy bool) error {
	bin, err := fusermount()
	if err != nil {
		return err
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	out, err := exec.Command(bin, append(args, "--", dir)...).CombinedOutput()
	if err == nil {
		return nil
	}
	if strings.Contains(string(out), "busy") {
		return unix.EBUSY
	}
	return helperError(string(out), err)
}
