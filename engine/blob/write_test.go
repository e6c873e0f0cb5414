package blob_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
)

// Every way in which a blob can be stored other than wholly is seen, and
// putting it again mends it without touching what is good.
func TestStoredMeansWhollyThere(t *testing.T) {
	store, err := dir.Open(filepath.Join(t.TempDir(), "store"), true)
	if err != nil {
		t.Fatal(err)
	}
	w, err := blob.New([]blob.Member{{Name: "store", Node: store}}, nil).Writer()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	data := make([]byte, 100_001) // ends within a sliver; more are zero
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	const n = 13
	p, err := walrus.NewParams(n, uint64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	enc, err := walrus.NewEncoder(n)
	if err != nil {
		t.Fatal(err)
	}
	e, err := enc.Encode(ctx, data, w.Rows(p))
	if err != nil {
		t.Fatal(err)
	}
	stored := func() bool {
		t.Helper()
		ok, err := w.Stored(ctx, e.ID, p, data)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if stored() {
		t.Error("stored before it was put")
	}
	if err := w.Put(ctx, e); err != nil {
		t.Fatal(err)
	}
	if !stored() {
		t.Error("not stored after it was put")
	}
	names, err := os.ReadDir(store.BlobDir(e.ID))
	if err != nil || len(names) != blob.Kept(p)+2 {
		t.Fatalf("%d files, want %d slivers and two copies of metadata (%v)", len(names), blob.Kept(p), err)
	}
	damages := map[string]func(path string, whole []byte) error{
		"removed":   func(path string, _ []byte) error { return os.Remove(path) },
		"cut short": func(path string, whole []byte) error { return os.Truncate(path, int64(len(whole)-1)) },
		"emptied":   func(path string, _ []byte) error { return os.Truncate(path, 0) },
		"altered": func(path string, whole []byte) error {
			bad := append([]byte(nil), whole...)
			bad[len(bad)-1] ^= 1
			return os.WriteFile(path, bad, 0o644)
		},
	}
	for what, damage := range damages {
		for _, name := range names {
			path := filepath.Join(store.BlobDir(e.ID), name.Name())
			whole, err := os.ReadFile(path)
			if err == nil {
				err = damage(path, whole)
			}
			if err != nil {
				t.Fatal(err)
			}
			meta := name.Name() == "meta" || name.Name() == "meta.copy"
			if got := stored(); got != meta {
				t.Errorf("%s %s: stored is %v", name.Name(), what, got)
			}
			if !meta { // of which one good copy is enough to make the other again
				if err := w.Put(ctx, e); err != nil {
					t.Fatal(err)
				}
			}
			if again, err := os.ReadFile(path); err != nil || string(again) != string(whole) {
				t.Errorf("%s %s: not mended (%v)", name.Name(), what, err)
			}
		}
	}
	if ok, err := w.Stored(ctx, e.ID, p, append(data[:100_000:100_000], 'x')); ok || err != nil {
		t.Errorf("other data is stored: %v, %v", ok, err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := w.Put(canceled, e); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestAWriterNeedsOneMember(t *testing.T) {
	for _, members := range [][]blob.Member{nil, make([]blob.Member, 2)} {
		if _, err := blob.New(members, nil).Writer(); err == nil {
			t.Errorf("a writer to %d members", len(members))
		}
	}
}
