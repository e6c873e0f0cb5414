package cachestore

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/floefs/floe/merkle"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("FLOE_CACHESTORE_CHILD"); dir != "" {
		if err := child(dir); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child opens a cache and does what it is told, a line at a time.
func child(dir string) error {
	size, _ := strconv.ParseInt(os.Getenv("FLOE_CACHESTORE_SIZE"), 10, 64)
	s, err := Open(dir, &Options{Size: size, MinFree: -1, Memory: 64 << 20})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var seed uint64
		switch word, rest, _ := strings.Cut(in.Text(), " "); word {
		case "put":
			fmt.Sscan(rest, &seed)
			shared(seed).put(s)
			s.Flush()
			fmt.Println("ok")
		case "storm": // puts and reads until it is killed
			fmt.Println("ok")
			for seed := uint64(0); ; seed++ {
				shared(seed % 200).put(s)
				if err := verify(s, shared(seed*7%200)); err != nil {
					return err
				}
			}
		case "read":
			fmt.Sscan(rest, &seed)
			tr := shared(seed)
			run := merkle.NewRun(make([]byte, len(tr.data)))
			fmt.Println(s.Read(tr.k, tr.off, tr.want, &run))
		case "owner":
			fmt.Println(s.Stats().Owner)
		case "close":
			s.Close()
			fmt.Println("ok")
			return nil
		}
	}
	return nil
}

// verify reads tr and compares what Read says it has proven.
func verify(s *Store, tr tree) error {
	run := merkle.NewRun(make([]byte, len(tr.data)))
	s.Read(tr.k, tr.off, tr.want, &run)
	if string(run.Chunk(0, run.Len()).Bytes()) != string(tr.data[:run.Len()]) {
		return fmt.Errorf("read wrong bytes of %d", tr.off)
	}
	if st := s.Stats(); st.False > 0 {
		return fmt.Errorf("%d false chunks", st.False)
	}
	return nil
}

// shared returns a tree that parent and child both know.
func shared(seed uint64) tree { return newTree(seed, 512*int64(seed), 1<<20+int(seed)*100) }

type process struct {
	tb  testing.TB
	cmd *exec.Cmd
	in  *bufio.Writer
	out *bufio.Scanner
}

func startChild(tb testing.TB, dir string, size int64) *process {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FLOE_CACHESTORE_CHILD="+dir, fmt.Sprintf("FLOE_CACHESTORE_SIZE=%d", size))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	p := &process{tb, cmd, bufio.NewWriter(in), bufio.NewScanner(out)}
	tb.Cleanup(func() { p.kill() })
	if got := p.line(); got != "ready" {
		tb.Fatalf("the child says %q", got)
	}
	return p
}

func (p *process) line() string {
	if !p.out.Scan() {
		return "(ended)"
	}
	return p.out.Text()
}

func (p *process) say(format string, args ...any) string {
	fmt.Fprintf(p.in, format+"\n", args...)
	p.in.Flush()
	return p.line()
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func TestKilledProcessLosesNothingCommitted(t *testing.T) {
	dir := t.TempDir()
	p := startChild(t, dir, 0)
	for i := range 10 {
		if got := p.say("put %d", i); got != "ok" {
			t.Fatal(got)
		}
	}
	p.kill()
	start := time.Now()
	s := mustOpen(t, dir, nil)
	for i := range 10 {
		shared(uint64(i)).mustRead(t, s)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("it took %v to be warm again", d)
	}
	if st := s.Stats(); st.False != 0 || st.Rebuilt != 0 || !st.Owner {
		t.Errorf("stats %+v", st)
	}
}

func TestKillingAgainAndAgainNeverDamagesTheCache(t *testing.T) {
	dir := memDir(t)
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	for i := range rounds {
		p := startChild(t, dir, 60<<20)
		q := startChild(t, dir, 60<<20)
		p.say("storm")
		q.say("storm")
		time.Sleep(time.Duration(100+37*i) * time.Millisecond)
		p.kill()
		time.Sleep(time.Duration(10*i) * time.Millisecond)
		q.kill()
		for _, p := range []*process{p, q} {
			if p.out.Scan() {
				t.Fatalf("a child says %q", p.out.Text())
			}
		}
		s := mustOpen(t, dir, &Options{Size: 60 << 20})
		n := 0
		for seed := range uint64(200) {
			tr := shared(seed)
			if err := verify(s, tr); err != nil {
				t.Fatal(err)
			}
			n += tr.present(t, s)
		}
		if st := s.Stats(); st.False != 0 || st.Rebuilt != 0 || !st.Owner {
			t.Errorf("stats %+v", st)
		}
		if _, err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == rounds-1 {
			t.Logf("%d chunks are left", n)
		}
		s.Close()
	}
}

func TestThreeProcessesShareAndHandOver(t *testing.T) {
	dir := t.TempDir()
	a, b, c := startChild(t, dir, 0), startChild(t, dir, 0), startChild(t, dir, 0)
	for i, p := range []*process{a, b, c} {
		if got, want := p.say("owner"), fmt.Sprint(i == 0); got != want {
			t.Fatalf("process %d owns: %s", i, got)
		}
		p.say("put %d", i)
	}
	all := func(seed int) string { return fmt.Sprint(shared(uint64(seed)).chunks()) }
	for i := range 3 {
		for j, p := range []*process{a, b, c} {
			waitFor(t, fmt.Sprintf("process %d to find what %d put", j, i), func() bool { return p.say("read %d", i) == all(i) })
		}
	}
	a.kill()
	var owner, other *process
	waitFor(t, "another owner", func() bool {
		for _, p := range []*process{b, c} {
			if p.say("owner") == "true" {
				owner = p
			} else {
				other = p
			}
		}
		return owner != nil
	})
	other.say("put 7")
	waitFor(t, "the new owner to hear", func() bool { return owner.say("read 7") == all(7) })
	if got := owner.say("close"); got != "ok" {
		t.Fatal(got)
	}
	waitFor(t, "the last to own", func() bool { return other.say("owner") == "true" })
	if got := other.say("close"); got != "ok" {
		t.Fatal(got)
	}
	s := mustOpen(t, dir, nil)
	for _, i := range []uint64{0, 1, 2, 7} {
		shared(i).mustRead(t, s)
	}
	if st := s.Stats(); st.Rebuilt != 0 || st.Chunks < int64(4*shared(0).chunks()) {
		t.Errorf("stats %+v", st)
	}
}

// TestOwnerGivesBackWhatOthersPut also where it was not told.
func TestOwnerGivesBackWhatOthersPut(t *testing.T) {
	dir := t.TempDir()
	const size = 64 << 20
	s := mustOpen(t, dir, &Options{Size: size})
	p := startChild(t, dir, size)
	os.Remove(filepath.Join(dir, versionName, socketName)) // all notices are lost
	for i := range 20 {
		p.say("put %d", i)
	}
	r, err := s.Check(t.Context())
	if err != nil || r.Blobs != 20 || r.Segments < 20 || r.Damage != nil { // a sweep may have come first
		t.Fatalf("check says %+v, %v", r, err)
	}
	for i := range 20 {
		shared(uint64(i)).mustRead(t, s)
	}
	if err := s.Trim(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Segments != 0 || st.Bytes > 1<<20 || st.False != 0 {
		t.Fatalf("stats %+v", st)
	}
}

// TestOthersKeepToTheBudgetToo lets one that does not own the cache write far
// more than fits.
func TestOthersKeepToTheBudgetToo(t *testing.T) {
	dir := t.TempDir()
	const size = 48 << 20
	s := mustOpen(t, dir, &Options{Size: size})
	p := startChild(t, dir, size)
	for i := range 150 {
		p.say("put %d", i)
		if i%10 == 0 {
			if used := diskUsage(t, dir); used > size {
				t.Fatalf("%d bytes of disk are used after %d puts", used, i)
			}
		}
	}
	waitFor(t, "the owner to make room", func() bool { return s.Stats().Evicted > 0 })
	last := fmt.Sprint(shared(199).chunks())
	waitFor(t, "a put to find room", func() bool { p.say("put 199"); return p.say("read 199") == last })
	if st := s.Stats(); st.False != 0 {
		t.Fatalf("stats %+v", st)
	}
}
