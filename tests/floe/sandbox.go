// Package floe runs the floe command for whole-system tests: it builds it,
// gives it a store, a cache and a home of its own, puts directories and mounts
// datasets for the length of a test.
package floe

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Sandbox is where floe runs without seeing anything of the user's.
type Sandbox struct {
	Dir string // everything in it; other users may look into it

	t    testing.TB
	floe string
}

// New returns a sandbox for the length of t.
func New(t testing.TB) *Sandbox {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: no other user can enter it.
	dir, err := os.MkdirTemp("", "floe-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the sandbox: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &Sandbox{Dir: dir, t: t, floe: bin}
}

var buildDir string // of what built has built; empty if nothing

// built builds floe once for all tests of a package.
var built = sync.OnceValues(func() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	// Not what make builds: tests of several packages run at once, and what
	// one runs another must not be writing.
	if buildDir, err = os.MkdirTemp("", "floe-build-"); err != nil {
		return "", err
	}
	bin := filepath.Join(buildDir, "floe")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/floe")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building floe: %w\n%s", err, out)
	}
	return bin, nil
})

// Main runs the tests of a package and removes what they have built. A
// TestMain calls it.
func Main(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// Root returns the directory of the module.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// Path returns the path of a file in the sandbox.
func (s *Sandbox) Path(elem ...string) string {
	return filepath.Join(append([]string{s.Dir}, elem...)...)
}

// Program returns the path of floe.
func (s *Sandbox) Program() string { return s.floe }

// Store returns the directory of the store that puts go to.
func (s *Sandbox) Store() string { return s.Path("store") }

// Command returns floe with arguments, about to be run in the sandbox.
func (s *Sandbox) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.floe, args...)
	cmd.Env = append(os.Environ(), "HOME="+s.Path("home"), "XDG_RUNTIME_DIR="+s.Path("run"),
		"FLOE_STORE=dir:"+s.Store(), "FLOE_CACHE_DIR="+s.Path("cache"))
	for _, kind := range []string{"DATA", "STATE", "CONFIG", "CACHE"} {
		cmd.Env = append(cmd.Env, "XDG_"+kind+"_HOME="+s.Path("home", strings.ToLower(kind)))
	}
	return cmd
}

// Try runs floe and returns what it printed.
func (s *Sandbox) Try(args ...string) (string, error) { return s.try(s.t.Context(), args...) }

func (s *Sandbox) try(ctx context.Context, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := s.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("floe %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String()), err
}

// Run is Try that must succeed.
func (s *Sandbox) Run(args ...string) string {
	s.t.Helper()
	out, err := s.Try(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// Put publishes a directory and returns the dataset's id.
func (s *Sandbox) Put(dir string, flags ...string) string {
	s.t.Helper()
	return s.Run(append(append([]string{"put", "--quiet"}, flags...), dir)...)
}

// Mount mounts a dataset on dir, which it makes if it is missing, until the
// test ends. The server is a process of its own.
func (s *Sandbox) Mount(id, dir string, flags ...string) {
	s.t.Helper()
	NeedMount(s.t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.Run(append(append([]string{"mount"}, flags...), id, dir)...)
	s.t.Cleanup(func() {
		if _, err := s.try(context.Background(), "umount", dir); err != nil {
			s.t.Errorf("unmounting: %v", err)
			exec.Command("umount", "-l", dir).Run()
		}
	})
}

// NeedMount skips t where nothing can be mounted.
func NeedMount(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: this test mounts, which takes root")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skip("SKIPPED: this test mounts, which takes /dev/fuse: ", err)
	}
	f.Close()
}

// NeedTools fails t if a program is missing: make deps installs all that
// tests run.
func NeedTools(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			t.Fatalf("%s is missing; make deps installs what tests need: %v", n, err)
		}
	}
}
