package result

import (
	"slices"

	"github.com/floefs/floe/tests/bench/workload"
)

// Native is the contestant that others are compared with: the directory that
// was put.
const Native = "native"

// A Summary is what all runs of one workload by one contestant in one state
// say together.
type Summary struct {
	Runs   int
	Rate   float64 // the median
	Min    float64
	Max    float64
	Ratio  float64 // to native, see All.Of; 0: there is none
	Cut    bool    // at least one run reached its limit
	Errors int
	Error  string // one of them

	CPUPerGB     float64 // seconds of all of the machine; the median
	ServerPerGB  float64
	Memory       int64   // the most of all runs
	Amplified    float64 // bytes fetched per byte asked for; the median; -1: not known
	P50, P99     float64 // seconds; the medians
	Longest      float64 // the most of all runs
	Accelerators float64 // at the median rate
}

// A Key names a Summary.
type Key struct {
	Workload, Contestant string
	State                State
}

// All is a file of results.
type All struct {
	Machine Machine
	Missing []Missing
	runs    map[Key][]*Run
	names   []string // of contestants, as they come
}

// Collect puts lines together.
func Collect(lines []Line) *All {
	a := &All{runs: map[Key][]*Run{}}
	for _, l := range lines {
		switch {
		case l.Machine != nil:
			a.Machine = *l.Machine
		case l.Missing != nil:
			a.Missing = append(a.Missing, *l.Missing)
		case l.Run != nil:
			r := l.Run
			k := Key{r.Workload, r.Contestant, r.State}
			a.runs[k] = append(a.runs[k], r)
			if !slices.Contains(a.names, r.Contestant) {
				a.names = append(a.names, r.Contestant)
			}
		}
	}
	return a
}

// Contestants returns their names, in the order of the file.
func (a *All) Contestants() []string { return a.names }

// Workloads returns those that were run, in their own order.
func (a *All) Workloads() []workload.Workload {
	return slices.DeleteFunc(workload.All(), func(w workload.Workload) bool {
		for k := range a.runs {
			if k.Workload == w.Name {
				return false
			}
		}
		return true
	})
}

// Of returns a summary. What is cold is compared with native when the kernel
// has forgotten it: native has no colder state.
func (a *All) Of(name, contestant string, state State) (Summary, bool) {
	s, ok := a.of(Key{name, contestant, state})
	if !ok {
		return s, false
	}
	base := state
	if state == Cold {
		base = Dropped
	}
	if n, ok := a.of(Key{name, Native, base}); ok && n.Rate > 0 {
		s.Ratio = s.Rate / n.Rate
	}
	return s, true
}

func (a *All) of(k Key) (s Summary, ok bool) {
	runs := a.runs[k]
	if len(runs) == 0 {
		return s, false
	}
	var rates, cpu, server, amplified, p50, p99 []float64
	for _, r := range runs {
		if r.Error != "" {
			s.Errors, s.Error = s.Errors+1, r.Error
			continue
		}
		rates = append(rates, r.Rate)
		p50, p99 = append(p50, r.P50), append(p99, r.P99)
		s.Longest, s.Memory = max(s.Longest, r.Max), max(s.Memory, r.ServerMemory)
		s.Cut = s.Cut || r.Cut
		s.Accelerators = r.Accelerators / r.Rate
		if r.Bytes == 0 {
			continue
		}
		gb := float64(r.Bytes) / 1e9
		cpu, server = append(cpu, r.MachineCPU/gb), append(server, r.ServerCPU/gb)
		if r.Fetched != nil {
			amplified = append(amplified, float64(*r.Fetched)/float64(r.Bytes))
		}
	}
	s.Runs = len(rates)
	s.Amplified = -1
	if len(rates) > 0 {
		s.Rate, s.Min, s.Max = Median(rates), slices.Min(rates), slices.Max(rates)
		s.P50, s.P99 = Median(p50), Median(p99)
		s.Accelerators *= s.Rate
	}
	if len(cpu) > 0 {
		s.CPUPerGB, s.ServerPerGB = Median(cpu), Median(server)
	}
	if len(amplified) > 0 {
		s.Amplified = Median(amplified)
	}
	return s, true
}

// Median returns the median of v, which is not empty: of an even number of
// values, the mean of the two in the middle.
func Median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
