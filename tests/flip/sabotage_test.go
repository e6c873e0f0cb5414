package flip

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/floefs/floe/tests/world"
)

// A sabotage takes one defence out of the program: in a file, the one place
// that reads old becomes new.
type sabotage struct {
	defence  string
	file     string // from the top of the repository
	old, new string
	sign     string // what the failing test must say
}

var sabotages = []sabotage{{
	defence: "merkle.Prove compares hashes",
	file:    "merkle/chunk.go",
	old:     "if got := sum(data); got != want {",
	new:     "if got := sum(data); got != want && len(data) < 0 {",
	sign:    "WRONG BYTES",
}, {
	defence: "the cache proves chunks against the hash its reader brings",
	file:    "cachestore/read.go",
	old:     "h := merkle.Hash(want[proven*merkle.HashSize:])",
	new:     "h := merkle.Blake3(buf[at : at+size])",
	sign:    "WRONG BYTES",
}, {
	defence: "metadata is proven against the blob's id",
	file:    "engine/walrus/prove.go",
	old:     "err = m.Verify(id, m.N())",
	new:     "_ = id",
	sign:    "damage that is tolerated was not",
}, {
	defence: "slivers are proven against the metadata",
	file:    "engine/walrus/verify.go",
	old:     "c, err := merkle.Prove(m.Hash(s), data, p.SliverSum(s.Axis))",
	new:     "c, err := merkle.Prove(merkle.Blake3(data), data, merkle.Blake3)",
	sign:    "damage that is tolerated was not",
}, {
	defence: "the index's pages are checked before bbolt sees them",
	file:    "cachestore/index.go",
	old:     "case err != nil:\n\t\treturn secret, err\n\tcase !known:",
	new:     "case !known:",
	sign:    "stack overflow",
}}

// Each defence is taken out once, to see that the flips find it missing: a
// test that passes without what it tests says nothing.
func TestFlipsChangeBytesWhereADefenceIsMissing(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: builds the program several times")
	}
	for _, s := range sabotages {
		t.Run(s.defence, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", s.overlay(t), "-vet=off", "-count=1",
				"-run", "^TestFlipsThroughTheLibraryNeverChangeAByte$", ".")
			cmd.Env = append(os.Environ(), "FLOE_FLIPS=1000", world.ScratchVariable+"="+world.Scratch(t))
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("without this defence 1000 flips went unnoticed:\n%s", out)
			}
			if !strings.Contains(string(out), s.sign) {
				t.Fatalf("the flips do not fail for want of this defence, which shows as %q:\n%.4000s", s.sign, out)
			}
		})
	}
}

// overlay writes what go build takes to see s instead of the real file.
func (s sabotage) overlay(t *testing.T) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", "..", s.file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), s.old); n != 1 {
		t.Fatalf("%s holds this %d times; the sabotage must follow the source:\n%s", s.file, n, s.old)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	changed := write(filepath.Base(s.file), []byte(strings.Replace(string(source), s.old, s.new, 1)))
	list, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	return write("overlay.json", list)
}
