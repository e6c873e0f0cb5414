package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/tests/world"
)

// blobs returns the ids of all blobs of the forest.
func (f *forest) blobs(t *testing.T) (all []walrus.BlobID) {
	t.Helper()
	ds := mustOpen(t, f.client(), f.id)
	for id, err := range ds.Blobs(t.Context()) {
		must(t, err)
		all = append(all, id)
	}
	return all
}

// checkWhole proves every sliver of a blob in the store of each node.
func (f *forest) checkWhole(t *testing.T, id walrus.BlobID) {
	t.Helper()
	for _, m := range f.nodes {
		raw, err := m.store.Metadata(t.Context(), id)
		must(t, err)
		meta, err := walrus.ProveMetadata(id, raw)
		must(t, err)
		p, err := meta.Params()
		must(t, err)
		for _, at := range held(m, id, p) {
			buf := make([]byte, p.SliverLen(at.Axis))
			err := m.store.ReadSliver(t.Context(), id, p, at, buf, 0)
			if err == nil {
				_, err = meta.ProveSliver(at, buf)
			}
			if err != nil {
				t.Errorf("%s: %s of blob %s: %v", m.name, at, id, err)
			}
		}
	}
}

// held returns the slivers a node should have of a blob.
func held(m *member, id walrus.BlobID, p walrus.Params) (all []walrus.SliverID) {
	for _, at := range nodetest.All(p) {
		for _, s := range m.shards {
			if s == id.PairToShard(at.Pair(p.N), p.N) {
				all = append(all, at)
			}
		}
	}
	return all
}

// harm removes and alters slivers of both axes on up to f shards' worth of
// nodes, and returns how many.
func (f *forest) harm(t *testing.T, rng *rand.Rand, id walrus.BlobID, nodes ...int) (n int) {
	t.Helper()
	for _, i := range nodes {
		m := f.nodes[i]
		names, err := os.ReadDir(m.store.BlobDir(id))
		must(t, err)
		for _, name := range names {
			path := filepath.Join(m.store.BlobDir(id), name.Name())
			if name.Name() == world.Meta || name.Name() == world.MetaCopy {
				continue
			}
			n++
			if rng.IntN(2) == 0 {
				must(t, os.Remove(path))
				continue
			}
			info, err := os.Stat(path)
			must(t, err)
			must(t, world.FlipByte(path, rng.Int64N(info.Size()), 1<<rng.IntN(8)))
		}
	}
	return n
}

func found(reports []blob.Report) (missing, untrue, rebuilt int) {
	for _, r := range reports {
		missing += len(r.Missing)
		untrue += len(r.False)
		rebuilt += r.Rebuilt
	}
	return missing, untrue, rebuilt
}

func TestRepairHealsACommittee(t *testing.T) {
	t.Parallel()
	const seed = 17
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := plant(t, 4, 3, 3, 2, 1)
	for _, bad := range [][]int{{0}, {1, 4}, {3}} {
		for _, id := range f.blobs(t)[:4] {
			n := f.harm(t, rng, id, bad...)
			client := f.client()
			reports, err := client.Repair(t.Context(), id)
			must(t, err)
			if missing, untrue, rebuilt := found(reports); missing+untrue != n || rebuilt != n {
				t.Errorf("%d slivers were harmed; %d were found missing, %d false, and %d rebuilt", n, missing, untrue, rebuilt)
			}
			f.checkWhole(t, id)
			reports, err = f.client().Check(t.Context(), id, true)
			must(t, err)
			if missing, untrue, _ := found(reports); missing+untrue > 0 {
				t.Errorf("after repair %d are missing and %d false", missing, untrue)
			}
		}
	}
}

// A node that lost everything, metadata included, gets it all back.
func TestRepairFillsAnEmptyNode(t *testing.T) {
	t.Parallel()
	f := plant(t, 4, 3, 3, 2, 1)
	for _, id := range f.blobs(t)[:3] {
		must(t, os.RemoveAll(f.nodes[0].store.BlobDir(id)))
		_, err := f.client().Repair(t.Context(), id)
		must(t, err)
		f.checkWhole(t, id)
	}
}

// stopping counts slivers that are stored and ends a context after some. It
// takes one at a time: none is under way when the context ends.
type stopping struct {
	node.Store
	*limit
}

type limit struct {
	mu   sync.Mutex // guards left
	left int
	stop context.CancelFunc
}

func (s stopping) PutSliver(ctx context.Context, id walrus.BlobID, p walrus.Params, at walrus.SliverID, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left--; s.left < 0 {
		s.stop()
		return ctx.Err()
	}
	return s.Store.PutSliver(ctx, id, p, at, data)
}

func TestARepairThatWasInterruptedContinues(t *testing.T) {
	t.Parallel()
	f := plant(t, 4, 3, 3, 2, 1)
	rng := rand.New(rand.NewPCG(19, 0))
	id := f.blobs(t)[1]
	n := f.harm(t, rng, id, 0)
	const step = 3
	for before := n; before > 0; {
		ctx, cancel := context.WithCancel(t.Context())
		left := &limit{left: step, stop: cancel}
		members := f.members()
		for i := range members {
			members[i].Node = stopping{members[i].Node, left}
		}
		_, err := blob.New(members, f.options()).Repair(ctx, id)
		cancel()
		if before > step && err == nil {
			t.Error("an interrupted repair says it is done")
		}
		reports, err := f.client().Check(t.Context(), id, true)
		must(t, err)
		missing, untrue, _ := found(reports)
		if want := max(0, before-step); missing+untrue != want {
			t.Fatalf("%d slivers are bad after storing %d of %d", missing+untrue, step, before)
		}
		before = missing + untrue
	}
	f.checkWhole(t, id)
}

func TestPutSucceedsWithFShardsDownAndRepairCompletesIt(t *testing.T) {
	t.Parallel()
	for _, fault := range []nodetest.Fault{nodetest.Dead, nodetest.Hung, nodetest.Failing, nodetest.Redirecting} {
		for _, bad := range [][]int{{0}, {1, 4}} {
			t.Run(string(fault), func(t *testing.T) {
				t.Parallel()
				f := &forest{committee: newCommittee(t, 4, 3, 3, 2, 1)}
				f.bad(fault, bad...)
				data := nodetest.Bytes(23, 150_000)
				f.id = f.put(oneFile(t, f.dir, data), 128<<10)
				readAll(t, theFile(t, mustOpen(t, f.client(), f.id)), data)
				f.heal()
				for _, id := range f.blobs(t) {
					reports, err := f.client().Repair(t.Context(), id)
					must(t, err)
					if _, _, rebuilt := found(reports); rebuilt == 0 {
						t.Error("nothing was missing")
					}
					f.checkWhole(t, id)
				}
			})
		}
	}
}

func TestPutFailsWithMoreThanFShardsDown(t *testing.T) {
	t.Parallel()
	f := &forest{committee: newCommittee(t, 4, 3, 3, 2, 1)}
	f.bad(nodetest.Dead, 0, 4)
	w, err := f.client().Writer()
	must(t, err)
	_, err = publish.Dir(t.Context(), oneFile(t, f.dir, nodetest.Bytes(23, 50_000)), w, &publish.Options{Shards: f.n, BlobSize: 64 << 10, TempDir: f.dir})
	if !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("got error %v, want one that wraps blob.ErrUnavailable", err)
	}
}

// What is put does not depend on where, and may be read from everywhere at
// once.
func TestATreeHasTheSameIDOnADirectoryAndOnACommittee(t *testing.T) {
	t.Parallel()
	f := plant(t, 4, 3, 3, 2, 1)
	store, err := dir.Open(filepath.Join(f.dir, "alone"), true)
	must(t, err)
	alone := blob.Member{Name: "alone", Node: store}
	w, err := blob.New([]blob.Member{alone}, nil).Writer()
	must(t, err)
	res, err := publish.Dir(t.Context(), filepath.Join(f.dir, "source"), w, &publish.Options{Shards: f.n, BlobSize: 64 << 10, TempDir: f.dir})
	must(t, err)
	if res.ID != f.id {
		t.Fatalf("it is %s in a directory and %s on a committee", res.ID, f.id)
	}
	both := append([]blob.Member{alone}, f.members()...)
	f.readAll(t, blob.New(both, f.options()))
	// Neither is enough now: of each blob the directory has lost all but the
	// first slivers, and the committee more nodes than it may.
	blobs := f.blobs(t)
	for _, id := range blobs {
		meta, err := alone.Node.Metadata(t.Context(), id)
		must(t, err)
		proven, err := walrus.ProveMetadata(id, meta)
		must(t, err)
		p, err := proven.Params()
		must(t, err)
		for row := 2; row < blob.Kept(p); row++ {
			must(t, os.Remove(filepath.Join(store.BlobDir(id), world.Primary(row))))
		}
	}
	for _, i := range []int{0, 1} {
		f.nodes[i].stop()
	}
	client := blob.New(both, f.options())
	f.readAll(t, client)
	for _, s := range client.Nodes() {
		t.Logf("%s: %d requests, %d bytes", s.Name, s.Requests, s.Bytes)
	}
	if stats(client, "alone").Bytes == 0 || stats(client, "node-2").Bytes == 0 {
		t.Error("not all were read from")
	}
}
