package s3_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A tree has one id in a directory, on three nodes and in a bucket, and when
// each of them has lost what the others have, a mount takes chunks from all
// three.
func TestAMountReadsFromThreePlacesAtOnce(t *testing.T) {
	needGateway(t)
	f := buildFloe(t)
	tree, want := filepath.Join(f.home, "data"), make(map[string][]byte)
	rng := rand.NewChaCha8([32]byte{3})
	for i := range 12 {
		data := make([]byte, 300_000+i)
		rng.Read(data)
		name := fmt.Sprintf("d%d/file%02d", i/4, i)
		want[name] = data
		if err := os.MkdirAll(filepath.Join(tree, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	bucketName := newBucket(t)
	store, bucket, nodes := filepath.Join(f.home, "store"), "s3://"+bucketName+"/p", f.committee(t, 3)
	places := []string{"dir:" + store, bucket, nodes}
	ids := make(map[string]bool)
	var id string
	for _, place := range places {
		id = strings.TrimSpace(f.run(t, "put", "-q", "--blob-size", "1MiB", "--to", place, tree))
		ids[id] = true
	}
	if len(ids) != 1 {
		t.Fatalf("the tree has %d ids", len(ids))
	}
	// Of each blob with data one place is left, the next for the next blob; of
	// the others, which are small, the nodes.
	blobs, err := filepath.Glob(filepath.Join(store, "blobs", "*", "*"))
	if err != nil || len(blobs) < 6 {
		t.Fatalf("%d blobs in %s: %v", len(blobs), store, err)
	}
	withData := 0
	for _, path := range blobs {
		rel, err := filepath.Rel(store, path)
		if err != nil {
			t.Fatal(err)
		}
		inBucket := filepath.Join(server.root, bucketName, "p", rel)
		if _, err := os.Stat(inBucket); err != nil {
			t.Fatal(err)
		}
		first, err := os.Stat(filepath.Join(path, "p0"))
		if err != nil {
			t.Fatal(err)
		}
		place := 0
		if first.Size() > 10_000 {
			place = withData % 3
			withData++
		}
		var gone []string
		switch place {
		case 0:
			gone = []string{path, inBucket}
		case 1:
			gone = append(f.nodeDirs(rel), path)
		default:
			gone = append(f.nodeDirs(rel), inBucket)
		}
		for _, dir := range gone {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	var from []string
	for _, p := range places {
		from = append(from, "--from", p)
	}
	for name, data := range want {
		if got := f.run(t, append(append([]string{"cat"}, from...), id+"/"+name)...); got != string(data) {
			t.Errorf("%s reads back differently", name)
		}
	}
	if os.Geteuid() != 0 {
		t.Log("LOUD: not root, so nothing is mounted; what was read was read by floe cat")
		return
	}
	mnt := filepath.Join(f.home, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	f.run(t, append(append([]string{"mount", "--cache-dir", filepath.Join(f.home, "fresh")}, from...), id, mnt)...)
	defer f.run(t, "umount", mnt)
	for name, data := range want {
		if got, err := os.ReadFile(filepath.Join(mnt, name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s is mounted differently: %v", name, err)
		}
	}
	served := make(map[string]int64)
	for line := range strings.Lines(f.run(t, "nodes", "--json", mnt)) {
		var n struct {
			URL   string
			Bytes int64
		}
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			t.Fatal(err)
		}
		scheme, _, _ := strings.Cut(n.URL, ":")
		served[scheme] += n.Bytes
	}
	for _, scheme := range []string{"dir", "s3", "http"} {
		if served[scheme] < 500_000 {
			t.Errorf("%d bytes came from %s: %v", served[scheme], scheme, served)
		}
	}
}

// A floe is the command, and a home for it.
type floe struct{ bin, home string }

func buildFloe(t *testing.T) floe {
	t.Helper()
	f := floe{home: t.TempDir()}
	f.bin = filepath.Join(f.home, "bin", "floe")
	if out, err := exec.Command("go", "build", "-o", f.bin, "../../../cmd/floe").CombinedOutput(); err != nil {
		t.Fatalf("building floe: %v\n%s", err, out)
	}
	return f
}

func (f floe) command(args ...string) *exec.Cmd {
	cmd := exec.Command(f.bin, args...)
	cmd.Env = append(os.Environ(), "HOME="+f.home, "XDG_DATA_HOME=", "XDG_STATE_HOME=", "XDG_CACHE_HOME=", "XDG_CONFIG_HOME=")
	return cmd
}

func (f floe) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := f.command(args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("floe %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// nodeDirs returns where the nodes of the committee have what lies at rel of a
// store.
func (f floe) nodeDirs(rel string) []string {
	dirs, _ := filepath.Glob(filepath.Join(f.home, "node*", rel))
	return dirs
}

// committee starts n nodes that share 100 shards, and returns the path of
// their committee file.
func (f floe) committee(t *testing.T, n int) string {
	t.Helper()
	lines := "n_shards = 100\n"
	for i := range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := ln.Addr().String()
		ln.Close()
		cmd := f.command("node", "--name", fmt.Sprint("n", i), "--listen", address, "--store", "dir:"+filepath.Join(f.home, fmt.Sprint("node", i)),
			"--shards", fmt.Sprintf("%d-%d", 100*i/n, 100*(i+1)/n-1))
		var out bytes.Buffer
		cmd.Stderr = &out
		stdout, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		entry := make([]byte, 4096)
		k, err := stdout.Read(entry) // it listens when it has printed this
		if err != nil {
			t.Fatalf("node %d: %v\n%s", i, err, out.String())
		}
		lines += string(entry[:k])
	}
	path := filepath.Join(f.home, "committee.toml")
	if err := os.WriteFile(path, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	// What it printed may be cut, and what is missing is an error here.
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f.command("nodes", "--from", path).Run()
		if err == nil {
			return path
		}
		if time.Now().After(deadline) {
			t.Fatalf("the nodes do not answer: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
