package fs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is an ordinary user.
const nobody = 65534

// userMain is an ordinary user's process that mounts, tells how that went,
// and unmounts when its standard input ends.
func userMain() {
	t := &mainT{}
	w := mustWorld(t, everything())
	s, err := Mount(t.Context(), os.Getenv("FLOE_FS_DIR"), w.Dataset, &Options{AllowOther: os.Getenv("FLOE_FS_OTHER") != ""})
	if err != nil {
		fmt.Println(err)
		return
	}
	st := s.Stats()
	fmt.Println("mounted, read_ahead_kb", st.ReadAheadKB, "because", st.ReadAheadErr)
	io.Copy(io.Discard, os.Stdin)
	if err := s.Unmount(false); err != nil {
		fmt.Println(err)
		s.Unmount(true)
		return
	}
	fmt.Println("unmounted")
}

// asNobody runs this binary as an ordinary user.
func asNobody(role string, env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), append(env, "FLOE_FS_TEST="+role)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	return cmd
}

// openDevice lets ordinary users at /dev/fuse, as udev does on most machines.
// Where it is not so, the test goes on in a process with mounts of its own;
// then openDevice returns true when that has ended.
func openDevice(t *testing.T) (done bool) {
	fi, err := os.Stat("/dev/fuse")
	must(t, err)
	if fi.Mode()&0o006 == 0o006 {
		return false
	}
	if os.Getenv("FLOE_FS_OWN_MOUNTS") == "" {
		cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "FLOE_FS_OWN_MOUNTS=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		must(t, err)
		return true
	}
	node := filepath.Join(t.TempDir(), "fuse")
	must(t, unix.Mknod(node, unix.S_IFCHR, int(unix.Mkdev(10, 229))))
	must(t, os.Chmod(node, 0o666))
	must(t, unix.Mount(node, "/dev/fuse", "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount("/dev/fuse", unix.MNT_DETACH) })
	return false
}

func TestAnOrdinaryUserMountsByFusermount3(t *testing.T) {
	needFUSE(t)
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		t.Fatal("no fusermount3: make deps installs it")
	}
	if fi, err := os.Stat(bin); err != nil || fi.Mode()&os.ModeSetuid == 0 {
		t.Fatalf("%s is not setuid: is the package fuse3 whole?", bin)
	}
	if openDevice(t) {
		return
	}
	at := filepath.Join(mustOpenDir(t), "mnt")
	must(t, os.Mkdir(at, 0o755))
	must(t, os.Chown(at, nobody, nobody))
	server := asNobody("user", "FLOE_FS_DIR="+at)
	in, err := server.StdinPipe()
	must(t, err)
	out, err := server.StdoutPipe()
	must(t, err)
	must(t, server.Start())
	defer unix.Unmount(at, unix.MNT_DETACH)
	said := make([]byte, 4096)
	n, err := out.Read(said)
	must(t, err)
	first := string(said[:n])
	t.Log(first)
	if !strings.HasPrefix(first, "mounted, read_ahead_kb 128 because") || !strings.Contains(first, "permission denied") {
		t.Fatal("not mounted, or not said why the kernel reads ahead so little")
	}
	if m, ok := topMount(at); !ok || !m.isFloe() || !strings.HasPrefix(m.Source, "floe#") {
		t.Errorf("listed as %+v", m)
	}
	// The mount is the user's: not even root gets in.
	equal(t, "root", mustClient(t).do(question{Op: "stat", Path: at + "/small"}).Errno, unix.EACCES)
	c := startClient(t, asNobody("client"))
	equal(t, "the user", string(c.ok(question{Op: "cat", Path: at + "/small"}).Data), "hello\n")
	st := c.ok(question{Op: "stat", Path: at + "/small"}).Stat
	equal(t, "owner", [2]uint32{st.Uid, st.Gid}, [2]uint32{nobody, nobody})
	in.Close()
	rest, _ := io.ReadAll(out)
	equal(t, "in the end", string(rest), "unmounted\n")
	must(t, server.Wait())
}

func TestAnOrdinaryUserIsToldWhatIsMissing(t *testing.T) {
	needFUSE(t)
	if openDevice(t) {
		return
	}
	at := mustOpenDir(t)
	must(t, os.Chown(at, nobody, nobody))
	for _, x := range []struct {
		what string
		env  []string
		want string
	}{
		{"no fusermount3", []string{"PATH=/nonexistent"}, "fuse3"},
		{"allow_other", []string{"FLOE_FS_OTHER=1"}, "user_allow_other"},
		{"somebody else's directory", []string{"FLOE_FS_DIR=/etc"}, "/etc"},
	} {
		if _, err := exec.LookPath("fusermount3"); err != nil && x.env[0] != "PATH=/nonexistent" {
			continue
		}
		if _, err := os.Stat("/usr/bin/fusermount3"); err == nil && x.env[0] == "PATH=/nonexistent" {
			continue // it is found where it is always found
		}
		out, err := asNobody("user", append([]string{"FLOE_FS_DIR=" + at}, x.env...)...).Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) || !strings.Contains(string(out), x.want) || strings.HasPrefix(string(out), "mounted") {
			t.Errorf("%s: %v: %s", x.what, err, out)
		}
		t.Logf("%s: %s", x.what, out)
	}
}

// mustOpenDir returns a directory that every user can get to.
func mustOpenDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755))
	}
	return dir
}
