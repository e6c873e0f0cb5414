package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mountpoint resolves dir and makes sure that it can be mounted on: that it is
// a directory and not one that floe serves already. Mounts there whose server
// has died are detached.
func mountpoint(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for range 16 { // mounts can lie over one another
		real, err := filepath.EvalSymlinks(abs)
		if errors.Is(err, unix.ENOTCONN) { // a dead mount cannot even be looked at
			real, err = filepath.EvalSymlinks(filepath.Dir(abs))
			real = filepath.Join(real, filepath.Base(abs))
		}
		if err != nil {
			return "", fmt.Errorf("mountpoint: %w", err)
		}
		m, ok := topMount(real)
		if !ok || !m.isFloe() {
			fi, err := os.Stat(real)
			switch {
			case errors.Is(err, unix.ENOTCONN):
				return "", fmt.Errorf("mountpoint %s: the server of %s, mounted there, is gone: unmount it first (umount -l %[1]s)", real, m.Source)
			case err != nil:
				return "", fmt.Errorf("mountpoint: %w", err)
			case !fi.IsDir():
				return "", fmt.Errorf("mountpoint %s is not a directory", real)
			}
			return real, nil
		}
		if served(real) {
			return "", fmt.Errorf("mountpoint %s is busy: %s is mounted there already", real, m.Source)
		}
		if err := unmount(m, true); err != nil {
			return "", fmt.Errorf("clearing away a mount whose server is gone: %w", err)
		}
	}
	return "", fmt.Errorf("mountpoint %s: too many dead mounts over one another", abs)
}

// served reports whether somebody serves the floe mount at dir. It asks for
// statfs: unlike attributes, the kernel does not answer it by itself, and a
// server answers it from memory. One that takes longer is alive, if unwell.
func served(dir string) bool {
	dead := make(chan bool, 1) // sent to once; the goroutine may outlast us if the server hangs
	go func() {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		dead <- err == unix.ENOTCONN || err == unix.ECONNABORTED
	}()
	select {
	case d := <-dead:
		return !d
	case <-time.After(5 * time.Second):
		return true
	}
}

// mount mounts an unserved FUSE file system on dir and returns the descriptor
// to serve it by.
func mount(dir, source string, o *Options) (fd int, err error) {
	if os.Geteuid() == 0 {
		fd, err = mountDirectly(dir, source, o)
	} else {
		fd, err = mountByHelper(dir, source, o)
	}
	if err != nil {
		return -1, fmt.Errorf("mounting on %s: %w", dir, err)
	}
	return fd, nil
}

// mountFlags are the options of mount(8) that mount(2) takes as flags.
var mountFlags = map[string]uintptr{
	"noexec": unix.MS_NOEXEC, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noatime": unix.MS_NOATIME,
	"nodiratime": unix.MS_NODIRATIME, "nosymfollow": unix.MS_NOSYMFOLLOW, "sync": unix.MS_SYNCHRONOUS, "dirsync": unix.MS_DIRSYNC,
	"ro": unix.MS_RDONLY, "exec": 0, "defaults": 0,
}

// mountDirectly mounts with mount(2), as root.
func mountDirectly(dir, source string, o *Options) (int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENODEV, unix.ENXIO:
		return -1, fmt.Errorf("/dev/fuse: %w: this kernel has no FUSE, or its module is not loaded (modprobe fuse); a container needs --device /dev/fuse", err)
	default:
		return -1, fmt.Errorf("/dev/fuse: %w", err)
	}
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME)
	data := []string{
		fmt.Sprintf("fd=%d", fd), "rootmode=40000",
		fmt.Sprintf("user_id=%d", os.Geteuid()), fmt.Sprintf("group_id=%d", os.Getegid()),
	}
	for _, opt := range options(o) {
		if f, ok := mountFlags[opt]; ok {
			flags |= f
		} else {
			data = append(data, opt)
		}
	}
	err = unix.Mount(source, dir, "fuse.floe", flags, strings.Join(data, ","))
	if err != nil {
		unix.Close(fd)
	}
	switch err {
	case nil:
		return fd, nil
	case unix.EPERM:
		return -1, fmt.Errorf("%w: mounting takes the capability CAP_SYS_ADMIN (a container: --cap-add SYS_ADMIN)", err)
	case unix.EINVAL:
		return -1, fmt.Errorf("%w: the kernel refuses the options %q", err, strings.Join(data[4:], ","))
	}
	return -1, err
}

// options returns the mount options that both ways of mounting share.
func options(o *Options) []string {
	opts := []string{"default_permissions", fmt.Sprintf("max_read=%d", maxRead)}
	if o.AllowOther {
		opts = append(opts, "allow_other")
	}
	for _, x := range o.Extra {
		for _, opt := range strings.Split(x, ",") {
			if opt != "" && opt != "default_permissions" && (opt != "allow_other" || !o.AllowOther) {
				opts = append(opts, opt)
			}
		}
	}
	return opts
}

// mountByHelper has fusermount3, which is setuid root, mount for an ordinary
// user. It sends the descriptor over a socket whose number it finds in its
// environment.
func mountByHelper(dir, source string, o *Options) (int, error) {
	bin, err := fusermount()
	if err != nil {
		return -1, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "fusermount"), os.NewFile(uintptr(pair[1]), "fusermount")
	defer ours.Close()
	opts := append([]string{"ro", "nosuid", "nodev", "noatime", "fsname=" + source, "subtype=floe"}, options(o)...)
	cmd := exec.Command(bin, "-o", strings.Join(opts, ","), "--", dir)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Run()
	theirs.Close()
	if err != nil {
		return -1, helperError(said.String(), err)
	}
	return receiveFD(pair[0])
}

// receiveFD takes a descriptor from a socket.
func receiveFD(sock int) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(sock, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("receiving the descriptor from fusermount3: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err == nil && len(msgs) == 1 {
		if fds, err := unix.ParseUnixRights(&msgs[0]); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, errors.New("fusermount3 sent no descriptor")
}

// fusermount finds the helper.
func fusermount() (string, error) {
	for _, name := range []string{"fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3"} {
		if bin, err := exec.LookPath(name); err == nil {
			return bin, nil
		}
	}
	return "", errors.New("fusermount3 not found: without root, mounting takes it; install the package fuse3 (apt install fuse3, dnf install fuse3)")
}

// helperError turns what fusermount3 said into an error.
func helperError(said string, err error) error {
	said = strings.TrimSpace(said)
	if said == "" {
		return fmt.Errorf("fusermount3: %w", err)
	}
	if strings.Contains(said, "user_allow_other") {
		return fmt.Errorf("%s (root can allow it: put the line user_allow_other into /etc/fuse.conf)", said)
	}
	return errors.New(said)
}

// dup returns a descriptor of f's file that os.File knows nothing of.
func dup(f *os.File) (int, error) {
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// setReadAhead has the kernel read ahead kb KiB on the file system dev
// (MAJ:MIN) and returns how far it does now. It goes by /sys and asks the
// mount nothing. The kernel takes no such wish in the handshake, and sizes
// READ requests by it.
func setReadAhead(dev string, kb int) (int, error) {
	file := "/sys/class/bdi/" + dev + "/read_ahead_kb"
	werr := os.WriteFile(file, fmt.Appendf(nil, "%d\n", kb), 0)
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, errors.Join(werr, err)
	}
	var got int
	if _, err := fmt.Sscan(string(b), &got); err != nil {
		return 0, errors.Join(werr, err)
	}
	if got < kb && werr == nil {
		werr = fmt.Errorf("the kernel reads ahead %d KiB, not %d", got, kb)
	}
	return got, werr
}

// detach takes a mount that was never served out of the tree, as well as it can.
func detach(dir string) {
	if m, ok := topMount(dir); ok && m.isFloe() {
		unmount(m, true)
	}
}
