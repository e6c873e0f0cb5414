package fs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fleeting is a dataset that every process can build for itself.
func fleeting() *item {
	top := dir("", dir("many"))
	for i := range 500 {
		top.kids[0].kids = append(top.kids[0].kids, file(fmt.Sprintf("%05d", i), noise(uint64(i), 1000)))
	}
	for i := range 8 {
		top.kids = append(top.kids, file(fmt.Sprint("f", i), noise(uint64(i), 1<<20+i)))
	}
	return top
}

// A mainT is a testing.TB for the server process.
type mainT struct {
	testing.TB
	cleanups []func()
}

func (m *mainT) Helper()                  {}
func (m *mainT) Context() context.Context { return context.Background() }
func (m *mainT) TempDir() string          { return os.TempDir() }
func (m *mainT) Cleanup(f func())         { m.cleanups = append(m.cleanups, f) }
func (m *mainT) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

// serverMain serves the /dev/fuse descriptor 3, first or in succession to a
// process that was killed.
func serverMain() {
	t := &mainT{}
	w := mustWorld(t, fleeting())
	at, file := os.Getenv("FLOE_FS_DIR"), os.Getenv("FLOE_FS_INIT")
	o := &Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	var s *Server
	if init, err := os.ReadFile(file); err == nil {
		s, err = Resume(t.Context(), os.NewFile(3, "/dev/fuse"), init, at, w.Dataset, o)
		must(t, err)
	} else {
		s, err = start(t.Context(), 3, nil, at, w.Dataset, o.withDefaults())
		must(t, err)
		must(t, os.WriteFile(file, s.Handshake(), 0o600))
	}
	os.Stdout.WriteString("serving\n")
	s.Wait()
}

// TestServersThatAreKilledAreNotMissed kills one server after another while
// readers read, list and look up.
func TestServersThatAreKilledAreNotMissed(t *testing.T) {
	needFUSE(t)
	at := filepath.Join(t.TempDir(), "mnt")
	must(t, os.Mkdir(at, 0o755))
	o := (*Options)(nil).withDefaults()
	fd, err := mount(at, "floe#test", &o)
	must(t, err)
	dev := os.NewFile(uintptr(fd), "/dev/fuse")
	defer dev.Close()
	defer unix.Unmount(at, unix.MNT_DETACH)
	saved := filepath.Join(t.TempDir(), "init")

	serve := func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "FLOE_FS_TEST=server", "FLOE_FS_DIR="+at, "FLOE_FS_INIT="+saved)
		cmd.ExtraFiles, cmd.Stderr = []*os.File{dev}, os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		out.Read(make([]byte, 8)) // until it serves
		return cmd
	}
	server := serve()
	defer func() { server.Process.Kill(); server.Wait() }()

	top := fleeting()
	var stop atomic.Bool
	ended := make(chan error)
	rounds := make(chan int, 100000)
	for i := range 4 {
		go func() {
			ended <- func() error {
				for n := i; !stop.Load(); n++ {
					want := top.kids[1+n%8]
					got, err := readAt(question{Path: at + "/" + want.name, N: 1 << 21, Direct: n%2 == 0})
					if err != nil {
						return fmt.Errorf("reading: %w", err)
					}
					if !bytes.Equal(got, want.data) {
						return fmt.Errorf("wrong bytes of %s", want.name)
					}
					ds, err := list(at+"/many", int64(n%2)*100, 0)
					if err != nil {
						return fmt.Errorf("listing: %w", err)
					}
					if n%2 == 0 && len(ds) != 502 {
						return fmt.Errorf("%d names", len(ds))
					}
					var st unix.Stat_t
					if err := unix.Lstat(fmt.Sprintf("%s/absent%d.%d", at, i, n), &st); err != unix.ENOENT {
						return fmt.Errorf("absent file: %w", err)
					}
					rounds <- n
				}
				return nil
			}()
		}()
	}
	kills := 0
	for left := 4; left > 0; {
		select {
		case err := <-ended:
			left--
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Duration(20+rand.IntN(100)) * time.Millisecond):
			server.Process.Kill()
			server.Wait()
			kills++
			stop.Store(kills == 8)
			server = serve()
		}
	}
	t.Logf("%d rounds, %d servers killed", len(rounds), kills)
	if len(rounds) < 8 {
		t.Error("too little happened")
	}
	must(t, unix.Unmount(at, 0))
	if err := server.Wait(); err != nil {
		t.Errorf("the last server ended with %v", err)
	}
}

func TestInitCanBeRepeated(t *testing.T) {
	w := mustWorld(t, everything())
	s, _ := w.mustMount(t, nil)
	var last []byte
	for range 3 {
		out, err := s.loop.answerInit(s.Handshake())
		must(t, err)
		if last != nil && !bytes.Equal(out, last) {
			t.Error("another INIT, another answer")
		}
		last = out
	}
}

// TestADeadMountIsClearedAway leaves a mount without a server and mounts over it.
func TestADeadMountIsClearedAway(t *testing.T) {
	w := mustWorld(t, everything())
	needFUSE(t)
	at := filepath.Join(t.TempDir(), "mnt")
	must(t, os.Mkdir(at, 0o755))
	o := (*Options)(nil).withDefaults()
	for range 2 {
		fd, err := mount(at, "floe#dead", &o)
		must(t, err)
		unix.Close(fd) // as when a server dies
		if m, _ := topMount(at); !m.isFloe() || served(at) {
			t.Fatalf("%v: taken for served", m)
		}
		s, err := Mount(t.Context(), at, w.Dataset, nil)
		must(t, err)
		if m, _ := topMount(at); m.Source == "floe#dead" {
			t.Error("the dead mount is still there")
		}
		must(t, Unmount(at, false))
		must(t, s.Wait())
		if _, ok := topMount(at); ok {
			t.Error("something is still mounted")
		}
	}
	if err := Unmount(at, false); err == nil || !strings.Contains(err.Error(), "nothing is mounted") {
		t.Errorf("unmounting nothing: %v", err)
	}
}
