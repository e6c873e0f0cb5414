package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

var nodesCommand = command{
	name:     "nodes",
	group:    "trust",
	brief:    "show the nodes of a committee: who answers, how fast, who lies",
	complete: "mount",
	help: `Usage: floe nodes [--json] [--watch] [--from committee.toml | DIR...]

  floe nodes --from committee.toml    asks each node how it is, or an aggregator by its URL
  floe nodes /mnt/flowers             how each has behaved since that was mounted
  floe nodes                          the same for all mounts
  floe nodes --watch /mnt/flowers     goes on until Ctrl-C

Of a mount, tells what its reads have met: latency, errors, false bytes, and
nodes that are left alone for a while since they failed or lied. False bytes are
kept in ~/.local/state/floe/evidence. The exit code is 5 if a node does not
answer.
`,
	new: func(f *flags) action {
		n := &nodesTool{}
		f.BoolVarP(&n.watching, "watch", "w", false, "show it again and again, on a terminal in place")
		f.DurationVar(&n.interval, "interval", time.Second, "with --watch, every `TIME`")
		f.private("watch", "interval")
		jsonFlag(f, &n.json)
		n.sources.fromFlag(f)
		return n.run
	},
}

type nodesTool struct {
	sources
	json     bool
	watching bool
	interval time.Duration
}

// A nodeJSON is one line of nodes --json.
type nodeJSON struct {
	nodeStatus
	Place      string  `json:"place"`     // a committee file, or where a mount is
	Answers    bool    `json:"reachable"` // as far as is known
	State      string  `json:"node_status,omitempty"`
	UptimeSecs float64 `json:"uptime_seconds,omitempty"`

	Time *time.Time `json:"time,omitempty"` // with --watch
}

func (n *nodesTool) run(ctx context.Context, e *env, args []string) error {
	n.cacheMode = "auto"
	if err := n.check(e); err != nil {
		return err
	}
	if n.interval <= 0 {
		return usagef("--interval %s: it must be more than nothing", n.interval)
	}
	look := func(ctx context.Context, _ int) ([]nodeJSON, error) { return n.ofMounts(ctx, e, args) }
	if len(args) == 0 && len(n.from) > 0 {
		places, err := n.open(e)
		defer places.close()
		if err != nil {
			return err
		}
		look = places.ask
	}
	if n.watching {
		return n.watch(ctx, e, look)
	}
	all, err := look(ctx, asks)
	if len(all) == 0 && err == nil && !n.json {
		fmt.Fprintln(e.stderr, nothingMounted)
	}
	p := e.printer(n.json)
	silent := n.write(p, all)
	if err = errors.Join(err, p.Flush()); err == nil && silent > 0 {
		err = exitWith(exitTryLater, fmt.Errorf("%s of %d: floe verify ID tells whether all can be read without", count(silent, "node does not answer", "nodes do not answer"), len(all)))
	}
	return err
}

const nothingMounted = "nothing is mounted: floe nodes --from committee.toml asks nodes themselves"

// write writes what is known of nodes, and returns how many do not answer.
func (n *nodesTool) write(p *printer, all []nodeJSON) (silent int) {
	for i, j := range all {
		if !j.Answers {
			silent++
		}
		if n.json {
			p.object(j)
			continue
		}
		if i == 0 || all[i-1].Place != j.Place {
			fmt.Fprintln(p, p.name(j.Place))
			fmt.Fprintf(p, "  %-12s %6s %9s %9s %9s %7s %6s  %s\n", "node", "shards", "p50", "p95", "requests", "errors", "lies", "state")
		}
		j.write(p)
	}
	return silent
}

func (j nodeJSON) write(p *printer) {
	shards := "all"
	switch {
	case j.Shards > 0:
		shards = grouped(j.Shards)
	case j.Rows:
		shards = "rows"
	}
	fmt.Fprintf(p, "  %-12s %6s %9s %9s %9s %7s %6s  %s\n", printable(j.Name), shards, latency(j.P50), latency(j.P95),
		grouped(j.Requests), grouped(j.Errors), grouped(j.Lies), printable(j.URL+": "+j.short()))
}

// short says how a node is, in a word if all is well.
func (j nodeJSON) short() string {
	switch {
	case j.Error != "":
		return "does not answer: " + j.Error
	case j.Quarantined > 0:
		return fmt.Sprintf("asked last for %s more, since it lied", ofSeconds(j.Quarantined))
	case j.Resting > 0:
		return fmt.Sprintf("left alone for %s more, since it fails: %s", ofSeconds(j.Resting), j.LastError)
	case j.State != "":
		return j.State
	}
	return "answers"
}

func ofSeconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}

func latency(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Millisecond {
		return d.Round(time.Microsecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

// ofMounts asks those who serve mounts.
func (n *nodesTool) ofMounts(ctx context.Context, e *env, args []string) ([]nodeJSON, error) {
	mounts, err := chosenMounts(e, args)
	if err != nil {
		return nil, err
	}
	var all []nodeJSON
	for _, m := range mounts {
		st, conn, askErr := e.askMount(ctx, m)
		if askErr != nil {
			err = errors.Join(err, exitWith(exitTryLater, fmt.Errorf("%s: %w", m.Dir, askErr)))
			continue
		}
		conn.Close()
		for _, ns := range st.Nodes {
			all = append(all, nodeJSON{nodeStatus: ns, Place: m.Dir, Answers: ns.Error == "" && ns.Resting == 0})
		}
	}
	return all, err
}

// openPlaces are places whose nodes are asked.
type openPlaces struct {
	places   []*place
	nodes    []*polled
	patience time.Duration // for one answer
}

// A polled is a node that is asked now and then, and what it said.
type polled struct {
	member
	place string
	said  nodeJSON
	took  []time.Duration // the latest
}

// open opens the places to read from.
func (n *nodesTool) open(e *env) (*openPlaces, error) {
	o := &openPlaces{patience: patience}
	if n.watching { // one that hangs must not hold up the others
		o.patience = min(patience, max(time.Second, n.interval))
	}
	for _, url := range n.from {
		p, err := e.openPlace(url, &n.reach, func(string) bool { return true })
		if err != nil {
			return o, err
		}
		o.places = append(o.places, p)
		for _, m := range p.members {
			o.nodes = append(o.nodes, &polled{member: m, place: p.url})
		}
	}
	return o, nil
}

func (o *openPlaces) close() {
	for _, p := range o.places {
		p.close()
	}
}

// ask asks each node so many times how it is.
func (o *openPlaces) ask(ctx context.Context, times int) ([]nodeJSON, error) {
	all := make([]nodeJSON, len(o.nodes))
	var g errgroup.Group
	g.SetLimit(64)
	for i, a := range o.nodes {
		g.Go(func() error {
			a.ask(ctx, times, o.patience)
			all[i] = a.said
			return nil
		})
	}
	g.Wait()
	return all, context.Cause(ctx)
}

const (
	asks     = 5   // how often a node is asked, to see how fast it is
	asksKept = 100 // whose times count
	patience = 5 * time.Second
)

// ask asks a node so many times how it is, until it does not answer.
func (a *polled) ask(ctx context.Context, times int, patience time.Duration) {
	j := &a.said
	j.Name, j.URL, j.Shards, j.Rows, j.Near, j.Place = a.Name, a.url, len(a.shards), a.Rows, a.Near, a.place
	j.Error = ""
	if a.client == nil && a.aggregator == nil {
		if err := a.atHand(); err != nil {
			j.Error = err.Error()
		}
		j.Answers = j.Error == ""
		return
	}
	for range times {
		began := time.Now()
		one, cancel := context.WithTimeout(ctx, patience)
		state, uptime, err := a.health(one)
		cancel()
		j.Requests++
		if j.Answers = err == nil; err != nil {
			j.Errors++
			j.Error, j.LastError = err.Error(), err.Error()
			return
		}
		a.took = append(a.took, time.Since(began))
		a.took = a.took[max(0, len(a.took)-asksKept):]
		j.State, j.UptimeSecs = state, uptime
	}
	took := slices.Sorted(slices.Values(a.took))
	j.P50, j.P95 = took[len(took)/2].Seconds(), took[len(took)*95/100].Seconds()
}
