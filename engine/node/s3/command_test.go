package s3_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The command puts into a bucket and reads from it, and the dataset has the
// id it has anywhere.
func TestTheCommandPutsIntoABucket(t *testing.T) {
	needGateway(t)
	tmp := t.TempDir()
	bin := filepath.Join(tmp, "bin", "floe")
	if out, err := exec.Command("go", "build", "-o", bin, "../../../cmd/floe").CombinedOutput(); err != nil {
		t.Fatalf("building floe: %v\n%s", err, out)
	}
	data := filepath.Join(tmp, "data")
	want := bytes.Repeat([]byte("something worth keeping\n"), 10_000)
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "file"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	floe := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "HOME="+tmp, "XDG_DATA_HOME=", "XDG_STATE_HOME=", "XDG_CACHE_HOME=", "XDG_CONFIG_HOME=")
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("floe %s: %v\n%s", strings.Join(args, " "), err, errs.String())
		}
		return string(out)
	}
	bucket := "s3://" + newBucket(t) + "/some/prefix"
	id := strings.TrimSpace(floe("put", "-q", "--to", bucket, data))
	if other := strings.TrimSpace(floe("put", "-q", "--to", "dir:"+filepath.Join(tmp, "store"), data)); other != id {
		t.Errorf("in a bucket the id is %s, in a directory %s", id, other)
	}
	if got := floe("cat", "--from", bucket, id+"/file"); got != string(want) {
		t.Errorf("%d bytes read back, %d put, and they differ", len(got), len(want))
	}
	floe("verify", "--deep", "-q", "--from", bucket, id)
}
