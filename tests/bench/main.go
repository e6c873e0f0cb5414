// Command bench runs the same workloads on a directory and on every file
// system that can show it: Floe, and its peers. It writes a line of JSON for
// each run, and a table and a plot of the medians. See make bench.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/floefs/floe/tests/bench/result"
	"github.com/floefs/floe/tests/bench/workload"
)

func main() {
	if spec := os.Getenv(passVariable); spec != "" {
		if err := beReader(spec, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// scales are those that have names.
var scales = map[string]workload.Scale{"full": 1, "small": 0.1, "tiny": 0.001}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	b := &bench{progress: stderr}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&b.floe, "floe", "bin/floe", "the `PROGRAM` to measure")
	f.StringVar(&b.peers, "peers", "bin/peers", "look for peers' programs in `DIR` first")
	f.StringVar(&b.scratch, "scratch", "bin", "work in `DIR`, on the disk to measure; needs room for twenty times the largest set")
	f.IntVar(&b.repeats, "repeats", 3, "run everything `N` times")
	f.DurationVar(&b.limit, "limit", 10*time.Second, "end a run after `TIME`; its rate is that until then")
	f.DurationVar(&b.network.RoundTrip, "round-trip", 20*time.Millisecond, "`TIME` of the network's")
	f.Float64Var(&b.network.Rate, "bandwidth", 100e6, "`BYTES` per second of each node's network, in each direction")
	scale := f.String("scale", "full", "full, small, tiny, or a `FACTOR` of full")
	only := f.String("only", "", "run the `WORKLOADS`, with commas between (default all)")
	who := f.String("contestants", "", "with the `CONTESTANTS` (default all)")
	states := f.String("states", "", "in the `STATES` warm, dropped, cold (default all)")
	out := f.String("out", "", "write lines to `FILE`")
	list := f.Bool("list", false, "list workloads and contestants")
	report := f.String("report", "", "run nothing; make the tables and plots of the lines in `FILE`")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("what is %q? bench -h shows its flags", f.Arg(0))
	case *list:
		return b.list(stdout)
	case *report != "":
		return reportFile(stdout, *report)
	}
	if err := b.choose(*scale, *only, *who, *states); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("only root can mount and empty the kernel's caches: sudo make bench")
	}
	return b.record(ctx, *out, stdout)
}

// choose sets what is run.
func (b *bench) choose(scale, only, who, states string) (err error) {
	var named bool
	if b.scale, named = scales[scale]; !named {
		v, err := strconv.ParseFloat(scale, 64)
		if err != nil || v <= 0 || v > 100 {
			return fmt.Errorf("-scale %s: it is full, small, tiny, or a factor", scale)
		}
		b.scale = workload.Scale(v)
	}
	if b.contestants, err = choose(split(who)); err != nil {
		return err
	}
	b.states = all
	if names := split(states); len(names) > 0 {
		b.states = slices.DeleteFunc(slices.Clone(all), func(s result.State) bool { return !slices.Contains(names, string(s)) })
		if len(b.states) != len(names) {
			return fmt.Errorf("-states %s: they are warm, dropped and cold", states)
		}
	}
	b.workloads = workload.All()
	if names := split(only); len(names) > 0 {
		b.workloads = nil
		for _, n := range names {
			w, err := workload.Named(n)
			if err != nil {
				return fmt.Errorf("%w: bench -list shows them", err)
			}
			b.workloads = append(b.workloads, w)
		}
	}
	for _, path := range []*string{&b.floe, &b.peers, &b.scratch} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	return nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// record runs what is chosen, and writes lines as they come and the tables at
// the end.
func (b *bench) record(ctx context.Context, file string, stdout io.Writer) (err error) {
	lines := io.Discard
	if file != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		lines = f
	}
	b.lines = json.NewEncoder(lines)
	if err := b.write(result.Line{Machine: b.machine()}); err != nil {
		return err
	}
	for _, c := range b.contestants {
		if why := c.missing(b); why != "" {
			b.say("%s: %s", c.name, why)
			if err := b.write(result.Line{Missing: &result.Missing{Contestant: c.name, Why: why}}); err != nil {
				return err
			}
		}
	}
	ran := b.run(ctx)
	if err := show(stdout, result.Collect(b.all), file); err != nil {
		return err
	}
	return ran
}

// show writes tables, and beside the file of lines, if there is one, a plot
// of each state.
func show(w io.Writer, a *result.All, file string) error {
	if err := a.WriteTable(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := a.WriteGoals(w); err != nil || file == "" {
		return err
	}
	for _, state := range all {
		var b bytes.Buffer
		some, err := a.WritePlot(&b, state)
		if err == nil && some {
			err = os.WriteFile(filepath.Join(filepath.Dir(file), string(state)+".svg"), b.Bytes(), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) list(w io.Writer) error {
	fmt.Fprintln(w, "workloads:")
	for _, l := range workload.All() {
		fmt.Fprintf(w, "  %-18s %s\n", l.Name, l.About)
	}
	fmt.Fprintln(w, "contestants:")
	for _, c := range contestants {
		fmt.Fprintf(w, "  %-18s %s\n", c.name, c.about)
	}
	return nil
}

func reportFile(w io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines, err := result.Read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return show(w, result.Collect(lines), name)
}
