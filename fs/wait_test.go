package fs

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// prompt is how soon whoever is killed must be gone.
const prompt = 200 * time.Millisecond

// mustEnd expects the client's process to end in time.
func (c *client) mustEnd(within time.Duration) {
	c.t.Helper()
	began := time.Now()
	select {
	case <-c.done:
		c.t.Logf("gone after %v", time.Since(began).Round(time.Millisecond))
	case <-time.After(within):
		c.t.Errorf("still there after %v", within)
	}
}

func TestABlockedReaderCanBeKilled(t *testing.T) {
	top := dir("", file("hung", noise(1, 3<<20)), dir("hungdir", file("x", []byte("x"))))
	for _, x := range []struct {
		what string
		args []string // of a program without handlers of signals, unlike one in Go
		sig  syscall.Signal
	}{
		{"buffered read, SIGKILL", []string{"cat", "hung"}, unix.SIGKILL},
		{"buffered read, SIGTERM", []string{"cat", "hung"}, unix.SIGTERM},
		{"O_DIRECT read, SIGKILL", []string{"dd", "iflag=direct", "bs=4096", "count=1", "status=none", "if=hung"}, unix.SIGKILL},
		{"O_DIRECT read, SIGHUP", []string{"dd", "iflag=direct", "bs=4096", "count=1", "status=none", "if=hung"}, unix.SIGHUP},
		{"O_DIRECT read of 1 MiB, SIGTERM", []string{"dd", "iflag=direct", "bs=1M", "count=1", "status=none", "if=hung"}, unix.SIGTERM},
		{"page fault, SIGKILL", nil, unix.SIGKILL},
		{"lookup, SIGTERM", []string{"stat", "hungdir/x"}, unix.SIGTERM},
		{"listing, SIGTERM", []string{"ls", "-f", "hungdir"}, unix.SIGTERM},
	} {
		t.Run(x.what, func(t *testing.T) {
			w := mustWorld(t, top)
			_, at := w.mustMount(t, nil)
			defer w.spoil("hung", nil)()
			defer w.spoil("hungdir", nil)()
			var c *client
			if x.args == nil {
				c = mustClient(t)
				c.send(question{Op: "mmap", Path: at + "/hung"})
			} else {
				c = mustRun(t, at, x.args)
			}
			eventually(t, "the read hangs", func() bool { return w.blobs.hanging() > 0 })
			time.Sleep(20 * time.Millisecond)
			must(t, c.cmd.Process.Signal(x.sig))
			c.mustEnd(prompt)
			if w.blobs.hanging() == 0 {
				t.Error("the fetch was given up with its reader")
			}
			w.healAll()
			d := mustClient(t)
			equal(t, "afterwards", string(d.ok(question{Op: "cat", Path: at + "/hungdir/x"}).Data), "x")
			if !bytes.Equal(d.ok(question{Op: "cat", Path: at + "/hung"}).Data, w.items["hung"].data) {
				t.Error("afterwards: other bytes")
			}
		})
	}
}

// mustRun starts a program with paths below the mount at as its arguments.
func mustRun(t *testing.T, at string, args []string) *client {
	t.Helper()
	path, err := exec.LookPath(args[0])
	must(t, err)
	c := &client{t: t, cmd: exec.Command(path), done: make(chan struct{})}
	for _, a := range args[1:] {
		c.cmd.Args = append(c.cmd.Args, strings.Replace(a, "hung", at+"/hung", 1))
	}
	must(t, c.cmd.Start())
	go func() {
		c.cmd.Wait()
		close(c.done)
	}()
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		<-c.done
	})
	return c
}

func TestASignalThatIsHandledInterruptsAfterASecond(t *testing.T) {
	w := mustWorld(t, dir("", file("hung", noise(1, 100000)), file("slow", noise(2, 100000))))
	s, at := w.mustMount(t, nil)
	heal := w.spoil("hung", nil)
	defer heal()
	c := mustClient(t)
	tid := int(c.ok(question{Op: "tid"}).N)
	c.ok(question{Op: "handle"})

	c.send(question{Op: "read", Path: at + "/hung", N: 4096, Direct: true})
	eventually(t, "the read hangs", func() bool { return w.blobs.hanging() > 0 })
	time.Sleep(50 * time.Millisecond)
	began := time.Now()
	must(t, unix.Tgkill(c.cmd.Process.Pid, tid, unix.SIGUSR1))
	equal(t, "read", c.receive().Errno, unix.EINTR)
	if took := time.Since(began); took < patience-100*time.Millisecond || took > patience+500*time.Millisecond {
		t.Errorf("interrupted after %v", took)
	}
	equal(t, "interrupted", s.Stats().Interrupted, 1)

	// An answer within the second is taken.
	healSlow := w.spoil("slow", nil)
	c.send(question{Op: "read", Path: at + "/slow", N: 4096, Direct: true})
	eventually(t, "the read hangs", func() bool { return w.blobs.hanging() > 1 })
	time.Sleep(50 * time.Millisecond)
	must(t, unix.Tgkill(c.cmd.Process.Pid, tid, unix.SIGUSR1))
	time.Sleep(300 * time.Millisecond)
	healSlow()
	r := c.receive()
	equal(t, "read", r.Errno, 0)
	equal(t, "bytes", len(r.Data), 4096)

	// A kill within the second is heeded, though the kernel reports only the
	// first signal.
	c.send(question{Op: "read", Path: at + "/hung", N: 4096, Direct: true})
	eventually(t, "the read hangs", func() bool { return s.Stats().Serving > 0 })
	time.Sleep(50 * time.Millisecond)
	must(t, unix.Tgkill(c.cmd.Process.Pid, tid, unix.SIGUSR1))
	time.Sleep(100 * time.Millisecond)
	must(t, c.cmd.Process.Kill())
	c.mustEnd(prompt)
}

func TestAThousandHungReadsDelayNobody(t *testing.T) {
	hung := dir("hung")
	for i := range 1000 {
		hung.kids = append(hung.kids, file(fmt.Sprintf("%05d", i), noise(uint64(i), 5000)))
	}
	w := mustWorld(t, dir("", hung, dir("other", file("well", noise(70000, 5000))), dir("hungdir", file("x", []byte("x")))))
	s, at := w.mustMount(t, nil)
	fine := mustClient(t)
	fine.ok(question{Op: "cat", Path: at + "/other/well"})
	fine.ok(question{Op: "walk", Path: at + "/hung"}) // so that it is data they hang on

	var heals []func()
	for _, k := range hung.kids {
		heals = append(heals, w.spoil("hung/"+k.name, nil))
	}
	heals = append(heals, w.spoil("hungdir", nil))
	stuck, alsoStuck := mustClient(t), mustClient(t)
	stuck.send(question{Op: "readmany", Path: at + "/hung", N: 1000, Direct: true})
	alsoStuck.send(question{Op: "list", Path: at + "/hungdir"})
	eventually(t, "1,000 reads and a listing hang", func() bool { return s.Stats().Serving == 1001 })

	var worst time.Duration
	for range 20 {
		for _, q := range []question{
			{Op: "read", Path: at + "/other/well", N: 5000, Direct: true},
			{Op: "statfs", Path: at},
			{Op: "stat", Path: fmt.Sprintf("%s/other/absent%d", at, time.Now().UnixNano())},
			{Op: "list", Path: at + "/other"},
		} {
			r := fine.do(q)
			if r.Errno != 0 && q.Op != "stat" {
				t.Fatalf("%s: %v", q.Op, r.Errno)
			}
			worst = max(worst, r.Took)
		}
	}
	t.Logf("slowest answer beside 1,000 hung reads: %v", worst)
	if worst > 100*time.Millisecond {
		t.Error("too slow")
	}
	for _, heal := range heals {
		heal()
	}
	equal(t, "the reads that hung", stuck.receive().Errno, 0)
	equal(t, "the listing that hung", len(alsoStuck.receive().Names), 3)
	eventually(t, "goroutines end that nobody needs", func() bool { return s.loop.waiting.Load() <= s.loop.idle })
}

// A journal is a log that can be searched.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func TestEveryEIOIsExplainedInTheLog(t *testing.T) {
	w := mustWorld(t, dir("", dir("sub", file("broken", noise(1, 50000)), file("hung", noise(2, 50000))), dir("brokendir", file("x", nil))))
	var log journal
	s, at := w.mustMount(t, &Options{ReadTimeout: 300 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	w.spoil("sub/broken", errors.New("the disk is on fire"))
	w.spoil("brokendir", errors.New("the disk is wet"))
	defer w.spoil("sub/hung", nil)()
	c := mustClient(t)
	for _, x := range []struct {
		q    question
		want []string
	}{
		{question{Op: "read", Path: "/sub/broken", N: 4096, Off: 16384, Direct: true}, []string{"op=read", "path=sub/broken", "offset=16384", "on fire", w.ID().String()}},
		{question{Op: "stat", Path: "/brokendir/x"}, []string{"op=lookup", "path=brokendir", "is wet"}},
		{question{Op: "list", Path: "/brokendir"}, []string{"op=readdir", "is wet"}},
		{question{Op: "read", Path: "/sub/hung", N: 4096, Direct: true}, []string{"path=sub/hung", "no answer within 300ms"}},
	} {
		before, errs := len(log.String()), s.Stats().Errors
		x.q.Path = at + x.q.Path
		equal(t, x.q.Op, c.do(x.q).Errno, unix.EIO)
		said := log.String()[before:]
		for _, want := range x.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s %s: the log does not say %q: %s", x.q.Op, x.q.Path, want, said)
			}
		}
		if s.Stats().Errors == errs {
			t.Error("not counted")
		}
	}
	// What failed is tried again, not remembered.
	w.healAll()
	equal(t, "afterwards", len(c.ok(question{Op: "cat", Path: at + "/sub/broken"}).Data), 50000)
	c.ok(question{Op: "stat", Path: at + "/brokendir/x"})
}

func TestAnAbortedConnectionEndsTheServer(t *testing.T) {
	w := mustWorld(t, dir("", file("hung", noise(1, 50000))))
	needFUSE(t)
	if _, err := os.ReadDir("/sys/fs/fuse/connections"); err != nil {
		t.Skip("SKIPPED: no fusectl: ", err)
	}
	at := t.TempDir()
	s, err := Mount(t.Context(), at, w.Dataset, nil)
	must(t, err)
	defer unix.Unmount(at, unix.MNT_DETACH)
	defer w.spoil("hung", nil)()
	c := mustClient(t)
	c.send(question{Op: "read", Path: at + "/hung", N: 4096, Direct: true})
	eventually(t, "the read hangs", func() bool { return w.blobs.hanging() > 0 })
	_, minor, _ := strings.Cut(s.dev, ":")
	if err := os.WriteFile("/sys/fs/fuse/connections/"+minor+"/abort", []byte("1"), 0); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	if err := s.Wait(); err == nil {
		t.Error("no word of it")
	}
	equal(t, "the read", c.receive().Errno, unix.ECONNABORTED)
}

func TestALazyUnmountWaitsForThoseInside(t *testing.T) {
	w := mustWorld(t, dir("", file("hung", noise(1, 50000))))
	s, at := w.mustMount(t, nil)
	heal := w.spoil("hung", nil)
	c := mustClient(t)
	c.send(question{Op: "read", Path: at + "/hung", N: 4096, Direct: true})
	eventually(t, "the read hangs", func() bool { return w.blobs.hanging() > 0 })
	must(t, s.Unmount(true))
	time.Sleep(50 * time.Millisecond)
	select {
	case <-s.Done():
		t.Error("the server went while somebody was reading")
	default:
	}
	heal()
	equal(t, "the read", c.receive().Errno, 0)
	must(t, s.Wait())
}
