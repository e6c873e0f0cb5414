package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/tests/bench/result"
	"github.com/floefs/floe/tests/bench/slownet"
	"github.com/floefs/floe/tests/bench/workload"
)

// A bench is one run of everything that was chosen.
type bench struct {
	floe        string // the program
	peers       string // the directory of other programs
	scratch     string // the directory to make stages in
	scale       workload.Scale
	repeats     int
	limit       time.Duration
	network     slownet.Model
	states      []result.State
	contestants []contestant
	workloads   []workload.Workload

	lines    *json.Encoder
	progress io.Writer
	all      []result.Line
	failures []error // of contestants that must not fail
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, format+"\n", args...) }

func (b *bench) write(l result.Line) error {
	b.all = append(b.all, l)
	return b.lines.Encode(l)
}

// run runs all workloads, set by set.
func (b *bench) run(ctx context.Context) error {
	var sets []string
	for _, w := range b.workloads {
		if !slices.Contains(sets, w.Set) {
			sets = append(sets, w.Set)
		}
	}
	for _, name := range sets {
		set, err := workload.SetNamed(name)
		if err == nil {
			err = b.play(ctx, set)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(b.failures...)
}

// An entrant is a contestant on a stage.
type entrant struct {
	contestant
	*view
	warmed map[string]bool // workloads it has read all of
}

// play runs the workloads of one set.
func (b *bench) play(ctx context.Context, set *workload.Set) (err error) {
	st, err := newStage(ctx, b, set)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	entrants, err := b.enter(ctx, st)
	if err != nil {
		return err
	}
	for _, w := range b.workloads {
		if w.Set != set.Name {
			continue
		}
		for _, state := range b.states {
			if err := b.interleave(ctx, w, state, entrants); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter mounts the set for all contestants.
func (b *bench) enter(ctx context.Context, st *stage) ([]*entrant, error) {
	var entrants []*entrant
	for _, c := range b.contestants {
		if !slices.ContainsFunc(c.states, func(s result.State) bool { return slices.Contains(b.states, s) }) || c.missing(b) != "" {
			continue
		}
		v, err := c.show(ctx, st)
		if err == nil {
			st.atEnd(v.close)
			err = v.up(ctx)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("%s: %s: %w", st.set.Name, c.name, err)
			if c.ours {
				return nil, err
			}
			b.say("%v", err)
			for _, w := range b.workloads {
				if w.Set == st.set.Name {
					if err := b.write(result.Line{Missing: &result.Missing{Contestant: c.name, Workload: w.Name, Why: err.Error()}}); err != nil {
						return nil, err
					}
				}
			}
			continue
		}
		entrants = append(entrants, &entrant{c, v, map[string]bool{}})
	}
	return entrants, nil
}

// interleave lets the contestants run one after the other, again and again,
// each time another one first.
func (b *bench) interleave(ctx context.Context, w workload.Workload, state result.State, entrants []*entrant) error {
	var field []*entrant
	for _, e := range entrants {
		if slices.Contains(e.states, state) {
			field = append(field, e)
		}
	}
	for repeat := range b.repeats {
		for i := range field {
			e := field[(i+repeat)%len(field)]
			r := result.Run{Workload: w.Name, Contestant: e.name, State: state, Repeat: repeat + 1, Unit: w.Unit}
			err := b.once(ctx, w, e, &r)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				r.Error = err.Error()
				b.say("%s", r.Error)
				if e.ours || errors.Is(err, workload.ErrWrong) {
					b.failures = append(b.failures, fmt.Errorf("%s, %s: %w", e.name, state, err))
				}
			}
			b.say("%-18s %-8s %-14s %d  %12.1f %s", w.Name, state, e.name, r.Repeat, r.Rate, w.Unit)
			if err := b.write(result.Line{Run: &r}); err != nil {
				return err
			}
		}
	}
	return nil
}

// once takes the time of one run and has what it read checked.
func (b *bench) once(ctx context.Context, w workload.Workload, e *entrant, r *result.Run) error {
	pass := workload.Pass{Workload: w.Name, Dir: e.dir, Scale: b.scale, Seed: uint64(r.Repeat)}
	if r.State == result.Cold {
		if err := e.forget(ctx); err != nil {
			return err
		}
		delete(e.warmed, w.Name)
	} else if !e.warmed[w.Name] {
		// It fills the caches, and it finds every false byte in them.
		pass.Kind, pass.Limit = workload.Warm, 6*b.limit
		if o, err := read(ctx, pass); err != nil {
			return err
		} else if o.Cut {
			b.say("%s: %s is not warm after %v", w.Name, e.name, pass.Limit)
		}
		e.warmed[w.Name] = true
	}
	pass.Kind, pass.Limit = workload.Time, b.limit
	if r.State == result.Warm {
		pass.Least = 300 * time.Millisecond
	} else {
		pass.Latency = true
		if err := b.dropCaches(); err != nil {
			return err
		}
	}
	if err := b.measure(ctx, pass, e.view, r); err != nil || r.State == result.Warm {
		return err
	}
	// The kernel still has what was read.
	pass.Kind, pass.Latency, pass.Limit = workload.Check, false, 3*b.limit
	_, err := read(ctx, pass)
	return err
}

// measure runs a pass and notes what it cost everybody.
func (b *bench) measure(ctx context.Context, pass workload.Pass, v *view, r *result.Run) error {
	var server []*process
	if v.server != nil {
		server = append(server, v.server)
		resetMemory(v.server)
	}
	costs := func() (c [4]float64, fetched int64, err error) {
		if v.fetched != nil {
			fetched, err = v.fetched(ctx)
		}
		return [4]float64{cpuOf(server...), cpuOf(v.remote...), ownCPU(), machineCPU()}, fetched, err
	}
	before, had, err := costs()
	if err != nil {
		return err
	}
	if r.Outcome, err = read(ctx, pass); err != nil {
		return err
	}
	after, has, err := costs()
	if err != nil {
		return err
	}
	r.ServerCPU, r.RemoteCPU = after[0]-before[0], after[1]-before[1]
	r.NetworkCPU, r.MachineCPU = after[2]-before[2], after[3]-before[3]
	if v.server != nil {
		r.ServerMemory = memoryOf(v.server)
	}
	if v.fetched != nil {
		n := has - had
		r.Fetched = &n
	}
	return nil
}

func ownCPU() float64 {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// passVariable makes this program the reader of the pass that it holds.
const passVariable = "FLOE_BENCH_PASS"

// An answer is what the reader says.
type answer struct {
	Outcome workload.Outcome
	Error   string
	Wrong   bool
}

// read makes a pass in a process of its own: what it costs is counted apart.
func read(ctx context.Context, pass workload.Pass) (workload.Outcome, error) {
	spec, err := json.Marshal(pass)
	if err != nil {
		return workload.Outcome{}, err
	}
	exe, err := os.Executable()
	if err != nil {
		return workload.Outcome{}, err
	}
	cmd := exec.CommandContext(ctx, exe)
	// Go's own signals, which other programs do not get, interrupt reads.
	cmd.Env = append(os.Environ(), passVariable+"="+string(spec), "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return workload.Outcome{}, fmt.Errorf("reading %s: %w", pass.Workload, err)
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		return a.Outcome, err
	}
	switch {
	case a.Wrong:
		return a.Outcome, fmt.Errorf("%w: %s", workload.ErrWrong, a.Error)
	case a.Error != "":
		return a.Outcome, errors.New(a.Error)
	}
	return a.Outcome, nil
}

// beReader makes the pass that spec is, and says what came of it.
func beReader(spec string, out io.Writer) error {
	var pass workload.Pass
	if err := json.Unmarshal([]byte(spec), &pass); err != nil {
		return err
	}
	o, err := pass.Run()
	a := answer{Outcome: o, Wrong: errors.Is(err, workload.ErrWrong)}
	if err != nil {
		a.Error = err.Error()
	}
	return json.NewEncoder(out).Encode(a)
}
