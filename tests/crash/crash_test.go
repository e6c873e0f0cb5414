// Package crash kills floe, takes its disk and its memory away and changes
// files under it, and looks what is left.
package crash

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/floefs/floe/merkle"
	"github.com/floefs/floe/tests/floe"
	"github.com/floefs/floe/tests/world"
)

func TestMain(m *testing.M) { floe.Main(m) }

// seed is printed, and FLOE_SEED sets it.
var seed = func() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("FLOE_SEED"), 10, 64); err == nil {
		return n
	}
	return uint64(time.Now().UnixNano() >> 10)
}()

// noise returns n bytes that do not repeat, the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(b)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A running is floe at work, with what it has said.
type running struct {
	*exec.Cmd
	out, said bytes.Buffer
	ended     chan struct{} // closed when it has
	err       error         // of Wait, once it has
}

// start starts floe in a sandbox.
func start(t *testing.T, box *floe.Sandbox, args ...string) *running {
	t.Helper()
	r := &running{Cmd: box.Command(t.Context(), args...), ended: make(chan struct{})}
	r.start(t)
	return r
}

func (r *running) start(t *testing.T) {
	t.Helper()
	r.Stdout, r.Stderr = &r.out, &r.said
	must(t, r.Start())
	go func() {
		r.err = r.Wait()
		close(r.ended)
	}()
}

// code waits until r has ended and returns how: -1 if it was killed.
func (r *running) code() int {
	<-r.ended
	return r.ProcessState.ExitCode()
}

// kill ends r, as a power cut would.
func (r *running) kill() {
	r.Process.Signal(syscall.SIGKILL)
	<-r.ended
}

// mustFail waits until r has failed, and checks that it has printed no id and
// has said all of these.
func (r *running) mustFail(t *testing.T, says ...string) {
	t.Helper()
	if code := r.code(); code <= 0 {
		t.Errorf("floe ended with %d, want an error", code)
	}
	if r.out.Len() > 0 {
		t.Errorf("floe printed %q although it failed", r.out.String())
	}
	for _, s := range says {
		if !bytes.Contains(r.said.Bytes(), []byte(s)) {
			t.Errorf("floe said\n%s\nand nothing of %q", r.said.String(), s)
		}
	}
}

// A stored file is one of a store, as it was at some moment.
type stored struct {
	inode  uint64
	mtime  syscall.Timespec
	digest merkle.Hash
}

// storedFiles returns all files of the blobs of a store, by path.
func storedFiles(t *testing.T, store string) map[string]stored {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(store, "blobs", "*", "*", "*"))
	must(t, err)
	files := map[string]stored{}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		must(t, err)
		var st syscall.Stat_t
		must(t, syscall.Stat(p, &st))
		files[p] = stored{st.Ino, st.Mtim, merkle.Blake3(data)}
	}
	return files
}

// blobs returns how many blobs of a store have such a file.
func blobs(t *testing.T, store, name string) int {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(store, "blobs", "*", "*", name))
	must(t, err)
	return len(dirs)
}

// A putAnswer is what put --json prints, as far as it matters here.
type putAnswer struct {
	Dataset      string `json:"dataset"`
	Blobs        int    `json:"blobs"`
	BlobsReused  int    `json:"blobs_reused"`
	BytesEncoded int64  `json:"bytes_encoded"`
}

// answer waits until r, a put --json, has succeeded.
func (r *running) answer(t *testing.T) (a putAnswer) {
	t.Helper()
	if code := r.code(); code != 0 {
		t.Fatalf("floe ended with %d:\n%s", code, r.said.String())
	}
	must(t, json.Unmarshal(r.out.Bytes(), &a))
	return a
}

// waitFor waits until cond holds or r has ended.
func (r *running) waitFor(cond func() bool) {
	for !cond() {
		select {
		case <-r.ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// until waits for cond.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute in vain for this: %s", what)
		}
	}
}

// smallDisk returns a file system of its own of so many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a small file system takes root")
	}
	dir := filepath.Join(world.Scratch(t), "disk")
	must(t, os.Mkdir(dir, 0o755))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal("mounting a small file system: ", err)
	}
	t.Cleanup(func() { must(t, errors.Join(syscall.Unmount(dir, syscall.MNT_DETACH))) })
	return dir
}

// resize gives a file system of smallDisk another size.
func resize(t *testing.T, dir, size string) {
	t.Helper()
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size="+size))
}
