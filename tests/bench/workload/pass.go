package workload

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Kind says what a pass is for.
type Kind string

// The kinds of passes. Only Time takes no time for checking.
const (
	Time  Kind = "time"  // read as fast as it goes
	Check Kind = "check" // read the same, and compare each byte
	Warm  Kind = "warm"  // read all that any seed would read, and compare
)

// A Pass is one time through a workload.
type Pass struct {
	Workload string
	Dir      string // that holds the workload's set
	Scale    Scale
	Seed     uint64 // the same seed reads the same
	Kind     Kind

	Least   time.Duration // begin again until so much time has gone by
	Limit   time.Duration // stop early when so much time has gone by; 0: never
	Latency bool          // take the time of each operation
}

// An Outcome is what a pass did.
type Outcome struct {
	Seconds float64 `json:"seconds"`
	Ops     int64   `json:"ops"`
	Bytes   int64   `json:"bytes"`         // that were asked for
	Rate    float64 `json:"rate"`          // in the workload's unit
	Cut     bool    `json:"cut,omitempty"` // it reached its limit

	CPU         float64 `json:"cpu_seconds"` // of this process
	MajorFaults int64   `json:"major_faults"`
	Memory      int64   `json:"memory"` // the most it took

	P50 float64 `json:"p50_seconds,omitempty"` // of operations
	P99 float64 `json:"p99_seconds,omitempty"`
	Max float64 `json:"max_seconds,omitempty"`

	// Accelerators is how many the card's readers could keep busy.
	Accelerators float64 `json:"accelerators,omitempty"`
}

// Run makes a pass. The error is ErrWrong if what was read is not what the set
// holds; a pass to take time compares lengths only.
func (p Pass) Run() (Outcome, error) {
	w, err := Named(p.Workload)
	if err != nil {
		return Outcome{}, err
	}
	set, err := SetNamed(w.Set)
	if err != nil {
		return Outcome{}, err
	}
	r := newRun(p, set)
	do := w.run
	if p.Kind == Warm && w.warm != nil {
		do = w.warm
	}
	for again := true; again; again = p.Kind == Time && r.took < p.Least && !r.cut.Load() {
		if err := r.once(do); err != nil {
			return Outcome{}, fmt.Errorf("%s: %w", p.Workload, err)
		}
	}
	return r.outcome(w.Unit), nil
}

// A run is a pass under way.
type run struct {
	Pass
	set   *Set
	check bool
	rng   *rand.Rand // of whoever runs the workload, not of its workers

	began  time.Time // of this turn; zero before start
	before unix.Rusage
	took   time.Duration // of all turns
	cpu    time.Duration
	faults int64

	ops, bytes   int64
	cut          atomic.Bool
	latencies    []time.Duration
	accelerators float64 // that one operation per second keeps busy
}

func newRun(p Pass, set *Set) *run {
	return &run{Pass: p, set: set, check: p.Kind != Time, rng: rand.New(rand.NewPCG(p.Seed, 7))}
}

// once takes one turn of the workload.
func (r *run) once(do func(*run) error) error {
	r.began = time.Time{}
	if err := do(r); err != nil {
		return err
	}
	if r.began.IsZero() {
		return fmt.Errorf("internal error: the workload never started")
	}
	r.took += time.Since(r.began)
	after := usage()
	r.cpu += cpuOf(after) - cpuOf(r.before)
	r.faults += after.Majflt - r.before.Majflt
	return nil
}

// start begins to count time, unless it has.
func (r *run) start() {
	if r.began.IsZero() {
		runtime.GC()
		r.before, r.began = usage(), time.Now()
	}
}

// over reports whether the limit is reached.
func (r *run) over() bool {
	if r.Limit > 0 && r.took+time.Since(r.began) > r.Limit {
		r.cut.Store(true)
	}
	return r.cut.Load()
}

func (r *run) files() []File { return slices.Collect(r.set.Files(r.Scale)) }

func (r *run) outcome(unit string) Outcome {
	o := Outcome{
		Seconds: r.took.Seconds(), Ops: r.ops, Bytes: r.bytes, Cut: r.cut.Load(),
		CPU: r.cpu.Seconds(), MajorFaults: r.faults, Memory: usage().Maxrss << 10,
	}
	done := float64(o.Ops)
	if unit == "MB/s" {
		done = float64(o.Bytes) / 1e6
	}
	o.Rate = done / o.Seconds
	o.Accelerators = r.accelerators * o.Rate
	if l := r.latencies; len(l) > 0 {
		slices.Sort(l)
		o.P50, o.P99, o.Max = l[len(l)/2].Seconds(), l[len(l)*99/100].Seconds(), l[len(l)-1].Seconds()
	}
	return o
}

// usage is of this process and of the programs it has run.
func usage() unix.Rusage {
	var self, children unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &self)
	unix.Getrusage(unix.RUSAGE_CHILDREN, &children)
	self.Majflt += children.Majflt
	self.Utime.Sec, self.Utime.Usec = self.Utime.Sec+children.Utime.Sec, self.Utime.Usec+children.Utime.Usec
	self.Stime.Sec, self.Stime.Usec = self.Stime.Sec+children.Stime.Sec, self.Stime.Usec+children.Stime.Usec
	return self
}

func cpuOf(u unix.Rusage) time.Duration {
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
