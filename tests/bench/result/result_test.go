package result

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/floefs/floe/tests/bench/workload"
)

func line(name, contestant string, state State, rate float64) Line {
	return Line{Run: &Run{Workload: name, Contestant: contestant, State: state, Unit: "MB/s", ServerMemory: 9 << 20, MachineCPU: 2,
		Outcome: workload.Outcome{Rate: rate, Bytes: 1e9, Ops: 1, Seconds: 1}}}
}

func TestTheMedianIsInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := Median(c.v); got != c.want {
			t.Errorf("of %v it is %v, not %v", c.v, got, c.want)
		}
	}
}

func TestRunsAreSummedUp(t *testing.T) {
	fetched := int64(3e9)
	lines := []Line{
		line("small", Native, Warm, 100), line("small", Native, Warm, 300), line("small", Native, Warm, 200),
		line("small", Native, Dropped, 50),
		line("small", "floe", Warm, 100), line("small", "floe", Cold, 25), line("small", "floe", Warm, 90),
	}
	lines[5].Run.Fetched, lines[5].Run.Cut = &fetched, true
	failed := line("small", "floe", Warm, 0)
	failed.Run.Error = "it broke"
	a := Collect(append(lines, failed))
	warm, ok := a.Of("small", "floe", Warm)
	if !ok || warm.Rate != 95 || warm.Min != 90 || warm.Max != 100 || warm.Ratio != 0.475 || warm.Errors != 1 || warm.Runs != 2 || warm.CPUPerGB != 2 || warm.Memory != 9<<20 || warm.Amplified != -1 || warm.Cut {
		t.Errorf("%+v", warm)
	}
	// Native has no state as cold.
	if cold, ok := a.Of("small", "floe", Cold); !ok || cold.Ratio != 0.5 || cold.Amplified != 3 || !cold.Cut {
		t.Errorf("%+v", cold)
	}
	if _, ok := a.Of("small", "rclone", Cold); ok {
		t.Error("there are figures of what was never run")
	}
}

func TestLinesAreReadAsTheyAreWritten(t *testing.T) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, l := range []Line{{Machine: &Machine{Cores: 2}}, line("small", "floe", Cold, 7), {Missing: &Missing{Contestant: "rclone", Why: "gone"}}} {
		if err := enc.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := Read(&b)
	if err != nil || len(lines) != 3 || lines[0].Machine.Cores != 2 || lines[1].Run.Rate != 7 || lines[2].Missing.Why != "gone" {
		t.Errorf("%v, %v", lines, err)
	}
	if _, err := Read(strings.NewReader("{}\nx\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("what is no line: %v", err)
	}
}

// some is results of every kind.
func some() *All {
	lines := []Line{{Machine: &Machine{Cores: 2}}, {Missing: &Missing{Contestant: "erofs", Why: "not installed"}}}
	for i, w := range workload.All() {
		for _, c := range []struct {
			name   string
			speed  float64
			states []State
		}{{Native, 1, []State{Warm, Dropped}}, {"floe", 0.9, []State{Warm, Dropped, Cold}}, {"rclone", 0.01, []State{Warm, Dropped, Cold}},
			{"s3fs", 1e-7, []State{Cold}}, {"floe+dead", 0.3, []State{Cold}}} {
			for _, s := range c.states {
				lines = append(lines, line(w.Name, c.name, s, c.speed*float64(i+1)*1000))
			}
		}
	}
	return Collect(lines)
}

func TestTheTableShowsAllThereIs(t *testing.T) {
	var b bytes.Buffer
	if err := some().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, w := range workload.All() {
		if n := strings.Count(text, " "+w.Name+" "); n < 6 {
			t.Errorf("%s stands in %d tables", w.Name, n)
		}
	}
	for _, want := range []string{"0.90", "0.01", "erofs: NO FIGURES: not installed"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestAGoalThatIsMissedIsBold(t *testing.T) {
	var b bytes.Buffer
	if err := some().WriteGoals(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"| warm sequential | ≥ 0.95 | **0.90** |", "| disk-cold sequential | ≥ 0.9 | 0.90 |",
		"| f of n shards dead, sequential, beside all alive | ≥ 0.5 | **0.33** |",
		"| wire-cold small files, beside the faster of rclone and s3fs | ≥ 3 | 90.00 |",
		"| MiB of memory: tree of 1,000,000 walked, 200 files open | ≤ 512 | 9.00 |",
		"floe is ahead of rclone in",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

// A plot is well-formed, and everything in it lies in its frame.
func TestThePlotIsAPicture(t *testing.T) {
	for _, state := range []State{Warm, Dropped, Cold} {
		var b bytes.Buffer
		if ok, err := some().WritePlot(&b, state); !ok || err != nil {
			t.Fatal(ok, err)
		}
		dec := xml.NewDecoder(&b)
		shapes := 0
		for {
			tok, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := tok.(xml.StartElement); ok && (e.Name.Local == "rect" || e.Name.Local == "circle") {
				shapes++
				for _, attr := range e.Attr {
					var v float64
					if err := json.Unmarshal([]byte(attr.Value), &v); err == nil && (v < 0 || math.IsNaN(v) || v > plotWidth && attr.Name.Local != "y" && attr.Name.Local != "cy") {
						t.Errorf("%s of a %s is %s", attr.Name.Local, e.Name.Local, attr.Value)
					}
				}
			}
		}
		if least := 2 * len(workload.All()); shapes < least {
			t.Errorf("%s has %d shapes, at least %d are to be seen", state, shapes, least)
		}
	}
	if ok, err := Collect(nil).WritePlot(io.Discard, Warm); ok || err != nil {
		t.Errorf("a plot of nothing: %v, %v", ok, err)
	}
}
