package engine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
)

// newStore returns a world without a tree.
func newStore(t testing.TB) *world {
	t.Helper()
	w := &world{t: t}
	var err error
	if w.store, err = dir.Open(filepath.Join(t.TempDir(), "store"), true); err != nil {
		t.Fatal(err)
	}
	return w
}

// putBlob stores a Walrus blob. Its metadata is changed by forge before the id
// follows from it, as a dishonest writer does; nil: it is honest.
func (w *world) putBlob(n int, data []byte, forge func(p walrus.Params, m *walrus.Metadata)) walrus.BlobID {
	w.t.Helper()
	enc := must(walrus.NewEncoder(n))(w.t)
	p := must(walrus.NewParams(n, uint64(len(data))))(w.t)
	e := must(enc.Encode(w.t.Context(), data, blob.Kept(p)))(w.t)
	if forge != nil {
		forge(p, e.Metadata)
		e.ID = e.Metadata.BlobID()
	}
	writer := must(blob.New([]blob.Member{{Name: "store", Node: w.store}}, nil).Writer())(w.t)
	if err := writer.Put(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
	return e.ID
}

// engine returns an engine that remembers nothing but what is in cache.
func (w *world) engine(cache engine.Cache, opts *engine.Options) *engine.Engine {
	eng := engine.New(blob.New([]blob.Member{{Name: "store", Node: watched{w.store, w}}}, nil), cache, opts)
	w.t.Cleanup(func() { eng.Close() })
	return eng
}

func (w *world) openBlob(eng *engine.Engine, id walrus.BlobID) *engine.Blob {
	w.t.Helper()
	return must(eng.OpenBlob(w.t.Context(), id))(w.t)
}

// mustHold compares a file with data: whole, and in random reads.
func mustHold(t testing.TB, f *engine.File, data []byte) {
	t.Helper()
	got := make([]byte, len(data))
	if n, err := f.ReadAt(t.Context(), got, 0); err != nil && len(data) > 0 || !bytes.Equal(got, data) {
		t.Fatalf("%d of %d bytes, %v; right: %v", n, len(data), err, bytes.Equal(got, data))
	}
	rng := rand.New(rand.NewPCG(1, uint64(len(data))))
	for range 30 {
		if len(data) == 0 {
			break
		}
		off := rng.IntN(len(data))
		n := rng.IntN(100_000)
		s := must(f.Read(t.Context(), int64(off), n))(t)
		var got []byte
		for _, c := range s.Parts() {
			got = append(got, c.Bytes()...)
		}
		s.Release()
		if want := data[off:min(off+n, len(data))]; !bytes.Equal(got, want) {
			t.Fatalf("%d bytes at %d of %d differ", n, off, len(data))
		}
	}
}

func TestABlobIsReadAsItIs(t *testing.T) {
	for _, n := range []int{4, 10, 100, 1000} {
		for _, size := range []int{0, 1, 17, 16 << 10, 300_001, 6 << 20} {
			if n <= 10 && size > 300_001 {
				continue // more than they hold
			}
			w := newStore(t)
			data := random(uint64(size), size)
			id := w.putBlob(n, data, nil)
			caches := []engine.Cache{nil, newMemoryCache()}
			for _, cache := range caches {
				for _, opts := range []*engine.Options{nil, {Memory: 1, Near: true}} {
					f := must(w.openBlob(w.engine(cache, opts), id).File())(t)
					mustHold(t, f, data)
					if cached, total, err := f.Cached(t.Context(), 0, int64(size)); err != nil || total != int64(size) || cache != nil && cached != total || cache == nil && cached != 0 {
						t.Errorf("n=%d: %d of %d bytes cached, %v", n, cached, total, err)
					}
				}
			}
			w.gone.Store(true)
			mustHold(t, must(w.openBlob(w.engine(caches[1], nil), id).File())(t), data)
		}
	}
}

// Rows that hold no data are known to be zero: they are not fetched.
func TestOnlyRowsWithDataAreFetched(t *testing.T) {
	w := newStore(t)
	for size, want := range map[int]int64{1334: 1, 1335: 2, 1: 1, 13340: 10} {
		data := random(uint64(size), size)
		id := w.putBlob(1000, data, nil)
		w.reads.Store(0)
		ds := must(w.openBlob(w.engine(nil, nil), id).Dataset(t.Context()))(t)
		if got := must(fs.ReadFile(ds.FS(t.Context()), id.String()))(t); !bytes.Equal(got, data) {
			t.Errorf("%d bytes differ", size)
		}
		if got := w.reads.Load(); got != want {
			t.Errorf("%d bytes: %d slivers fetched, want %d", size, got, want)
		}
	}
}

// Many readers of one sliver fetch it once, and afterwards pieces alone.
func TestASliverIsFetchedOnceForAll(t *testing.T) {
	w := newStore(t)
	data := random(1, 10<<20)
	id := w.putBlob(31, data, nil)
	b := w.openBlob(w.engine(newMemoryCache(), nil), id)
	f := must(b.File())(t)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			p := make([]byte, 1000)
			if _, err := f.ReadAt(t.Context(), p, int64(i)*10_000); err != nil || !bytes.Equal(p, data[i*10_000:][:1000]) {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := w.reads.Load(); got != 1 {
		t.Errorf("%d reads of slivers, want 1", got)
	}
}

// Without a cache, what was proven once is read in pieces and proven again.
func TestPiecesOfAProvenSliverAreReadAlone(t *testing.T) {
	w := newStore(t)
	data := random(2, 40<<20) // in slivers that no memory keeps
	id := w.putBlob(100, data, nil)
	eng := w.engine(nil, &engine.Options{Memory: 1})
	f := must(w.openBlob(eng, id).File())(t)
	p := make([]byte, 1000)
	for range 2 {
		before := eng.Stats().Fetched
		for _, off := range []int64{0, 9 << 20, 39 << 20} {
			if _, err := f.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, data[off:off+1000]) {
				t.Fatal(off, err)
			}
		}
		if got := eng.Stats().Fetched - before; before > 0 && got > 3*2*16<<10 {
			t.Errorf("%d bytes fetched for 3 pieces", got)
		}
	}
	// The store rots meanwhile.
	names := must(filepath.Glob(filepath.Join(w.store.BlobDir(id), "p0")))(t)
	raw := must(os.ReadFile(names[0]))(t)
	for i := range raw {
		raw[i] ^= 1
	}
	if err := os.WriteFile(names[0], raw, 0o644); err != nil {
		t.Fatal(err)
	}
	mustHold(t, f, data)
}

// What a cache says is never believed.
func TestAHostileCacheGivesNoWrongByte(t *testing.T) {
	w := newStore(t)
	data := random(3, 700_000)
	id := w.putBlob(10, data, nil)
	cache := newMemoryCache()
	eng := w.engine(cache, &engine.Options{Memory: 1})
	f := must(w.openBlob(eng, id).File())(t)
	mustHold(t, f, data)
	rng := rand.New(rand.NewPCG(2, 2))
	flip := func() (n int) {
		for _, chunk := range cache.chunks[id] {
			chunk[rng.IntN(len(chunk))] ^= 1 << rng.IntN(8)
			n++
		}
		return n
	}
	if n := flip(); n < 40 {
		t.Fatalf("%d chunks cached", n)
	}
	mustHold(t, must(w.openBlob(w.engine(cache, nil), id).File())(t), data) // that proves whole slivers
	flip()
	big := newMemoryCache() // whose slivers memory does not keep
	data = random(4, 40<<20)
	id = w.putBlob(100, data, nil)
	cache = big
	f = must(w.openBlob(w.engine(big, &engine.Options{Memory: 1}), id).File())(t)
	mustHold(t, f, data)
	flip()
	mustHold(t, f, data) // that knows the hashes of pieces
	if w.gone.Store(true); flip() > 0 {
		if _, err := must(w.openBlob(w.engine(big, nil), id).File())(t).ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, blob.ErrUnavailable) {
			t.Errorf("false cache, no store: %v", err)
		}
	}
}

func TestWhatABlobIsShownAs(t *testing.T) {
	w := newWorld(t, 10, 0, func(tree string) { write(tree, "f", random(5, 1000)) })
	raw := random(6, 100)
	for _, id := range []walrus.BlobID{w.putBlob(10, raw, nil), w.id} { // a dataset, asked for as a blob, is a blob
		b := w.openBlob(w.engine(nil, nil), id)
		ds := must(b.Dataset(t.Context()))(t)
		if ds.Blob() != b || ds.ID() != id {
			t.Errorf("it is of another blob")
		}
		e := must(ds.Resolve(t.Context(), id.String()))(t)
		if e.Mode != 0o444 || e.Size != int64(b.Params().Size) || e.Sec != 0 || e.Links != 1 || e.First != e.Number || ds.Root().Mode != 0o555 || ds.Root().Entries != 1 {
			t.Errorf("%+v in %+v", e, ds.Root())
		}
		xs := must(ds.Xattrs(t.Context(), e))(t)
		if len(xs) != 1 || xs[0].Name != "user.walrus.blob-id" || string(xs[0].Value) != id.String() {
			t.Errorf("attributes %s", xs)
		}
		var n int64
		err := ds.Verify(t.Context(), true, func(p engine.Problem) { t.Errorf("%s: %v", p.Path, p.Err) }, func(_, b int64) { n += b })
		if err != nil || n != e.Size {
			t.Errorf("%d bytes verified, %v", n, err)
		}
	}
	if must(w.engine(nil, nil).Open(t.Context(), w.id))(t).Blob() != nil {
		t.Error("a dataset says it is a blob")
	}
	if _, err := w.engine(nil, nil).OpenBlob(t.Context(), walrus.BlobID{1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no blob: %v", err)
	}
}

func TestInconsistentBlobsAreRefused(t *testing.T) {
	w := newStore(t)
	data := random(7, 5)
	zeros := w.putBlob(10, data, func(p walrus.Params, m *walrus.Metadata) { m.Hashes[p.K1-1].Primary[0]++ })
	b := w.openBlob(w.engine(nil, nil), zeros)
	if _, err := b.Dataset(t.Context()); !errors.Is(err, walrus.ErrInconsistent) {
		t.Errorf("a zero row that is not: %v", err)
	}
	if err := b.CheckConsistency(t.Context(), nil); !errors.Is(err, walrus.ErrInconsistent) {
		t.Errorf("the whole check: %v", err)
	}
	parity := w.putBlob(10, data, func(p walrus.Params, m *walrus.Metadata) { m.Hashes[9].Primary[0]++ })
	b = w.openBlob(w.engine(nil, nil), parity)
	if err := b.CheckConsistency(t.Context(), nil); err != nil {
		t.Errorf("parity is not part of the default check: %v", err)
	}
	for range 2 { // the second as remembered
		if err := b.CheckStrictly(t.Context()); !errors.Is(err, walrus.ErrInconsistent) {
			t.Errorf("parity that does not fit: %v", err)
		}
	}
	for _, size := range []int{0, 1, 100_000} {
		if err := w.openBlob(w.engine(nil, nil), w.putBlob(10, random(8, size), nil)).CheckStrictly(t.Context()); err != nil {
			t.Errorf("%d good bytes: %v", size, err)
		}
	}
}

// vectors are the official quilts of tests/vectors.
type vectors struct {
	Quilts []struct {
		N     int `json:"n_shards"`
		Files []struct {
			Identifier string            `json:"identifier"`
			Seed       uint32            `json:"seed"`
			Size       int               `json:"size"`
			Tags       map[string]string `json:"tags"`
		} `json:"files"`
		Patches []struct {
			Identifier string `json:"identifier"`
			ID         string `json:"patch_id"`
		} `json:"patches"`
		Blob struct {
			ID walrus.BlobID `json:"blob_id_base64url"`
		} `json:"blob"`
	} `json:"quilts"`
}

// vectorBlob is the blob_generator of tests/vectors.
func vectorBlob(seed uint32, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		seed ^= seed << 13
		seed ^= seed >> 17
		seed ^= seed << 5
		b[i] = byte(seed >> 24)
	}
	return b
}

func TestOfficialQuiltsAreDirectories(t *testing.T) {
	var v vectors
	if err := json.Unmarshal(must(os.ReadFile("../tests/vectors/walrus.json"))(t), &v); err != nil || len(v.Quilts) < 5 {
		t.Fatal(len(v.Quilts), err)
	}
	for _, q := range v.Quilts {
		w := newStore(t)
		var files []walrus.QuiltFile
		ids := make(map[string]string)
		for _, f := range q.Files {
			files = append(files, walrus.QuiltFile{Identifier: f.Identifier, Tags: f.Tags, Data: vectorBlob(f.Seed, f.Size)})
		}
		for _, p := range q.Patches {
			ids[p.Identifier] = p.ID
		}
		data, _, err := walrus.EncodeQuilt(q.N, files)
		if err != nil {
			t.Fatal(err)
		}
		id := w.putBlob(q.N, data, nil)
		if id != q.Blob.ID {
			t.Fatalf("quilt %s, want %s", id, q.Blob.ID)
		}
		cache := newMemoryCache()
		for range 2 {
			b := w.openBlob(w.engine(cache, nil), id)
			ds := must(b.Dataset(t.Context()))(t)
			if ds.Root().Files != uint64(len(files)) {
				t.Errorf("%d files of %d", ds.Root().Files, len(files))
			}
			for _, f := range files {
				e, err := ds.Resolve(t.Context(), f.Identifier)
				if err != nil {
					t.Fatal(err)
				}
				mustHold(t, must(ds.File(t.Context(), e))(t), f.Data)
				want := map[string]string{"user.walrus.identifier": f.Identifier, "user.walrus.patch-id": ids[f.Identifier]}
				for k, v := range f.Tags {
					want["user.walrus.tag."+k] = v
				}
				for _, x := range must(ds.Xattrs(t.Context(), e))(t) {
					if want[x.Name] != string(x.Value) {
						t.Errorf("%s: %s is %q, want %q", f.Identifier, x.Name, x.Value, want[x.Name])
					}
					delete(want, x.Name)
				}
				if len(want) > 0 {
					t.Errorf("%s lacks %v", f.Identifier, want)
				}
			}
			err := ds.Verify(t.Context(), true, func(p engine.Problem) { t.Errorf("%s: %v", p.Path, p.Err) }, nil)
			if err != nil {
				t.Error(err)
			}
			w.gone.Store(true) // the second time, of what the cache has
		}
	}
}

// The headers of 600 patches are had from a few rows.
func TestSizesOfManyPatchesTakeFewSlivers(t *testing.T) {
	w := newStore(t)
	var files []walrus.QuiltFile
	for i := range 600 {
		files = append(files, walrus.QuiltFile{Identifier: fmt.Sprintf("dir%d/file%03d", i%7, i), Data: random(uint64(i), 1000+i)})
	}
	data, _, err := walrus.EncodeQuilt(1000, files)
	if err != nil {
		t.Fatal(err)
	}
	eng := w.engine(nil, nil)
	b := w.openBlob(eng, w.putBlob(1000, data, nil))
	ds := must(b.Dataset(t.Context()))(t)
	if got := eng.Stats().Fetched; got > int64(len(data))/4 {
		t.Errorf("%d bytes fetched to open a quilt of %d", got, len(data))
	}
	var names []string
	for e, err := range ds.List(t.Context(), ds.Root(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name)
		if e.Type != catalog.Dir || e.Files < 85 || e.Entries != e.Files {
			t.Errorf("%+v", e)
		}
	}
	if !slices.IsSorted(names) || len(names) != 7 || ds.Root().Entries != 607 {
		t.Errorf("%q, %d entries", names, ds.Root().Entries)
	}
	for i, f := range files {
		e := must(ds.Resolve(t.Context(), f.Identifier))(t)
		again := must(ds.Entry(t.Context(), e.Number))(t)
		if path := must(ds.Path(t.Context(), e.Number))(t); path != f.Identifier || again.Name != e.Name || e.Size != int64(len(f.Data)) {
			t.Errorf("entry %d: %q of %d bytes", e.Number, path, e.Size)
		}
		if i%50 == 0 {
			mustHold(t, must(ds.File(t.Context(), e))(t), f.Data)
		}
	}
}
