package tools

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/tests/floe"
)

// TestFSPassesTheStandardLibrarysTest needs no mount: it is what a Go program
// sees of what the command has put.
func TestFSPassesTheStandardLibrarysTest(t *testing.T) {
	s := floe.New(t)
	source := s.Path("source")
	rng := rand.NewChaCha8([32]byte{2})
	var all []string
	for name, n := range map[string]int{
		"empty": 0, "one": 1, "chunk": 16 << 10, "more": 70000, "segment": 1<<20 + 1, "a/b/c/deep": 100, "a/b/x": 5, "names/é": 3, "names/a b": 4, "names/\x01": 5, "names/...": 6,
	} {
		b := make([]byte, n)
		rng.Read(b)
		path := filepath.Join(source, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, b, 0o644))
		all = append(all, name)
	}
	must(t, os.Mkdir(filepath.Join(source, "nothing"), 0o755))
	must(t, os.Symlink("b/x", filepath.Join(source, "a", "link")))
	must(t, os.Symlink("b", filepath.Join(source, "a", "dir-link")))
	all = append(all, "nothing", "a/link", "a/dir-link")
	id, err := walrus.ParseBlobID(s.Put(source))
	must(t, err)

	store, err := dir.Open(s.Store(), false)
	must(t, err)
	e := engine.New(blob.New([]blob.Member{{Name: "store", Node: store}}, nil), nil, nil)
	defer e.Close()
	d, err := e.Open(t.Context(), id)
	must(t, err)
	if err := fstest.TestFS(d.FS(t.Context()), all...); err != nil {
		t.Error(err)
	}
	for _, name := range append(all, "a/dir-link/c/deep") {
		want, err := fs.ReadFile(os.DirFS(source), name)
		if err != nil {
			continue // a directory
		}
		if got, err := fs.ReadFile(d.FS(t.Context()), name); err != nil || string(got) != string(want) {
			t.Errorf("%q: %d bytes (%v), want %d", name, len(got), err, len(want))
		}
	}
}
