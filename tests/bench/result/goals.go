package result

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A goal is a row of the table of what Floe is to reach.
type goal struct {
	what  string
	goal  string
	meets func(v float64) bool
	value func(a *All, contestant string) (float64, bool) // what is compared with the goal
	ours  bool                                            // the peers have no such figure
}

func atLeast(limit float64) func(float64) bool { return func(v float64) bool { return v >= limit } }
func atMost(limit float64) func(float64) bool  { return func(v float64) bool { return v <= limit } }

// toNative is the ratio to native.
func toNative(name string, state State) func(*All, string) (float64, bool) {
	return func(a *All, c string) (float64, bool) {
		s, ok := a.Of(name, c, state)
		return s.Ratio, ok && s.Ratio > 0
	}
}

func fetched(name string) func(*All, string) (float64, bool) {
	return func(a *All, c string) (float64, bool) {
		s, ok := a.Of(name, c, Cold)
		return s.Amplified, ok && s.Amplified >= 0
	}
}

// alive is the ratio of a contestant with f of n shards dead to one with none.
func alive(name string) func(*All, string) (float64, bool) {
	return func(a *All, c string) (float64, bool) { return a.over(name, Cold, c+"+dead", c) }
}

// over is the ratio of two contestants.
func (a *All) over(name string, state State, one, other string) (float64, bool) {
	x, okx := a.Of(name, one, state)
	y, oky := a.Of(name, other, state)
	return x.Rate / y.Rate, okx && oky && x.Rate > 0 && y.Rate > 0
}

// goals are the rows of section 8 of the design that this program can fill.
// What a fetch without a mount reaches, and what the official encoder does, it
// does not measure.
var goals = []goal{
	{"warm sequential", "≥ 0.95", atLeast(0.95), toNative("sequential", Warm), false},
	{"warm random 4 KiB", "≥ 0.95", atLeast(0.95), toNative("random-4k", Warm), false},
	{"warm random 128 KiB", "≥ 0.95", atLeast(0.95), toNative("random-128k", Warm), false},
	{"warm mmap, sequential", "≥ 0.75", atLeast(0.75), toNative("mmap-sequential", Warm), false},
	{"warm small files: open+read+close", "≥ 1.0", atLeast(1), toNative("small", Warm), false},
	{"`ls -lR` of 100,000 files, kernel caches dropped", "≥ 1.5", atLeast(1.5), toNative("ls-lR", Dropped), false},
	{"`find` of the same", "≥ 0.5", atLeast(0.5), toNative("find", Dropped), false},
	{"disk-cold sequential", "≥ 0.9", atLeast(0.9), toNative("sequential", Dropped), false},
	{"disk-cold random 4 KiB", "≥ 0.5", atLeast(0.5), toNative("random-4k", Dropped), false},
	{"disk-cold small files", "≥ 0.5", atLeast(0.5), toNative("small", Dropped), false},
	{"bytes fetched per byte asked, sequential", "≤ 1.05", atMost(1.05), fetched("sequential"), false},
	{"bytes fetched per byte asked, random 4 KiB", "≤ 17", atMost(17), fetched("random-4k"), false},
	{"f of n shards dead, sequential, beside all alive", "≥ 0.5", atLeast(0.5), alive("sequential"), true},
	{"f of n shards dead, small files, beside all alive", "≥ 0.5", atLeast(0.5), alive("small"), true},
	{"wire-cold small files, beside the faster of rclone and s3fs", "≥ 3", atLeast(3), beside("small", "rclone", "s3fs"), true},
	{"MiB of memory: tree of 1,000,000 walked, 200 files open", "≤ 512", atMost(512), memory, false},
}

// beside is the ratio to the fastest of others.
func beside(name string, others ...string) func(*All, string) (float64, bool) {
	return func(a *All, c string) (float64, bool) {
		least, some := 0.0, false
		for _, o := range others {
			if r, ok := a.over(name, Cold, c, o); ok && (!some || r < least) {
				least, some = r, true
			}
		}
		return least, some
	}
}

func memory(a *All, c string) (float64, bool) {
	most := 0.0
	for _, state := range []State{Warm, Dropped, Cold} {
		if s, ok := a.Of("million-walk", c, state); ok && s.Runs > 0 {
			most = max(most, float64(s.Memory)/(1<<20))
		}
	}
	return most, most > 0
}

// kinds are the columns of the table of goals.
var kinds = []string{"floe", "floe-dir", "squashfs", "squashfuse", "erofs", "s3fs", "rclone"}

// WriteGoals writes the table of goals in Markdown, and how often each peer is
// overtaken. What does not reach its goal is bold.
func (a *All) WriteGoals(w io.Writer) error {
	columns := slices.DeleteFunc(slices.Clone(kinds), func(c string) bool { return !slices.Contains(a.names, c) })
	fmt.Fprintf(w, "| what, as a ratio to native if nothing is said | goal | %s |\n|---|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---:|", len(columns)))
	for _, g := range goals {
		row := []string{g.what, g.goal}
		some := false
		for _, c := range columns {
			v, ok := g.value(a, c)
			if ours := strings.HasPrefix(c, "floe"); !ok || g.ours && !ours {
				row = append(row, "")
			} else if ours && !g.meets(v) {
				row, some = append(row, "**"+figure(v)+"**"), true
			} else {
				row, some = append(row, figure(v)), true
			}
		}
		if some {
			fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		}
	}
	return a.writeOvertaken(w, columns)
}

// figure writes a ratio, or a number of something.
func figure(v float64) string {
	if v >= 100 {
		return number(v)
	}
	return ratioText(v)
}

// writeOvertaken says of each peer in how many workloads Floe is ahead of it,
// and names the others.
func (a *All) writeOvertaken(w io.Writer, columns []string) error {
	for _, peer := range columns {
		if strings.HasPrefix(peer, "floe") {
			continue
		}
		ahead, of := 0, 0
		var behind []string
		for _, state := range []State{Warm, Dropped, Cold} {
			for _, l := range a.Workloads() {
				r, ok := a.over(l.Name, state, "floe", peer)
				if !ok {
					continue
				}
				of++
				if r >= 1 {
					ahead++
				} else {
					behind = append(behind, fmt.Sprintf("%s %s (%s)", state, l.Name, ratioText(r)))
				}
			}
		}
		if of == 0 {
			continue
		}
		fmt.Fprintf(w, "\nfloe is ahead of %s in %d of %d", peer, ahead, of)
		if len(behind) > 0 {
			fmt.Fprintf(w, "; behind in %s", strings.Join(behind, ", "))
		}
		fmt.Fprintln(w, ".")
	}
	return nil
}
