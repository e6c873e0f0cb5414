package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/fs"
)

var statusCommand = command{
	name:     "status",
	group:    "use",
	brief:    "show mounts, what they read and cache, and how their nodes are",
	complete: "mount",
	help: `Usage: floe status [--json] [DIR...]

  floe status                     all mounts
  floe status /mnt/flowers
  floe status --json | jq .reads

Asks the process that serves each mount, never the mount itself, so it answers
even if a mount hangs.
`,
	new: func(f *flags) action {
		s := &statuses{}
		jsonFlag(f, &s.json)
		return s.run
	},
}

type statuses struct{ json bool }

// A brokenStatus is the JSON of a mount that does not answer.
type brokenStatus struct {
	Mountpoint    *string `json:"mountpoint,omitempty"`
	MountpointB64 []byte  `json:"mountpoint_b64,omitempty"`
	Source        string  `json:"source"`
	Dead          bool    `json:"dead"`
	Error         string  `json:"error"`
}

func (s *statuses) run(ctx context.Context, e *env, args []string) error {
	mounts, err := chosenMounts(e, args)
	if err != nil {
		return err
	}
	p := e.printer(s.json)
	if len(mounts) == 0 && !s.json {
		fmt.Fprintln(e.stderr, "nothing is mounted: floe mount NAME DIR")
	}
	for i, m := range mounts {
		if i > 0 && !s.json {
			fmt.Fprintln(p)
		}
		if e := s.one(ctx, e, p, m); e != nil && err == nil {
			err = e
		}
	}
	return errors.Join(err, p.Flush())
}

// chosenMounts returns the floe mounts that args name, or all.
func chosenMounts(e *env, args []string) ([]fs.MountPoint, error) {
	if len(args) == 0 {
		return fs.Mounts()
	}
	var chosen []fs.MountPoint
	for _, arg := range args {
		m, ok := mountOn(e.abs(arg))
		if !ok {
			return nil, exitWith(exitNotFound, fmt.Errorf("%s is not a floe mount: floe status lists those there are", arg))
		}
		chosen = append(chosen, m)
	}
	return chosen, nil
}

func (s *statuses) one(ctx context.Context, e *env, p *printer, m fs.MountPoint) error {
	st, conn, err := e.askMount(ctx, m)
	if err != nil {
		return s.broken(p, m, err)
	}
	conn.Close()
	st.Mountpoint, st.MountpointB64 = jsonName(m.Dir) // a bind mount is elsewhere
	if s.json {
		return p.object(st)
	}
	fmt.Fprintln(p, p.name(m.Dir))
	st.write(p)
	return nil
}

// broken shows a mount that does not answer.
func (s *statuses) broken(p *printer, m fs.MountPoint, err error) error {
	gone := dead(m.Dir)
	if s.json {
		j := brokenStatus{Source: m.Source, Dead: gone, Error: err.Error()}
		j.Mountpoint, j.MountpointB64 = jsonName(m.Dir)
		return p.object(j)
	}
	fmt.Fprintf(p, "%s\n", p.name(m.Dir))
	p.row("  dataset", "%s…", printable(m.Source))
	if gone {
		p.row("  state", "dead: its process is gone; type: floe umount %s", printable(shellQuote(m.Dir)))
	} else {
		p.row("  state", "unknown: %s", printable(err.Error()))
	}
	return nil
}

// dead reports whether nobody serves the mount at dir any more. One that does
// not answer within two seconds counts as alive.
func dead(dir string) bool {
	gone := make(chan bool, 1) // sent to once, by a goroutine that a mount that hangs may keep
	go func() {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		gone <- err == unix.ENOTCONN || err == unix.ECONNABORTED
	}()
	select {
	case g := <-gone:
		return g
	case <-time.After(2 * time.Second):
		return false
	}
}

// write shows the status of a mount to a person, below where it is mounted.
func (s mountStatus) write(p *printer) {
	dataset := s.Dataset
	if s.Name != "" {
		dataset = s.Name + "  " + dataset
	}
	p.row("  dataset", "%s", dataset)
	p.row("  holds", "%s, %s", count(s.Files, "file", "files"), humanBytes(s.Bytes))
	p.row("  since", "%s, for %s, by process %d", s.Since.Format(time.DateTime), ago(s.Since), s.PID)
	r := s.Reads
	p.row("  read", "%s: %s from the cache, %s from nodes", humanBytes(r.Served), humanBytes(r.Cached), humanBytes(r.Fetched))
	if r.FalseRuns > 0 {
		p.row("  false", "%s proved false and were read elsewhere; type: floe verify %s", count(r.FalseRuns, "run of bytes", "runs of bytes"), s.ref())
	}
	for _, n := range s.Nodes {
		p.row("  node", "%s: %s", printable(n.String()), printable(n.state()))
	}
	if c := s.Cache; c != nil {
		p.row("  cache", "%s: %s of %s", p.name(c.Dir), humanBytes(c.Bytes), humanBytes(c.Limit))
		if c.Stalled {
			p.row("", "it keeps nothing now: its disk is full or fails")
		}
	}
	p.row("  memory", "%s; reads and recent chunks may take %s", humanBytes(s.Memory.Resident), humanBytes(s.Memory.Budget))
	k := s.Kernel
	if k.Serving > 0 {
		p.row("  waiting", "%s", count(k.Serving, "request", "requests"))
	}
	if k.Errors > 0 {
		p.row("  failed", "%s with an I/O error; the log says why", count(k.Errors, "request", "requests"))
	}
	if k.ReadAheadErr != "" {
		p.row("  read-ahead", "%d KiB, as raising it takes root: echo 1024 > /sys/class/bdi/…/read_ahead_kb", k.ReadAheadKB)
	}
}

// String returns what the user calls the node, and where it is.
func (n nodeStatus) String() string {
	return member{Member: blob.Member{Name: n.Name}, url: n.URL}.String()
}

// state says how a node is.
func (n nodeStatus) state() string {
	var state string
	switch {
	case n.Error != "":
		return "broken: " + n.Error
	case n.Quarantined > 0:
		state = fmt.Sprintf("asked last, since it lied: %s proved false", count(n.Lies, "answer", "answers"))
	case n.Resting > 0:
		state = "resting, since it fails: " + n.LastError
	case n.Near:
		state = "read in place"
	default:
		state = "answers"
	}
	if n.Requests > 0 {
		state += fmt.Sprintf(", %s, %s", count(n.Requests, "request", "requests"), humanBytes(n.Bytes))
	}
	if n.Lies > 0 && n.Quarantined == 0 {
		state += fmt.Sprintf(", %s false", grouped(n.Lies))
	}
	if n.Errors+n.Absent > 0 {
		state += fmt.Sprintf(", %s missing or failed", grouped(n.Errors+n.Absent))
	}
	return state
}

func (s mountStatus) ref() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Dataset
}

// ago returns how long ago t was.
func ago(t time.Time) string {
	d := time.Since(t).Round(time.Second)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour:
		return d.Round(time.Minute).String()
	}
	return d.String()
}
