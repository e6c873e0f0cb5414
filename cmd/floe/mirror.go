package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
)

var mirrorCommand = command{
	name:     "mirror",
	group:    "trust",
	brief:    "copy a dataset to another store or committee",
	complete: "dataset",
	help: `Usage: floe mirror [FLAGS] ID|NAME --to PLACE

  floe mirror flowers --to dir:/mnt/disk/floe
  floe mirror flowers --to s3://BUCKET/PREFIX
  floe mirror --from committee.toml ID --to other.toml

Makes PLACE hold all that it should of the dataset. Slivers are copied as they
are, each proven on the way; those that no one has are computed from the others.
What is in PLACE already is proven and left, so an interrupted mirror goes on
where it was when it is typed again. Nodes of the source that are dead or lie
are read around and named. The dataset can be read from PLACE when mirror ends,
not before.

A committee takes only datasets that were coded for as many shards as it has;
put encodes for another number, under another id.
`,
	new: func(f *flags) action {
		m := &mirror{}
		f.StringVar(&m.to, "to", "", "copy to `PLACE`: dir:PATH, s3://BUCKET/PREFIX or a committee file")
		m.sources.fromFlag(f)
		f.StringVar(&m.name, "name", "", "call the copy `NAME` from now on")
		f.BoolVarP(&m.quiet, "quiet", "q", false, "show no progress")
		f.private("to", "name", "quiet")
		jsonFlag(f, &m.json)
		return m.run
	},
}

type mirror struct {
	sources
	to, name    string
	quiet, json bool
}

// A mirrorJSON is the answer of mirror --json.
type mirrorJSON struct {
	Dataset string     `json:"dataset"`
	Name    string     `json:"name,omitempty"`
	Store   string     `json:"store"` // that holds it now
	Blobs   int64      `json:"blobs"`
	Slivers int        `json:"slivers"` // that the store should hold
	Copied  int        `json:"slivers_copied"`
	Rebuilt int        `json:"slivers_rebuilt"`
	Fetched int64      `json:"bytes_fetched"`
	Stored  int64      `json:"bytes_stored"`
	Failed  []nodeJSON `json:"failed_nodes,omitempty"` // which failed or lied now and then
	Seconds float64    `json:"seconds"`
}

func (m *mirror) run(ctx context.Context, e *env, args []string) error {
	if len(args) != 1 || m.to == "" {
		return usagef("floe mirror needs a dataset and a place: floe mirror ID --to PLACE")
	}
	m.cacheMode = "auto"
	if err := m.check(e); err != nil {
		return err
	}
	if m.name != "" {
		if err := checkName(m.name); err != nil {
			return err
		}
	}
	s, err := e.datasetOnly(args[0], "floe cp copies what is in it")
	if err != nil {
		return err
	}
	if s.path != "" {
		return usagef("%s: datasets are copied whole; floe cp copies files", args[0])
	}
	limitHeap(e, putMemory)
	rd, err := m.open(e, s, false)
	if err != nil {
		return err
	}
	defer rd.Close()
	d, err := rd.dataset(ctx, s)
	if err != nil {
		return err
	}
	to, err := e.createPlace(m.to, &m.reach)
	if err != nil {
		return err
	}
	defer to.close()
	if slices.ContainsFunc(rd.places, func(p *place) bool { return p.url == to.url }) {
		return usagef("%s is read from %s itself: --to names another place; floe repair heals this one", s, to.url)
	}
	if err := m.agree(d, to); err != nil {
		return err
	}
	release, err := to.lock()
	if err != nil {
		return err
	}
	defer release()
	c := &mirroring{mirror: m, s: s, rd: rd, d: d, to: to, began: time.Now(), show: newProgress(e, m.quiet)}
	defer c.show.end()
	c.nodes = slices.Concat(rd.nodes, to.members)
	c.client = blob.New(blobMembers(c.nodes), &blob.Options{Evidence: e.evidenceDir()})
	if err := c.blobs(ctx); err != nil {
		return err
	}
	if err := m.remember(e, s, d, to); err != nil {
		return err
	}
	return c.answer(e)
}

// agree makes sure that a committee can hold the dataset.
func (m *mirror) agree(d *engine.Dataset, to *place) error {
	if to.committee == nil || to.committee.Shards == d.Header().Shards {
		return nil
	}
	return usagef("the dataset is coded for %d shards, %s has %d: floe put --to %s DIR encodes what it holds, a mount for example, for these; the id will be another",
		d.Header().Shards, to.url, to.committee.Shards, shellQuote(m.to))
}

// remember writes the dataset into the list of the store that it is now in,
// and keeps its name.
func (m *mirror) remember(e *env, s subject, d *engine.Dataset, to *place) error {
	if to.store != nil {
		root := d.Root()
		r := dir.Record{ID: s.id, Name: m.name, Created: time.Now().UTC(), Files: root.Files, Bytes: root.Bytes}
		if err := to.store.PutRecord(r); err != nil {
			return fmt.Errorf("noting the dataset in its store: %w", err)
		}
	}
	if m.name == "" {
		return nil
	}
	return e.setName(named{Name: m.name, ID: s.id, Store: to.url})
}

// mirroring is a dataset on its way.
type mirroring struct {
	*mirror
	s      subject
	rd     *reader
	d      *engine.Dataset
	to     *place
	nodes  []member // those read from, and behind them those of to
	client *blob.Client
	show   *progress
	began  time.Time

	mu   sync.Mutex // guards done
	done mirrorJSON
}

// blobs copies all blobs. The header blob goes last: whoever finds it finds
// all.
func (c *mirroring) blobs(ctx context.Context) error {
	w, err := c.client.WriterFrom(len(c.rd.nodes))
	if err != nil {
		return err
	}
	stop := c.watch()
	defer stop()
	copied := map[walrus.BlobID]bool{c.s.id: true} // the table may hold one twice
	for id, err := range c.d.Blobs(ctx) {
		if err == nil && !copied[id] {
			copied[id] = true
			err = c.blob(ctx, w, id)
		}
		if err != nil {
			return c.explain(ctx, err)
		}
	}
	return c.explain(ctx, c.blob(ctx, w, c.s.id))
}

func (c *mirroring) blob(ctx context.Context, w *blob.Writer, id walrus.BlobID) error {
	reports, err := w.Copy(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range reports {
		c.done.Slivers += r.Slivers
		c.done.Copied += r.Copied
		c.done.Rebuilt += r.Rebuilt
	}
	if err == nil {
		c.done.Blobs++
	}
	return err
}

// watch shows how far it has come, also within a blob, until stop is called.
func (c *mirroring) watch() (stop func()) {
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				c.show.show(c.line)
			}
		}
	}()
	return func() {
		close(quit)
		<-gone
		c.show.end()
	}
}

// line says how far it has come.
func (c *mirroring) line() string {
	fetched, stored := c.bytes()
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.d.Header()
	return fmt.Sprintf("copying: %s of %s, %s fetched, %s stored, %s", grouped(c.done.Blobs), count(1+h.Records(), "blob", "blobs"),
		humanBytes(fetched), humanBytes(stored), rate(stored, c.began))
}

// bytes returns how many bytes the source has sent, and the target has taken.
func (c *mirroring) bytes() (fetched, stored int64) {
	for i, n := range c.client.Nodes() {
		if i < len(c.rd.nodes) {
			fetched += n.Bytes
		}
		stored += n.Stored
	}
	return fetched, stored
}

// explain adds to an error what to do about it.
func (c *mirroring) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	c.show.end()
	c.tellNodes()
	return fmt.Errorf("%w: what was copied stays: when that is mended, type floe mirror again", c.rd.advise(err, c.s))
}

// placeOf returns the place of node i.
func (rd *reader) placeOf(i int) *place {
	for _, p := range rd.places {
		if i < len(p.members) {
			return p
		}
		i -= len(p.members)
	}
	panic("internal error: no such node")
}

// tellNodes names the nodes that lied, and those that failed.
func (c *mirroring) tellNodes() (bad []nodeJSON) {
	for i, n := range c.client.Nodes() {
		if n.Lies == 0 && n.Errors == 0 {
			continue
		}
		m := c.nodes[i]
		of := c.to.url
		if i < len(c.rd.nodes) {
			of = c.rd.placeOf(i).url
		}
		bad = append(bad, nodeJSON{nodeStatus: m.status(n), Place: of, Answers: n.Resting == 0})
		switch {
		case n.Lies > 0:
			c.show.say("floe: node %s sent %s, which were not used: %s", m, count(n.Lies, "false sliver", "false slivers"), reason(n.LastError))
		case i < len(c.rd.nodes):
			c.show.say("floe: node %s failed: %s: the others made up for it", m, reason(n.LastError))
		default:
			c.show.say("floe: node %s failed: %s: when it is back, type floe mirror again", m, reason(n.LastError))
		}
	}
	return bad
}

func (c *mirroring) answer(e *env) error {
	t := c.done
	t.Dataset, t.Name, t.Store = c.s.id.String(), c.name, c.to.url
	t.Fetched, t.Stored = c.bytes()
	t.Seconds = time.Since(c.began).Seconds()
	t.Failed = c.tellNodes()
	p := e.printer(c.json)
	if c.json {
		return errors.Join(p.object(t), p.Flush())
	}
	done := fmt.Sprintf("%s copied, %s computed, of %s: %s in %s, %s", count(t.Copied, "sliver", "slivers"), grouped(t.Rebuilt), grouped(t.Slivers),
		humanBytes(t.Stored), time.Since(c.began).Round(10*time.Millisecond), rate(t.Stored, c.began))
	if t.Copied+t.Rebuilt == 0 {
		done = fmt.Sprintf("nothing to do: %s of %s proven there", count(t.Slivers, "sliver", "slivers"), count(t.Blobs, "blob", "blobs"))
	}
	fmt.Fprintf(p, "%s is in %s: %s\n", c.s, c.to.url, done)
	what := c.s.id.String()
	if c.name != "" {
		what = c.name
	} else {
		what = "--from " + shellQuote(c.to.url) + " " + what
	}
	c.show.say("floe mount %s DIR mounts it from there", what)
	return p.Flush()
}
