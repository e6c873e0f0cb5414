package blob_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// A counted node misbehaves as it is told to, and counts.
type counted struct {
	*nodetest.Store
	dir *dir.Store

	mu     sync.Mutex // guards what follows
	read   int        // slivers that were sent, wholly or in part
	bytes  int        // of these
	stored []walrus.SliverID
	metaAt int    // how many slivers were there when metadata came; -1 if none came
	stop   func() // if set, called instead of storing a sliver when left is 0
	left   int
}

func (c *counted) ReadSliver(ctx context.Context, id walrus.BlobID, p walrus.Params, at walrus.SliverID, b []byte, off int64) error {
	err := c.Store.ReadSliver(ctx, id, p, at, b, off)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.read, c.bytes = c.read+1, c.bytes+len(b)
	}
	return err
}

func (c *counted) PutMetadata(ctx context.Context, id walrus.BlobID, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metaAt = len(c.stored)
	return c.Store.PutMetadata(ctx, id, data)
}

func (c *counted) PutSliver(ctx context.Context, id walrus.BlobID, p walrus.Params, at walrus.SliverID, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		if c.left == 0 {
			c.stop()
			return context.Cause(ctx)
		}
		c.left--
	}
	err := c.Store.PutSliver(ctx, id, p, at, data)
	if err == nil {
		c.stored = append(c.stored, at)
	}
	return err
}

// A scene is a place that blobs are copied from or to.
type scene struct {
	members []blob.Member
	nodes   []*counted
}

// newScene makes a committee whose nodes hold so many shards each, or with no
// sizes a store that holds blobs alone.
func newScene(t *testing.T, sizes ...int) *scene {
	t.Helper()
	n, first := 0, 0
	for _, s := range sizes {
		n += s
	}
	s := &scene{}
	for i := range max(1, len(sizes)) {
		store, err := dir.Open(filepath.Join(t.TempDir(), "store"), true)
		must(t, err)
		c := &counted{Store: nodetest.NewStore(store), dir: store, metaAt: -1}
		m := blob.Member{Name: "alone", Node: c}
		if sizes != nil {
			m.Name, m.Remote = fmt.Sprintf("node-%d", i), true
			var shards []int
			for range sizes[i] {
				shards, first = append(shards, first), first+1
			}
			m.Shards, err = blob.NewShards(n, shards)
			must(t, err)
		}
		s.members, s.nodes = append(s.members, m), append(s.nodes, c)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *scene) put(t *testing.T, e *walrus.Encoded) {
	t.Helper()
	w, err := blob.New(s.members, nil).Writer()
	must(t, err)
	must(t, w.Put(t.Context(), e))
	s.reset()
}

func (s *scene) reset() {
	for _, c := range s.nodes {
		c.read, c.bytes, c.stored, c.metaAt, c.stop = 0, 0, nil, -1, nil
	}
}

// fetched returns how many slivers all nodes have sent, and how many bytes.
func (s *scene) fetched() (slivers, bytes int) {
	for _, c := range s.nodes {
		slivers, bytes = slivers+c.read, bytes+c.bytes
	}
	return slivers, bytes
}

// both returns a client of two places, and a writer to the second.
func both(t *testing.T, from, to *scene) (*blob.Client, *blob.Writer) {
	t.Helper()
	c := blob.New(slices.Concat(from.members, to.members), &blob.Options{Attempt: 200 * time.Millisecond})
	w, err := c.WriterFrom(len(from.members))
	must(t, err)
	return c, w
}

// checkWhole fails unless a place holds all of a blob, without help.
func (s *scene) checkWhole(t *testing.T, id walrus.BlobID) {
	t.Helper()
	reports, err := blob.New(s.members, nil).Check(t.Context(), id, true)
	must(t, err)
	for _, r := range reports {
		if !r.Whole() {
			t.Errorf("the copy is not whole: %+v", r)
		}
	}
}

func restored(reports []blob.Report) (copied, rebuilt int) {
	for _, r := range reports {
		copied, rebuilt = copied+r.Copied, rebuilt+r.Rebuilt
	}
	return copied, rebuilt
}

// Between all kinds of places, around what is dead or lies: the copy is whole,
// nothing is computed that could be had, and no more is fetched than that
// takes.
func TestCopy(t *testing.T) {
	const n = 10 // 4 rows, 7 columns; a store alone keeps 5 rows
	e := nodetest.Encode(t, n, nodetest.Bytes(5, 100_001))
	p := e.Params
	row, column := p.SliverLen(walrus.Primary), p.SliverLen(walrus.Secondary)
	kept := blob.Kept(p)
	alone, four := []int(nil), []int{3, 3, 3, 1}
	for name, c := range map[string]struct {
		from, to        []int
		fault           nodetest.Fault // of the first node of the source
		lose            int            // slivers of the source's first node that are removed
		copied, rebuilt int
		bytes           int // most that is fetched
		liar            bool
	}{
		"directory to directory": {from: alone, to: alone, copied: kept, bytes: kept * row},
		"directory to committee": {from: alone, to: four, rebuilt: 2 * n, bytes: p.K1 * row},
		"committee to directory": {from: four, to: alone, copied: kept, bytes: kept * row},
		"committee to committee": {from: four, to: four, copied: 2 * n, bytes: n * (row + column)},
		"to another committee":   {from: four, to: []int{2, 2, 2, 2, 2}, copied: 2 * n, bytes: n * (row + column)},

		"directory without one sliver":     {from: alone, to: alone, lose: 1, copied: kept - 1, rebuilt: 1, bytes: (kept - 1 + p.K1) * row},
		"damaged directory to committee":   {from: alone, to: four, lose: 1, rebuilt: 2 * n, bytes: p.K1 * row},
		"committee with a dead node":       {from: four, to: four, fault: nodetest.Dead, copied: 2*n - 6, rebuilt: 6, bytes: 7*(row+column) + p.K1*row},
		"committee with a hung node":       {from: four, to: four, fault: nodetest.Hung, copied: 2*n - 6, rebuilt: 6, bytes: 7*(row+column) + p.K1*row},
		"committee with an empty node":     {from: four, to: four, fault: nodetest.Forgetful, copied: 2*n - 6, rebuilt: 6, bytes: 7*(row+column) + p.K1*row},
		"committee with a failing node":    {from: four, to: four, fault: nodetest.Failing, copied: 2*n - 6, rebuilt: 6, bytes: 7*(row+column) + p.K1*row},
		"committee with a liar":            {from: four, to: four, fault: nodetest.Lying, copied: 2*n - 6, rebuilt: 6, bytes: n*(row+column) + 2*p.K1*row, liar: true},
		"committee with another liar":      {from: four, to: four, fault: nodetest.WrongShard, copied: 2*n - 6, rebuilt: 6, bytes: n*(row+column) + 2*p.K1*row, liar: true},
		"committee with lies to directory": {from: four, to: alone, fault: nodetest.Lying, copied: -1, rebuilt: -1, bytes: 2 * (kept + 2*p.K1) * row, liar: true},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := newScene(t, c.from...), newScene(t, c.to...)
			from.put(t, e)
			from.nodes[0].Set(c.fault, 0)
			for i := range c.lose {
				must(t, os.Remove(filepath.Join(from.nodes[0].dir.BlobDir(e.ID), fmt.Sprintf("p%d", i))))
			}
			client, w := both(t, from, to)
			reports, err := w.Copy(t.Context(), e.ID)
			must(t, err)
			if len(reports) != len(to.members) {
				t.Errorf("%d reports of %d members", len(reports), len(to.members))
			}
			to.checkWhole(t, e.ID)
			copied, rebuilt := restored(reports)
			if copied != c.copied && c.copied >= 0 || rebuilt != c.rebuilt && c.rebuilt >= 0 {
				t.Errorf("%d slivers were copied and %d rebuilt, want %d and %d", copied, rebuilt, c.copied, c.rebuilt)
			}
			slivers, bytes := from.fetched()
			if t.Logf("%d slivers with %d bytes were fetched; a row has %d", slivers, bytes, row); bytes > c.bytes {
				t.Errorf("%d bytes were fetched, want at most %d", bytes, c.bytes)
			}
			if lies := client.Nodes()[0].Lies; (lies > 0) != c.liar {
				t.Errorf("node-0 is said to have lied %d times", lies)
			}
			for i, m := range to.members {
				if late := to.nodes[i].metaAt == len(to.nodes[i].stored); late != (m.Shards == nil) {
					t.Errorf("%s got its metadata after %d slivers of %d", m.Name, to.nodes[i].metaAt, len(to.nodes[i].stored))
				}
			}

			// Again: all is there, so nothing is fetched or stored.
			from.reset()
			to.reset()
			_, w = both(t, from, to)
			from.nodes[0].Set(nodetest.None, 0)
			reports, err = w.Copy(t.Context(), e.ID)
			must(t, err)
			if slivers, _ := from.fetched(); slivers != 0 {
				t.Errorf("%d slivers were fetched for a copy that is whole", slivers)
			}
			for _, c := range to.nodes {
				if len(c.stored) != 0 || c.metaAt >= 0 {
					t.Errorf("a copy that is whole was stored again: %v", c.stored)
				}
			}
			if copied, rebuilt := restored(reports); copied+rebuilt != 0 {
				t.Errorf("%d slivers were copied and %d rebuilt for a copy that is whole", copied, rebuilt)
			}
		})
	}
}

// What an interrupted copy has stored is not fetched again, and what it has
// stored falsely is.
func TestACopyThatWasInterruptedContinues(t *testing.T) {
	e := nodetest.Encode(t, 10, nodetest.Bytes(6, 50_000))
	from, to := newScene(t, 3, 3, 3, 1), newScene(t)
	from.put(t, e)
	kept, row := blob.Kept(e.Params), e.Params.SliverLen(walrus.Primary)
	for done := 0; done < kept; {
		ctx, cancel := context.WithCancel(t.Context())
		to.nodes[0].stop, to.nodes[0].left = cancel, 2
		_, w := both(t, from, to)
		_, err := w.Copy(ctx, e.ID)
		cancel()
		stored := len(to.nodes[0].stored)
		if done += stored; done < kept && (!errors.Is(err, context.Canceled) || stored != 2) {
			t.Fatalf("interrupted after %d slivers: %v", stored, err)
		}
		if _, err := to.nodes[0].dir.Metadata(t.Context(), e.ID); done < kept && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a copy that is not whole has metadata: %v", err)
		}
		to.reset()
	}
	// One of those that are there is altered, one gone.
	from.reset()
	path := filepath.Join(to.nodes[0].dir.BlobDir(e.ID), "p1")
	must(t, os.WriteFile(path, make([]byte, row), 0o644))
	must(t, os.Remove(filepath.Join(to.nodes[0].dir.BlobDir(e.ID), "p2")))
	_, w := both(t, from, to)
	_, err := w.Copy(t.Context(), e.ID)
	must(t, err)
	if slivers, bytes := from.fetched(); slivers != 2 || bytes != 2*row {
		t.Errorf("%d slivers with %d bytes were fetched for two", slivers, bytes)
	}
	to.checkWhole(t, e.ID)
}

// Of the committee that a blob is copied to, as many nodes may fail as of one
// that it is put on.
func TestACopyDoesWithoutSomeNodes(t *testing.T) {
	e := nodetest.Encode(t, 10, nodetest.Bytes(7, 50_000))
	from, to := newScene(t), newScene(t, 3, 3, 3, 1)
	from.put(t, e)
	to.nodes[1].Set(nodetest.Dead, 0)
	c, w := both(t, from, to)
	reports, err := w.Copy(t.Context(), e.ID)
	must(t, err)
	if copied, rebuilt := restored(reports); copied != 0 || rebuilt != 14 || len(reports[1].Missing) != 6 || c.Nodes()[2].Errors == 0 {
		t.Errorf("%d slivers were copied and %d rebuilt; of the dead node: %+v", copied, rebuilt, reports[1])
	}
	to.nodes[3].Set(nodetest.Dead, 0)
	_, w = both(t, from, to)
	if _, err := w.Copy(t.Context(), e.ID); !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(err.Error(), "at most 3 may") {
		t.Errorf("with one too many: %v", err)
	}
	// Both are back, and get what they lack, though the source is gone.
	to.nodes[1].Set(nodetest.None, 0)
	to.nodes[3].Set(nodetest.None, 0)
	from.nodes[0].Set(nodetest.Dead, 0)
	_, w = both(t, from, to)
	_, err = w.Copy(t.Context(), e.ID)
	must(t, err)
	to.checkWhole(t, e.ID)
}

// A false sliver is found though the blob was encoded from it as it came.
func TestACopyIsNotEncodedFromWhatIsFalse(t *testing.T) {
	e := nodetest.Encode(t, 10, nodetest.Bytes(10, 50_000))
	from, to := newScene(t), newScene(t, 3, 3, 3, 1)
	from.put(t, e)
	row := e.Params.SliverLen(walrus.Primary)
	must(t, os.WriteFile(filepath.Join(from.nodes[0].dir.BlobDir(e.ID), "p2"), make([]byte, row), 0o644))
	c, w := both(t, from, to)
	_, err := w.Copy(t.Context(), e.ID)
	must(t, err)
	to.checkWhole(t, e.ID)
	if c.Nodes()[0].Lies == 0 {
		t.Error("the false sliver was not noticed")
	}
	if _, bytes := from.fetched(); bytes > (2*e.Params.K1+1)*row {
		t.Errorf("%d bytes were fetched of a blob of %d", bytes, e.Params.Size)
	}
}

// Primary slivers are too few, but with columns there is enough.
func TestACopyIsMadeOfBothAxes(t *testing.T) {
	e := nodetest.Encode(t, 10, nodetest.Bytes(11, 50_000))
	from, to := newScene(t, 3, 3, 3, 1), newScene(t, 3, 3, 3, 1)
	from.put(t, e)
	for _, c := range from.nodes[:3] { // but one of nine
		for i := range 10 {
			if path := filepath.Join(c.dir.BlobDir(e.ID), fmt.Sprintf("p%d", i)); i != 5 {
				os.Remove(path)
			}
		}
	}
	_, w := both(t, from, to)
	reports, err := w.Copy(t.Context(), e.ID)
	must(t, err)
	if copied, rebuilt := restored(reports); copied < 10 || copied > 12 || copied+rebuilt != 20 {
		t.Errorf("%d slivers were copied and %d rebuilt", copied, rebuilt)
	}
	to.checkWhole(t, e.ID)
}

func TestACopyNeedsTheSameNumberOfShards(t *testing.T) {
	e := nodetest.Encode(t, 10, nodetest.Bytes(8, 50_000))
	from, to := newScene(t), newScene(t, 4, 3)
	from.put(t, e)
	_, w := both(t, from, to)
	if _, err := w.Copy(t.Context(), e.ID); !errors.Is(err, blob.ErrShards) {
		t.Errorf("from 10 shards to 7: %v", err)
	}
}

// Too little is left: nothing false is stored, and what is missing is said.
func TestACopyOfWhatIsLostSaysSo(t *testing.T) {
	e := nodetest.Encode(t, 10, nodetest.Bytes(9, 50_000))
	from, to := newScene(t), newScene(t)
	from.put(t, e)
	for i := range 2 {
		must(t, os.Remove(filepath.Join(from.nodes[0].dir.BlobDir(e.ID), fmt.Sprintf("p%d", i))))
	}
	_, w := both(t, from, to)
	_, err := w.Copy(t.Context(), e.ID)
	if !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(err.Error(), "1 more must be found") {
		t.Errorf("got error %v", err)
	}
	if len(to.nodes[0].stored) != 3 || to.nodes[0].metaAt >= 0 {
		t.Errorf("slivers %v were stored, and metadata after %d", to.nodes[0].stored, to.nodes[0].metaAt)
	}
}

var _ node.Store = (*counted)(nil)
