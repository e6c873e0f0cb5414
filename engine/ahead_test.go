package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/walrus"
)

// far is the world's store as one that is far away.
func (w *world) far(t *testing.T, latency time.Duration) (*engine.Engine, *engine.Dataset) {
	t.Helper()
	eng := engine.New(blob.New([]blob.Member{{Name: "store", Node: watched{w.store, w}}}, nil), nil, nil)
	t.Cleanup(func() { eng.Close() })
	ds, err := eng.Open(t.Context(), w.id)
	if err != nil {
		t.Fatal(err)
	}
	w.slow.Store(int64(latency))
	return eng, ds
}

func open(t *testing.T, ds *engine.Dataset, path string) *engine.File {
	t.Helper()
	e, err := ds.Resolve(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ds.File(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// settle closes the engine, which ends what is on its way, and returns the
// counts.
func settle(eng *engine.Engine) engine.Stats {
	eng.Close()
	return eng.Stats()
}

// One who reads a file in order finds most of it there, and nothing is fetched
// twice.
func TestReadingInOrderIsAheadOfTheReader(t *testing.T) {
	data := random(1, 20<<20)
	w := newWorld(t, 40, 8<<20, func(tree string) { write(tree, "f", data) })
	for _, step := range []int{1 << 20, 128 << 10, 300_000} {
		eng, ds := w.far(t, time.Millisecond)
		f := open(t, ds, "f")
		for off := 0; off < len(data); off += step {
			p := make([]byte, min(step, len(data)-off))
			if _, err := f.ReadAt(t.Context(), p, int64(off)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(p, data[off:off+len(p)]) {
				t.Fatalf("the %d bytes at %d are wrong", len(p), off)
			}
		}
		st := settle(eng)
		if st.Ahead < int64(len(data))*9/10 {
			t.Errorf("in steps of %d: %d of %d bytes were fetched ahead", step, st.Ahead, len(data))
		}
		// A chunk that two steps share is read by both.
		if limit := int64(len(data)) * 105 / 100; step%(16<<10) == 0 && st.Fetched > limit {
			t.Errorf("in steps of %d: %d bytes fetched for %d", step, st.Fetched, len(data))
		}
		if st.Unused > 0 {
			t.Errorf("in steps of %d: %d bytes fetched for nobody", step, st.Unused)
		}
	}
}

// Small files come along when they are read in the order of their names, and
// do not when they are read in another.
func TestFilesInOrderComeAlong(t *testing.T) {
	const files, size = 300, 50_000
	w := newWorld(t, 40, 8<<20, func(tree string) {
		for i := range files {
			write(tree, fmt.Sprintf("d%d/f%03d", i/100, i), random(uint64(i), size))
		}
	})
	read := func(ds *engine.Dataset, i int) {
		t.Helper()
		got := make([]byte, size)
		_, err := open(t, ds, fmt.Sprintf("d%d/f%03d", i/100, i)).ReadAt(t.Context(), got, 0)
		if err != nil || !bytes.Equal(got, random(uint64(i), size)) {
			t.Fatalf("file %d is wrong: %v", i, err)
		}
	}
	eng, ds := w.far(t, time.Millisecond)
	before := w.reads.Load()
	for i := range files {
		read(ds, i)
	}
	st := settle(eng)
	if st.Ahead < files*size*8/10 {
		t.Errorf("of %d bytes in order %d were fetched ahead", files*size, st.Ahead)
	}
	if reads := w.reads.Load() - before; reads > files/2 {
		t.Errorf("%d requests for %d small files in order", reads, files)
	}
	eng, ds = w.far(t, 0)
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(files) {
		read(ds, i)
	}
	if st := settle(eng); st.Ahead > files*size/5 {
		t.Errorf("of %d bytes shuffled %d were fetched ahead", files*size, st.Ahead)
	}
}

func TestReadingAtRandomIsNotPunished(t *testing.T) {
	data := random(2, 16<<20)
	w := newWorld(t, 40, 8<<20, func(tree string) { write(tree, "f", data) })
	eng, ds := w.far(t, 0)
	rng := rand.New(rand.NewPCG(3, 3))
	const reads = 3000
	var wg sync.WaitGroup
	for range 4 {
		seed := rng.Uint64()
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 0))
			f := open(t, ds, "f") // anew, as those do who map a file for a few reads
			p := make([]byte, 4096)
			for range reads / 4 {
				off := rng.Int64N(int64(len(data)/4096)) * 4096
				if _, err := f.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, data[off:off+4096]) {
					t.Errorf("4 KiB at %d are wrong: %v", off, err)
					return
				}
			}
		})
	}
	wg.Wait()
	st := settle(eng)
	if perByte := float64(st.Fetched) / (reads * 4096); perByte > 17 {
		t.Errorf("%.1f bytes fetched per byte", perByte)
	}
}

// What was fetched ahead is as little trusted as all else that comes from
// blobs.
func TestWhatIsFetchedAheadIsProven(t *testing.T) {
	data := random(5, 16<<20)
	w := newWorld(t, 40, 4<<20, func(tree string) { write(tree, "f", data) })
	liar := &lying{watched: watched{w.store, w}}
	eng := engine.New(blob.New([]blob.Member{{Name: "store", Node: liar}}, nil), nil, nil)
	defer eng.Close()
	ds, err := eng.Open(t.Context(), w.id)
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, ds, "f")
	got := make([]byte, 0, len(data))
	for off := int64(0); off < int64(len(data)); off += 1 << 20 {
		p := make([]byte, 1<<20)
		if _, err := f.ReadAt(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
		got = append(got, p...)
		liar.row.Store(2) // from the second read on
	}
	if !bytes.Equal(got, data) {
		t.Error("wrong bytes")
	}
	if st := eng.Stats(); st.FalseRuns == 0 || st.Ahead == 0 {
		t.Errorf("%d false runs, %d bytes ahead: the test tests nothing", st.FalseRuns, st.Ahead)
	}
}

// lying is a store that falsifies one row of every blob.
type lying struct {
	watched
	row atomic.Int64
}

func (l *lying) ReadSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	err := l.watched.ReadSliver(ctx, id, params, at, p, off)
	if row := l.row.Load(); row > 0 && at.Index == int(row) && len(p) > 0 {
		p[len(p)/2] ^= 1
	}
	return err
}

// What cannot be fetched ahead is asked for again when it is wanted.
func TestWhatFailsAheadIsAskedForAgain(t *testing.T) {
	data := random(6, 8<<20)
	w := newWorld(t, 40, 4<<20, func(tree string) { write(tree, "f", data) })
	blobs := &failing{Client: blob.New([]blob.Member{{Name: "store", Node: w.store}}, nil), failed: make(map[int64]bool)}
	eng := engine.New(blobs, nil, nil)
	defer eng.Close()
	ds, err := eng.Open(t.Context(), w.id)
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, ds, "f")
	for off := int64(0); off < 8<<20; off += 1 << 20 {
		blobs.on.Store(off == 1<<20) // this read goes on from the first, and leads to more
		p := make([]byte, 1<<20)
		if _, err := f.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, data[off:off+1<<20]) {
			t.Fatalf("1 MiB at %d is wrong: %v", off, err)
		}
		for blobs.on.Load() && blobs.count() == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	if st := eng.Stats(); st.Ahead == 0 {
		t.Error("nothing more was fetched ahead")
	}
}

// failing fails the first time for each place but the first MiBs, while it is
// on.
type failing struct {
	*blob.Client
	on     atomic.Bool
	mu     sync.Mutex
	failed map[int64]bool
}

func (b *failing) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.failed)
}

func (b *failing) ReadAt(ctx context.Context, id walrus.BlobID, params walrus.Params, p []byte, off int64) (bool, error) {
	b.mu.Lock()
	fail := b.on.Load() && off >= 2<<20 && off < 4<<20-64<<10 && !b.failed[off]
	if fail {
		b.failed[off] = true
	}
	b.mu.Unlock()
	if fail {
		return false, errors.New("the network is down")
	}
	return b.Client.ReadAt(ctx, id, params, p, off)
}
