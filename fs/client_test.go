package fs

import (
	"encoding/gob"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever serves a mount must not use it, so tests use mounts in processes of
// their own: this binary, started again, which does what its standard input
// says.

// TestMain also is the other processes' main.
func TestMain(m *testing.M) {
	switch os.Getenv("FLOE_FS_TEST") {
	case "client":
		clientMain()
		os.Exit(0)
	case "server":
		serverMain()
		os.Exit(0)
	case "user":
		userMain()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A question is what a client is to do.
type question struct {
	Op     string
	Path   string
	Name   string
	Off    int64
	N      int
	Direct bool
}

// An answer is what came of it.
type reply struct {
	Data   []byte
	Text   string
	N      int64
	Names  []dirent
	Stat   unix.Stat_t
	Statfs unix.Statfs_t
	Errno  syscall.Errno
	Took   time.Duration
}

type dirent struct {
	Name string
	Ino  uint64
	Off  int64
	Type byte
}

type client struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   io.Closer
	ask  *gob.Encoder // names need not be UTF-8
	hear *gob.Decoder
	done chan struct{} // closed when the process has ended
}

func mustClient(t testing.TB) *client {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "FLOE_FS_TEST=client")
	return startClient(t, cmd)
}

func startClient(t testing.TB, cmd *exec.Cmd) *client {
	t.Helper()
	c := &client{t: t, cmd: cmd, done: make(chan struct{})}
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	must(t, err)
	c.in, c.ask = in, gob.NewEncoder(in)
	r, w, err := os.Pipe() // not StdoutPipe: Wait would close it under a reader
	must(t, err)
	c.cmd.Stdout, c.hear = w, gob.NewDecoder(r)
	must(t, c.cmd.Start())
	w.Close()
	go func() {
		c.cmd.Wait()
		close(c.done)
	}()
	t.Cleanup(func() {
		c.in.Close()
		c.cmd.Process.Kill()
		<-c.done
		r.Close()
	})
	return c
}

// send asks without waiting for the answer.
func (c *client) send(q question) {
	c.t.Helper()
	must(c.t, c.ask.Encode(q))
}

// receive waits for the answer.
func (c *client) receive() reply {
	c.t.Helper()
	var r reply
	must(c.t, c.hear.Decode(&r))
	return r
}

// do asks and waits.
func (c *client) do(q question) reply {
	c.t.Helper()
	c.send(q)
	return c.receive()
}

// ok asks, waits, and expects success.
func (c *client) ok(q question) reply {
	c.t.Helper()
	r := c.do(q)
	if r.Errno != 0 {
		c.t.Fatalf("%s %s: %v", q.Op, q.Path, r.Errno)
	}
	return r
}

func clientMain() {
	runtime.LockOSThread() // so that a signal for the thread hits what it waits for
	signal.Ignore(unix.SIGPIPE)
	handled := make(chan os.Signal, 1)
	in, out := gob.NewDecoder(os.Stdin), gob.NewEncoder(os.Stdout)
	for {
		var q question
		if err := in.Decode(&q); err != nil {
			return
		}
		if q.Op == "handle" {
			signal.Notify(handled, unix.SIGUSR1)
		}
		var r reply
		began := time.Now()
		err := act(q, &r)
		r.Took = time.Since(began)
		if err != nil {
			if !errors.As(err, &r.Errno) {
				r.Errno, r.Text = 999, err.Error()
			}
		}
		out.Encode(r)
	}
}
