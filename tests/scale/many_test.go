package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/floefs/floe/tests/compare"
	"github.com/floefs/floe/tests/floe"
)

func Test100000FilesInOneDirectoryComeBack(t *testing.T) {
	s := floe.New(t)
	source := s.Path("source")
	dir := filepath.Join(source, "many")
	must(t, os.MkdirAll(dir, 0o755))
	for i := range 100_000 {
		name := fmt.Sprintf("%x", i*7919)
		if i%1000 == 0 {
			name += strings.Repeat("\xff", 255-len(name))
		}
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(name)[:i%len(name)], 0o644))
	}
	id := s.Put(source)
	mnt := s.Path("mount")
	s.Mount(id, mnt)
	r, err := compare.Trees(source, mnt)
	must(t, err)
	for _, d := range r.Differences[:min(10, len(r.Differences))] {
		t.Error(d)
	}
	if r.Files != 100_000 {
		t.Errorf("%d files compared", r.Files)
	}
}
