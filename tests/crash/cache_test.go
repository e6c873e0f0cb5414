package crash

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

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
