package cachestore

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAllTogetherKeepToTheBudget lets the owner and two others write at the
// same time, each far more than fits.
func TestAllTogetherKeepToTheBudget(t *testing.T) {
	dir := memDir(t)
	const size = 16 << 20
	s := mustOpen(t, dir, &Options{Size: size, MinFree: -1})
	var wg sync.WaitGroup
	for i, p := range []*process{startChild(t, dir, size), startChild(t, dir, size)} {
		wg.Go(func() {
			for n := range 100 {
				p.say("put %d", 1000*(i+1)+n)
			}
		})
	}
	wg.Go(func() {
		for n := range 100 {
			newTree(uint64(n), 512*int64(n), 1<<20).put(s)
			s.Flush()
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for most := int64(0); ; time.Sleep(time.Millisecond) {
		used := diskUsage(t, dir)
		if most = max(most, used); used > size {
			t.Fatalf("%d bytes of disk are used, the budget is %d", used, size)
		}
		select {
		case <-done:
			if st := s.Stats(); most < size/2 || st.Evicted == 0 || st.False != 0 {
				t.Errorf("at most %d bytes of disk were used; stats %+v", most, st)
			}
			return
		default:
		}
	}
}

// TestABurstOfPutsIsHeardOf puts more at once than the system queues notices.
func TestABurstOfPutsIsHeardOf(t *testing.T) {
	dir := memDir(t)
	a, b := mustOpen(t, dir, nil), mustOpen(t, dir, nil)
	var trees []tree
	for i := range 400 {
		tr := newTree(uint64(i%3), 32<<10*int64(i), 5000)
		tr.put(b)
		trees = append(trees, tr)
	}
	b.Flush()
	for i, tr := range trees {
		waitFor(t, fmt.Sprintf("the owner to hear of put %d", i), func() bool { return tr.present(t, a) == 1 })
	}
}

// TestClaimsOfTheDeadEnd: what a killed process had claimed is room again.
func TestClaimsOfTheDeadEnd(t *testing.T) {
	dir := memDir(t)
	const size = 16 << 20
	s := mustOpen(t, dir, &Options{Size: size, MinFree: -1})
	other := mustOpen(t, dir, &Options{Size: size, MinFree: -1})
	for other.claim(1 << 20) { // and then it is killed
	}
	tr := newTree(1, 0, 1<<20)
	waitFor(t, "room for a put", func() bool {
		tr.put(s)
		s.Flush()
		return tr.present(t, s) == tr.chunks()
	})
}

// TestATornLedgerIsNotBelieved: it costs puts at most, and for a short time.
func TestATornLedgerIsNotBelieved(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, dir, nil)
	tr := newTree(1, 0, 1<<20)
	for i, torn := range []string{"", "x", string(make([]byte, 24)), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x7f", "nonsense, of which there is more than a ledger has bytes"} {
		if err := os.WriteFile(filepath.Join(dir, versionName, lockName), []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		next := newTree(uint64(10+i), 0, 1<<20)
		waitFor(t, "room for a put", func() bool {
			next.put(s)
			s.Flush()
			return next.present(t, s) == next.chunks()
		})
	}
	tr.put(s)
	s.Flush()
	tr.mustRead(t, s)
}

// TestNobodyWaitsForWhoHasTheLedger: a process that was stopped while it had
// the ledger keeps others from filling the cache, and from nothing else.
func TestNobodyWaitsForWhoHasTheLedger(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, dir, nil)
	tr := newTree(1, 0, 1<<20)
	tr.put(s)
	s.Flush()
	f, err := os.OpenFile(filepath.Join(dir, versionName, lockName), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Len: ledgerLen}); err != nil {
		t.Fatal(err)
	}
	newTree(2, 0, 1<<20).put(s)
	s.Flush()
	tr.mustRead(t, s)
	if st := s.Stats(); st.Dropped == 0 {
		t.Errorf("stats %+v, want that the second put was dropped", st)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Len: ledgerLen}); err != nil {
		t.Fatal(err)
	}
	next := newTree(3, 0, 1<<20)
	next.put(s)
	s.Flush()
	next.mustRead(t, s)
}
