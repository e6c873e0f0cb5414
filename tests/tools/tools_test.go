// Package tools runs the field's own programs on a mount and expects of them
// what they do on a local directory.
package tools

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/tests/floe"
)

func TestMain(m *testing.M) { floe.Main(m) }

// A ground is a source directory and a mount of it.
type ground struct {
	*floe.Sandbox
	source, mount, id string
}

// TestProgramsWorkOnAMount mounts one tree for all.
func TestProgramsWorkOnAMount(t *testing.T) {
	floe.NeedMount(t)
	s := floe.New(t)
	g := &ground{s, s.Path("source"), s.Path("mount"), ""}
	mustPlant(t, g.source)
	g.id = s.Put(g.source)
	s.Mount(g.id, g.mount, "--allow-other")
	for _, test := range []struct {
		name string
		run  func(t *testing.T, g *ground)
	}{
		{"git finds the repository sound", gitReads},
		{"sqlite3 answers queries", sqliteReads},
		{"tar makes the same tree of it", tarCopies},
		{"cp -a makes the same tree of it", cpCopies},
		{"rsync finds nothing to do", rsyncAgrees},
		{"find sees the same", findAgrees},
		{"du counts the same", duAgrees},
		{"grep -r finds the same lines", grepAgrees},
		{"Python walks, maps and hashes the same", pythonAgrees},
		{"b3sum prints user.floe.b3", b3sumAgrees},
		{"nothing can be written", writesFail},
		{"a container reads it as another user", containerReads},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, g) })
	}
}

// mustPlant makes a tree with a bit of everything that programs care for.
func mustPlant(t *testing.T, top string) {
	t.Helper()
	dir := func(rel string) { t.Helper(); must(t, os.MkdirAll(filepath.Join(top, rel), 0o755)) }
	rng := rand.NewChaCha8([32]byte{1})
	file := func(rel string, n int) {
		t.Helper()
		b := make([]byte, n)
		rng.Read(b)
		must(t, os.WriteFile(filepath.Join(top, rel), b, 0o644))
	}
	dir("data/empty")
	dir("data/numbers")
	for _, n := range []int{0, 1, 4095, 16384, 16385, 1 << 20, 1<<20 + 1, 9<<20 - 1} {
		file(fmt.Sprintf("data/%d", n), n)
	}
	for i := range 500 {
		file(fmt.Sprintf("data/numbers/%d", i), i*7)
	}
	for i, name := range []string{"\xff\xfe", "new\nline", " blank ", "-n", strings.Repeat("é", 127), "\\"} {
		file("data/"+name, 100+i)
	}
	for _, l := range [][2]string{{"16384", "relative"}, {"/nowhere", "dangling"}, {"numbers", "directory"}} {
		must(t, os.Symlink(l[0], filepath.Join(top, "data", l[1])))
	}
	must(t, os.Link(filepath.Join(top, "data/16385"), filepath.Join(top, "data/numbers/linked")))
	must(t, os.Link(filepath.Join(top, "data/16385"), filepath.Join(top, "also-linked")))
	sparse, err := os.Create(filepath.Join(top, "data/sparse"))
	must(t, err)
	must(t, sparse.Truncate(64<<20))
	_, err = sparse.WriteAt(bytes.Repeat([]byte("data"), 1<<18), 32<<20)
	must(t, err)
	must(t, sparse.Close())
	must(t, unix.Setxattr(filepath.Join(top, "data/1"), "user.colour", []byte("red"), 0))
	must(t, unix.Setxattr(filepath.Join(top, "data"), "user.colour", []byte("blue"), 0))
	must(t, os.Chmod(filepath.Join(top, "data/4095"), 0o400))
	old := time.Date(1965, 3, 18, 8, 34, 51, 123456789, time.UTC)
	must(t, os.Chtimes(filepath.Join(top, "data/16384"), old, old))

	// Text that every machine with Go has.
	dir("text")
	goroot := strings.TrimSpace(output(t, "/", "go", "env", "GOROOT"))
	must(t, os.CopyFS(filepath.Join(top, "text/net"), os.DirFS(filepath.Join(goroot, "src/net"))))
	mustRepository(t, filepath.Join(top, "repository"))
	mustDatabase(t, filepath.Join(top, "database"))
	unix.Sync() // du counts blocks only once they are written
}

// output runs a program in dir and returns what it printed.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := try(t, dir, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	floe.NeedTools(t, name)
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%.2000s", name, strings.Join(args, " "), err, errs.String(), out.String())
	}
	return out.String(), err
}

// sameOutput runs a program in the source and in the mount, and expects the
// same output, line by line in any order. It returns the lines.
func (g *ground) sameOutput(t *testing.T, end, name string, args ...string) []string {
	t.Helper()
	want := sorted(output(t, g.source, name, args...), end)
	got := sorted(output(t, g.mount, name, args...), end)
	if len(want) < 10 {
		t.Errorf("%s %q: only %d lines", name, args, len(want))
	}
	sameLines(t, fmt.Sprintf("%s %q", name, args), got, want)
	return got
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
