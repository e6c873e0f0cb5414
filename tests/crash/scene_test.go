package crash

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/tests/compare"
	"github.com/floefs/floe/tests/floe"
	"github.com/floefs/floe/tests/world"
)

// A scene is a published directory, and a cache for whoever reads it.
type scene struct {
	t     *testing.T
	box   *floe.Sandbox
	dir   string // what was published
	store string
	cache string
	id    string
}

func newScene(t *testing.T, mib int) *scene {
	t.Helper()
	floe.NeedMount(t)
	place := world.Scratch(t)
	s := &scene{t: t, box: floe.New(t), dir: source(t, mib), store: filepath.Join(place, "store"), cache: filepath.Join(place, "cache")}
	s.id = s.put(s.dir)
	return s
}

func (s *scene) put(dir string) string {
	s.t.Helper()
	return s.box.Run("put", "--quiet", "--blob-size", "2MiB", "--to", "dir:"+s.store, dir)
}

// reading returns the flags with which the store is read by way of the cache.
func (s *scene) reading(flags ...string) []string {
	return append([]string{"--from", "dir:" + s.store, "--cache", "always", "--cache-dir", s.cache}, flags...)
}

// A mount is a mounted dataset, whose server can be killed.
type mount struct {
	*scene
	at string
}

func (s *scene) mount(id, name string, flags ...string) *mount {
	s.t.Helper()
	m := &mount{s, s.box.Path(name)}
	must(s.t, os.MkdirAll(m.at, 0o755))
	m.remount(id, flags...)
	s.t.Cleanup(func() {
		for unix.Unmount(m.at, unix.MNT_DETACH) == nil { // if the test has ended early
		}
	})
	return m
}

func (m *mount) remount(id string, flags ...string) {
	m.t.Helper()
	m.box.Run(append(append([]string{"mount"}, m.reading(flags...)...), id, m.at)...)
}

func (m *mount) unmount() {
	m.t.Helper()
	m.box.Run("umount", m.at)
}

// A status is what floe status --json prints, as far as it matters here.
type status struct {
	PID   int
	Reads struct{ Fetched, Cached int64 }
	Cache struct {
		Owner, Stalled                       bool
		Bytes, Limit, Evicted, Hits, Written int64
	}
}

func (m *mount) status() (st status) {
	m.t.Helper()
	must(m.t, json.Unmarshal([]byte(m.box.Run("status", "--json", m.at)), &st))
	return st
}

// kill ends the server of m as a power cut would.
func (m *mount) kill() {
	m.t.Helper()
	pid := m.status().PID
	if pid <= 1 {
		m.t.Fatalf("the mount's server is process %d", pid)
	}
	must(m.t, syscall.Kill(pid, syscall.SIGKILL))
	until(m.t, "the killed server to be gone", func() bool {
		state, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		return err != nil || strings.Contains(string(state), ") Z ")
	})
}

// mustBe compares the mount with a directory, every byte and attribute.
func (m *mount) mustBe(dir string) {
	m.t.Helper()
	mustBeEqual(m.t, dir, m.at)
}

// mustBecome waits until the mount is a directory. Until then reads may fail,
// but must not return anything else.
func (m *mount) mustBecome(dir string) {
	m.t.Helper()
	until(m.t, m.at+" to be read from the cache", func() bool {
		r, err := compare.Trees(dir, m.at)
		for _, d := range r.Differences {
			if !strings.Contains(d, syscall.EIO.Error()) {
				m.t.Fatal(d)
			}
		}
		if err != nil && !errors.Is(err, syscall.EIO) {
			m.t.Fatal(err)
		}
		return err == nil && len(r.Differences) == 0
	})
}

func mustBeEqual(t *testing.T, want, got string) {
	t.Helper()
	r, err := compare.Trees(want, got)
	must(t, err)
	if len(r.Differences) > 0 {
		t.Fatalf("%s is not %s: %d differences, the first %s", got, want, len(r.Differences), r.Differences[0])
	}
}

// mustBeCached waits until all of a dataset is in the cache: what is read is
// written into it beside reading.
func (s *scene) mustBeCached(id string) {
	s.t.Helper()
	n := 0
	until(s.t, "all of "+id+" to be in the cache", func() bool {
		n++
		to := s.box.Path("offline", strconv.Itoa(n))
		must(s.t, os.MkdirAll(filepath.Dir(to), 0o755))
		_, err := s.box.Try("cp", "--quiet", "--offline", "--cache-dir", s.cache, id+"/", to)
		os.RemoveAll(to)
		return err == nil
	})
}

// takeAway takes the store away: from now on there is only the cache.
func (s *scene) takeAway() {
	s.t.Helper()
	must(s.t, os.Rename(filepath.Join(s.store, "blobs"), filepath.Join(s.store, "gone")))
	must(s.t, os.Mkdir(filepath.Join(s.store, "blobs"), 0o755))
}

// taken returns the bytes of disk that a directory takes.
func taken(dir string) int64 {
	var sum int64
	filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st syscall.Stat_t
		if err == nil && syscall.Lstat(path, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFREG {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum
}

func readPart(t *testing.T, path string, off, n int64) {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		_, err = io.Copy(io.Discard, io.NewSectionReader(f, off, n))
	}
	if err != nil {
		t.Error(err)
	}
}

func readBelow(t *testing.T, dir string) {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
