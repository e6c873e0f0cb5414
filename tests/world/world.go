package world

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
)

// Options say how a World is published; zero values mean the defaults.
type Options struct {
	Shards   int   // default 7
	BlobSize int64 // default 64 KiB
	All      bool  // keep all primary slivers, not only as many as a store that is alone
}

// A World is a tree, and a directory store that holds the dataset of it.
type World struct {
	Dir   string // for whatever the test needs; on memory if the machine has such a place
	Store *dir.Store
	Tree  Tree
	ID    walrus.BlobID
	Blobs []*Blob // the header blob first, then those of the address space

	size  int64 // of a blob
	spans []span
}

// A span is where the bytes of an item lie in the address space.
type span struct {
	from, to int64
	item     *Item
}

// New publishes tree into a store of its own.
func New(t testing.TB, tree Tree, opts Options) *World {
	t.Helper()
	if opts.Shards == 0 {
		opts.Shards = 7
	}
	if opts.BlobSize == 0 {
		opts.BlobSize = 64 << 10
	}
	w := &World{Dir: Scratch(t), Tree: tree}
	source := filepath.Join(w.Dir, "source")
	must(t, os.Mkdir(source, 0o755))
	must(t, tree.Write(source))
	var err error
	w.Store, err = dir.Open(filepath.Join(w.Dir, "store"), true)
	must(t, err)
	var sink publish.Sink
	sink, err = w.Client().Writer()
	must(t, err)
	if opts.All {
		sink = committee{w.Store}
	}
	res, err := publish.Dir(t.Context(), source, sink, &publish.Options{Shards: opts.Shards, BlobSize: opts.BlobSize, TempDir: w.Dir})
	must(t, err)
	w.ID = res.ID
	must(t, w.survey(t.Context()))
	return w
}

// Client returns a new client of the store, which knows nothing of it yet. It
// is not near, so that a cache is used.
func (w *World) Client() *blob.Client {
	return blob.New([]blob.Member{{Name: "store", Node: w.Store}}, nil)
}

// survey finds the blobs, and which items need which.
func (w *World) survey(ctx context.Context) error {
	m := NewMeter(w.Store)
	eng := engine.New(m.Client(), nil, nil)
	defer eng.Close()
	ds, err := eng.Open(ctx, w.ID)
	if err != nil {
		return err
	}
	for id, err := range ds.Blobs(ctx) {
		if err != nil {
			return err
		}
		b, err := w.Find(ctx, id)
		if err != nil {
			return err
		}
		w.Blobs = append(w.Blobs, b)
	}
	w.size = ds.Header().BlobSize
	for _, it := range w.Tree {
		e, err := ds.Resolve(ctx, it.Path)
		if err != nil {
			return err
		}
		w.spans = append(w.spans, span{e.At, e.At + e.Size, it})
		m := NewMeter(w.Store)
		eng := engine.New(m.Client(), nil, nil)
		ds, err := eng.Open(ctx, w.ID)
		if err == nil {
			err = w.Tree.Compare(ctx, ds, it, 0, len(it.Data))
		}
		eng.Close()
		if err != nil {
			return err
		}
		for _, b := range w.Blobs {
			if m.Touched(b.ID) {
				b.Items = append(b.Items, it)
			}
		}
	}
	return nil
}

// committee stores every primary sliver of a blob in one store.
type committee struct{ *dir.Store }

func (committee) Rows(p walrus.Params) int { return p.N }

func (committee) Stored(context.Context, walrus.BlobID, walrus.Params, []byte) (bool, error) {
	return false, nil
}

func (c committee) Put(ctx context.Context, b *walrus.Encoded) error {
	for i := range b.Params.N {
		at := walrus.SliverID{Axis: walrus.Primary, Index: i}
		if err := c.PutSliver(ctx, b.ID, b.Params, at, b.Sliver(at)); err != nil {
			return err
		}
	}
	return c.PutMetadata(ctx, b.ID, b.Metadata.Append(nil))
}

// Blob returns the blob with an id.
func (w *World) Blob(id walrus.BlobID) *Blob {
	i := slices.IndexFunc(w.Blobs, func(b *Blob) bool { return b.ID == id })
	if i < 0 {
		panic("the world has no blob " + id.String())
	}
	return w.Blobs[i]
}

// At returns the item to which byte off of b belongs: a file of which it is a
// byte, or a directory of whose table it is. It is nil for the header blob,
// for hashes and for padding.
func (w *World) At(b *Blob, off int64) *Item {
	i := slices.Index(w.Blobs, b) - 1
	if i < 0 {
		return nil
	}
	at := int64(i)*w.size + off
	for _, s := range w.spans {
		if s.from <= at && at < s.to {
			return s.item
		}
	}
	return nil
}

// ScratchVariable names the directory to make scratch directories in: whoever
// runs a test that may be killed removes what it leaves.
const ScratchVariable = "FLOE_SCRATCH"

// Scratch returns a directory of the test's own, in memory where there is
// such a place: many small files are written and synced.
func Scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(cmp.Or(os.Getenv(ScratchVariable), "/dev/shm"), "floe-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
