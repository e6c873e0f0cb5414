package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/floefs/floe/tests/bench/result"
	"github.com/floefs/floe/tests/floe"
	"github.com/floefs/floe/tests/world"
)

func TestMain(m *testing.M) {
	if os.Getenv(passVariable) != "" { // this program is its own reader
		main()
		return
	}
	floe.Main(m)
}

// tiny runs a bench of the smallest sets.
func tiny(t *testing.T, args ...string) (dir string, lines []result.Line, table string, err error) {
	t.Helper()
	floe.NeedMount(t)
	dir = t.TempDir()
	file := filepath.Join(dir, "lines")
	var out, progress bytes.Buffer
	err = command(t.Context(), append([]string{"-scale", "tiny", "-repeats", "1", "-floe", floe.New(t).Program(), "-scratch", world.Scratch(t), "-out", file}, args...), &out, &progress)
	t.Logf("%s%s", &progress, &out)
	f, e := os.Open(file)
	if e != nil {
		t.Fatal(e)
	}
	defer f.Close()
	lines, e = result.Read(f)
	if e != nil {
		t.Fatal(e)
	}
	return dir, lines, out.String(), err
}

func TestABenchRunsFromEndToEnd(t *testing.T) {
	dir, lines, table, err := tiny(t, "-only", "random-4k,grep", "-contestants", "native,floe-dir,floe,floe+dead")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(table, "random-4k") < 6 || strings.Contains(table, "FAILED") {
		t.Error("the tables do not show what was run")
	}
	if !strings.Contains(table, "| warm random 4 KiB | ≥ 0.95 |") {
		t.Error("the goals are not shown")
	}
	for _, state := range []string{"warm", "dropped", "cold"} {
		if data, err := os.ReadFile(filepath.Join(dir, state+".svg")); err != nil || !bytes.HasPrefix(data, []byte("<svg")) {
			t.Errorf("there is no plot of %s: %v", state, err)
		}
	}
	runs := map[string]int{}
	for _, l := range lines {
		r := l.Run
		if r == nil || r.State == result.Once {
			continue
		}
		runs[r.Contestant]++
		if r.Error != "" || r.Rate <= 0 {
			t.Errorf("%+v", r)
		}
		if fetches := r.Contestant != result.Native; (r.Fetched != nil) != fetches {
			t.Errorf("%s, %s: what was fetched is known: %v", r.Contestant, r.Workload, r.Fetched != nil)
		} else if fetches && (*r.Fetched > 0) != (r.State == result.Cold || r.Contestant == "floe-dir" && r.State == result.Dropped) {
			t.Errorf("%s, %s, %s: %d bytes were fetched", r.Contestant, r.Workload, r.State, *r.Fetched)
		}
	}
	for name, n := range map[string]int{result.Native: 4, "floe-dir": 4, "floe": 6, "floe+dead": 2} {
		if runs[name] != n {
			t.Errorf("%s ran %d times, not %d", name, runs[name], n)
		}
	}
	// Nothing by which the machine could be found.
	for _, l := range lines {
		if m := l.Machine; m != nil && (m.Cores == 0 || m.Kernel == "" || m.FileSystem == "" || m.Memory == 0) {
			t.Errorf("the machine is %+v", m)
		}
	}
}

func TestWhatCannotBeRunIsRefused(t *testing.T) {
	for _, args := range [][]string{{"-only", "x"}, {"-contestants", "x"}, {"-states", "x"}, {"-scale", "x"}, {"-scale", "0"}, {"x"}} {
		if err := command(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
			t.Errorf("%v is run", args)
		}
	}
}
