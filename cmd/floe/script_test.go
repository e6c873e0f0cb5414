package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/fs"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"floe": main, "mount.floe": main})
}

// TestScripts runs testdata/script, each in a directory and a home of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			e.Setenv("HOME", home)
			e.Setenv("FLOE_RUN_DIR", filepath.Join(e.WorkDir, "run"))
			e.Defer(func() { detachBelow(e.WorkDir) }) // what a script that failed has left
			e.Setenv("STORE", filepath.Join(home, ".local/share/floe/store"))
			return os.MkdirAll(home, 0o755)
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "fuse":
				return canMount(), nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": scriptCode, "keep": scriptKeep, "same": scriptSame,
			"lose": scriptLose, "flip": scriptFlip, "hold": scriptHold, "attach": scriptAttach,
			"ports": scriptPorts, "store": scriptStore, "await": scriptAwait,
		},
	})
}

func detachBelow(dir string) {
	mounts, _ := fs.Mounts()
	for _, m := range mounts {
		if strings.HasPrefix(m.Dir, dir+"/") {
			fs.Unmount(m.Dir, true)
		}
	}
}

// canMount reports whether this process may mount.
func canMount() bool {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	if os.Geteuid() == 0 {
		return true
	}
	_, err = exec.LookPath("fusermount3")
	return err == nil
}

// code N COMMAND...: the command must exit with code N.
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// keep NAME: set a variable to what the last command printed.
func scriptKeep(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// same A B: two trees must be alike in all that a dataset holds.
func scriptSame(ts *testscript.TestScript, neg bool, args []string) {
	a, b := describeTree(ts, ts.MkAbs(args[0])), describeTree(ts, ts.MkAbs(args[1]))
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a) || i < len(b) && a[i] > b[i]:
			ts.Fatalf("only in %s: %s", args[1], b[i])
		case i >= len(b) || a[i] < b[i]:
			ts.Fatalf("only in %s: %s", args[0], a[i])
		}
	}
}

// describeTree returns a line for each entry below dir.
func describeTree(ts *testscript.TestScript, dir string) []string {
	var lines []string
	first := make(map[uint64]string) // inode to its first path
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%q mode=%o mtime=%d.%09d", rel, st.Mode, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			line += fmt.Sprintf(" size=%d links=%d of=%q data=%x", st.Size, st.Nlink, first[st.Ino], sum(data))
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" to=%q", to)
		}
		lines = append(lines, line+xattrsOf(path))
		return nil
	})
	ts.Check(err)
	slices.Sort(lines)
	return lines
}

func sum(data []byte) (h uint64) {
	for _, c := range data {
		h = h*1099511628211 + uint64(c) + 1
	}
	return h
}

func xattrsOf(path string) string {
	names := make([]byte, 4096)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		return ""
	}
	var all []string
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.floe.") {
			value := make([]byte, 4096)
			m, _ := unix.Lgetxattr(path, name, value)
			all = append(all, fmt.Sprintf(" %s=%q", name, value[:max(m, 0)]))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

// store blob|quilt|forged NAME FILE...: put a Walrus blob of 100 shards into $STORE,
// as it is, and set NAME to its id. Of a quilt, FILE is a patch and its
// identifier, and each has the tag kind=test. A forged blob has metadata that
// is false about a sliver that no read needs.
func scriptStore(ts *testscript.TestScript, neg bool, args []string) {
	const n = 100
	ctx := context.Background()
	data := []byte(ts.ReadFile(args[2]))
	if args[0] == "quilt" {
		var files []walrus.QuiltFile
		for _, name := range args[2:] {
			files = append(files, walrus.QuiltFile{Identifier: name, Tags: map[string]string{"kind": "test"}, Data: []byte(ts.ReadFile(name))})
		}
		var err error
		data, _, err = walrus.EncodeQuilt(n, files)
		ts.Check(err)
	}
	params, err := walrus.NewParams(n, uint64(len(data)))
	ts.Check(err)
	enc, err := walrus.NewEncoder(n)
	ts.Check(err)
	encoded, err := enc.Encode(ctx, data, blob.Kept(params))
	ts.Check(err)
	if args[0] == "forged" {
		encoded.Metadata.Hashes[n-1].Secondary[0] ^= 1
		encoded.ID = encoded.Metadata.BlobID()
	}
	to, err := dir.Open(ts.Getenv("STORE"), true)
	ts.Check(err)
	w, err := blob.New([]blob.Member{{Name: "store", Node: to}}, nil).Writer()
	ts.Check(err)
	ts.Check(w.Put(ctx, encoded))
	ts.Setenv(args[1], encoded.ID.String())
}

// lose N: remove N slivers of each blob in $STORE.
func scriptLose(ts *testscript.TestScript, neg bool, args []string) {
	eachSliver(ts, args, func(path string) { ts.Check(os.Remove(path)) })
}

// flip N: change a byte in each of N slivers of each blob in $STORE.
func scriptFlip(ts *testscript.TestScript, neg bool, args []string) {
	eachSliver(ts, args, func(path string) {
		data, err := os.ReadFile(path)
		ts.Check(err)
		data[len(data)/2] ^= 1
		ts.Check(os.WriteFile(path, data, 0o644))
	})
}

// eachSliver calls do for the first n slivers there are of each blob.
func eachSliver(ts *testscript.TestScript, args []string, do func(path string)) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	blobs, err := filepath.Glob(filepath.Join(ts.Getenv("STORE"), "blobs/*/*"))
	ts.Check(err)
	if len(blobs) == 0 {
		ts.Fatalf("there is no blob in %s", ts.Getenv("STORE"))
	}
	for _, b := range blobs {
		done := 0
		for i := 0; done < n && i < 1000; i++ {
			if path := filepath.Join(b, fmt.Sprintf("p%d", i)); exists(path) {
				do(path)
				done++
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// hold FILE: keep a file open until the script ends or the next hold.
func scriptHold(ts *testscript.TestScript, neg bool, args []string) {
	if held != nil {
		held.Close()
		held = nil
	}
	if len(args) == 0 {
		return
	}
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	held = f
	ts.Defer(func() { f.Close() })
}

var held *os.File // by the one script that mounts at a time

// attach NAME=VALUE FILE: set an extended attribute; says so if the file
// system has none.
func scriptAttach(ts *testscript.TestScript, neg bool, args []string) {
	name, value, _ := strings.Cut(args[0], "=")
	if err := unix.Setxattr(ts.MkAbs(args[1]), name, []byte(value), 0); err != nil {
		ts.Logf("no extended attributes here: %v", err)
	}
}

// ports NAME...: set variables to ports that nobody listens on.
func scriptPorts(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer ln.Close() // after all have been found
		ts.Setenv(name, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	}
}

// await FILE...: wait until something has been written to each.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	deadline := time.Now().Add(20 * time.Second)
	for _, name := range args {
		for {
			if fi, err := os.Stat(ts.MkAbs(name)); err == nil && fi.Size() > 0 {
				break
			}
			if time.Now().After(deadline) {
				ts.Fatalf("nothing was written to %s", name)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// runFloe runs a command line in this process.
func runFloe(t *testing.T, e *env, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, msg strings.Builder
	e.stdout, e.stderr = &out, &msg
	code = e.run(context.Background(), append([]string{"floe"}, args...))
	return code, out.String(), msg.String()
}

// testEnv returns an environment with a home of its own.
func testEnv(t *testing.T) *env {
	home := t.TempDir()
	vars := map[string]string{"HOME": home}
	return &env{
		stdin: strings.NewReader(""), dir: home,
		lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	}
}
