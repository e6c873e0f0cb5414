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
	help: `Usage: floe nodes [--json] [--from committee.toml | DIR...]

  floe nodes --from committee.toml    asks each node how it is
  floe nodes /mnt/flowers             how each has behaved since that was mounted
  floe nodes                          the same for all mounts

Of a mount, tells what its reads have met: latency, errors, false bytes, and
nodes that are left alone for a while since they failed or lied. False bytes are
kept in ~/.local/state/floe/evidence. The exit code is 5 if a node does not
answer.
`,
	new: func(f *flags) action {
		n := &nodesTool{}
		jsonFlag(f, &n.json)
		n.sources.fromFlag(f)
		return n.run
	},
}

type nodesTool struct {
	sources
	json bool
}

// A nodeJSON is one line of nodes --json.
type nodeJSON struct {
	nodeStatus
	Place      string  `json:"place"`     // a committee file, or where a mount is
	Answers    bool    `json:"reachable"` // as far as is known
	State      string  `json:"node_status,omitempty"`
	UptimeSecs float64 `json:"uptime_seconds,omitempty"`
}

func (n *nodesTool) run(ctx context.Context, e *env, args []string) error {
	n.cacheMode = "auto"
	if err := n.check(e); err != nil {
		return err
	}
	all, err := n.ofMounts(ctx, e, args)
	if len(args) == 0 && len(n.from) > 0 {
		all, err = n.ofPlaces(ctx, e)
	}
	p := e.printer(n.json)
	if len(all) == 0 && err == nil && !n.json {
		fmt.Fprintln(e.stderr, "nothing is mounted: floe nodes --from committee.toml asks nodes themselves")
	}
	silent := 0
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
	if err = errors.Join(err, p.Flush()); err == nil && silent > 0 {
		err = exitWith(exitTryLater, fmt.Errorf("%s of %d: floe verify ID tells whether all can be read without", count(silent, "node does not answer", "nodes do not answer"), len(all)))
	}
	return err
}

func (j nodeJSON) write(p *printer) {
	shards := "all"
	if j.Shards > 0 {
		shards = grouped(j.Shards)
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
	if len(args) == 0 && len(n.from) > 0 {
		return nil, nil
	}
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

// ofPlaces asks the nodes of places themselves.
func (n *nodesTool) ofPlaces(ctx context.Context, e *env) ([]nodeJSON, error) {
	var all []nodeJSON
	for _, url := range n.from {
		p, err := e.openPlace(url, func(string) bool { return true })
		if err != nil {
			return all, err
		}
		defer p.close()
		of := make([]nodeJSON, len(p.members))
		var g errgroup.Group
		g.SetLimit(64)
		for i, m := range p.members {
			g.Go(func() error {
				of[i] = m.ask(ctx)
				of[i].Place = p.url
				return nil
			})
		}
		g.Wait()
		all = append(all, of...)
	}
	return all, context.Cause(ctx)
}

const (
	asks      = 5               // how often a node is asked, to see how fast it is
	askingMax = 5 * time.Second // for one answer
)

// ask asks a node how it is, a few times.
func (m member) ask(ctx context.Context) nodeJSON {
	j := nodeJSON{nodeStatus: nodeStatus{Name: m.Name, URL: m.url, Shards: len(m.shards), Near: m.Near}}
	if m.client == nil {
		if err := m.atHand(); err != nil {
			j.Error = err.Error()
		}
		j.Answers = j.Error == ""
		return j
	}
	var took []time.Duration
	for range asks {
		began := time.Now()
		one, cancel := context.WithTimeout(ctx, askingMax)
		h, err := m.client.Health(one)
		cancel()
		j.Requests++
		if err != nil {
			j.Errors++
			j.Error, j.LastError = err.Error(), err.Error()
			return j
		}
		took = append(took, time.Since(began))
		j.State, j.UptimeSecs = h.Status, float64(h.Uptime.Secs)
		if owned := h.Summary.Owned; owned != len(m.shards) {
			j.State = fmt.Sprintf("%s, but says it has %s, not %d", h.Status, count(owned, "shard", "shards"), len(m.shards))
		}
	}
	slices.Sort(took)
	j.Answers, j.P50, j.P95 = true, took[len(took)/2].Seconds(), took[len(took)-1].Seconds()
	return j
}
