package crash

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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

func TestThreeMountsAndACopyShareOneCache(t *testing.T) {
	s := newScene(t, 24)
	other := source(t, 8)
	must(t, os.WriteFile(filepath.Join(other, "large"), noise(2, 8<<20), 0o644))
	second := s.put(other)

	// Two mounts of one dataset read a half each; a copy reads the other.
	a, b, c := s.mount(s.id, "a"), s.mount(s.id, "b"), s.mount(second, "c")
	var wg sync.WaitGroup
	wg.Go(func() {
		readPart(t, filepath.Join(a.at, "large"), 0, 12<<20)
		readBelow(t, filepath.Join(a.at, "many"))
	})
	wg.Go(func() {
		readPart(t, filepath.Join(b.at, "large"), 12<<20, 12<<20)
		readBelow(t, filepath.Join(b.at, "deep"))
		readBelow(t, filepath.Join(b.at, "sizes"))
	})
	wg.Go(func() {
		to := s.box.Path("copy")
		_, err := s.box.Try(append([]string{"cp", "--quiet"}, s.reading(second+"/", to)...)...)
		if err != nil {
			t.Error(err)
			return
		}
		mustBeEqual(t, other, to)
	})
	wg.Wait()
	if t.Failed() {
		return
	}
	owners := 0
	for _, m := range []*mount{a, b, c} {
		if m.status().Cache.Owner {
			owners++
		}
	}
	if owners != 1 {
		t.Errorf("%d of three mounts own the cache, want one", owners)
	}
	s.mustBeCached(s.id)
	s.mustBeCached(second)

	// What each has read is there for the others, as soon as they have heard.
	s.takeAway()
	a.mustBecome(s.dir)
	b.mustBecome(s.dir)
	c.mustBecome(other)
	for _, m := range []*mount{a, b, c} {
		st := m.status()
		t.Logf("%s: %+v", m.at, st)
		if st.Reads.Cached == 0 {
			t.Errorf("%s has read nothing from the cache", m.at)
		}
		m.unmount()
	}
	if out := s.box.Run("cache", "check", "--json", "--cache-dir", s.cache); !strings.Contains(out, `"sound":true`) {
		t.Errorf("the cache is not sound: %s", out)
	}
}

func TestTheCacheSurvivesRestartsAndKills(t *testing.T) {
	s := newScene(t, 16)
	rng := rand.New(rand.NewPCG(seed, 1))
	m := s.mount(s.id, "mnt")
	// Killed while the cache fills: whoever comes next reads what is right.
	for range 3 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			filepath.WalkDir(m.at, func(path string, e fs.DirEntry, err error) error {
				if err == nil && e.Type().IsRegular() {
					_, err = os.ReadFile(path)
				}
				return err
			})
		}()
		time.Sleep(time.Duration(rng.IntN(60_000)) * time.Microsecond)
		m.kill()
		<-done
		m.remount(s.id)
	}
	m.mustBe(s.dir)
	s.mustBeCached(s.id)
	m.kill()
	s.takeAway()
	m.remount(s.id)
	m.mustBe(s.dir)
	if st := m.status(); st.Reads.Fetched > 0 {
		t.Errorf("after a kill %d bytes were fetched that the cache has", st.Reads.Fetched)
	}
	m.unmount()
	m.remount(s.id, "--offline")
	m.mustBe(s.dir)
	m.unmount()
}

func TestTheCacheKeepsItsBudget(t *testing.T) {
	s := newScene(t, 64)
	const budget = 16 << 20
	mounts := []*mount{s.mount(s.id, "a", "--cache-size", "16MiB"), s.mount(s.id, "b", "--cache-size", "16MiB"), s.mount(s.id, "c", "--cache-size", "16MiB")}
	stop, most := make(chan struct{}), int64(0)
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			most = max(most, taken(s.cache))
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	var wg sync.WaitGroup
	for _, m := range mounts {
		wg.Go(func() { mustBeEqual(t, s.dir, m.at) })
	}
	wg.Wait()
	close(stop)
	watch.Wait()
	var evicted int64
	for _, m := range mounts {
		evicted += m.status().Cache.Evicted
		m.unmount()
	}
	t.Logf("of 64 MiB the cache has held at most %d KiB; its budget is %d KiB; %d MiB were given back", most>>10, budget>>10, evicted)
	if most > budget {
		t.Errorf("the cache has taken %d bytes, its budget is %d", most, budget)
	}
	if evicted == 0 || most < budget/2 {
		t.Errorf("%d segments were given back, the cache has taken %d bytes: it was not filled", evicted, most)
	}
}

func TestReadsGoOnUncachedWhenTheCachesDiskIsFull(t *testing.T) {
	s := newScene(t, 32)
	disk := smallDisk(t, "16m")
	s.cache = filepath.Join(disk, "cache")
	m := s.mount(s.id, "mnt", "--min-free", "0")
	readPart(t, filepath.Join(m.at, "large"), 0, 2<<20)
	// Somebody else takes all the rest.
	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	must(t, err)
	defer ballast.Close()
	for {
		if _, err = ballast.Write(make([]byte, 64<<10)); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	m.mustBe(s.dir)
	if n := free(t, disk); n > 4<<20 {
		t.Errorf("the disk has %d bytes free: it was not full", n)
	}
	t.Logf("%+v", m.status())
	// A cache that cannot even begin is no reason not to read.
	full := s.mount(s.id, "full", "--min-free", "0")
	full.mustBe(s.dir)
	full.unmount()
	must(t, ballast.Truncate(0))
	m.unmount()
	m.remount(s.id)
	m.mustBe(s.dir)
	m.unmount()
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
