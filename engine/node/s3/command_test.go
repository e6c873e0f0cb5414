package s3_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The command puts into a bucket and reads from it, and the dataset has the
// id it has anywhere.
func TestTheCommandPutsIntoABucket(t *testing.T) {
	needGateway(t)
	f := buildFloe(t)
	data := filepath.Join(f.home, "data")
	want := bytes.Repeat([]byte("something worth keeping\n"), 10_000)
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "file"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	bucket := "s3://" + newBucket(t) + "/some/prefix"
	id := strings.TrimSpace(f.run(t, "put", "-q", "--to", bucket, data))
	if other := strings.TrimSpace(f.run(t, "put", "-q", "--to", "dir:"+filepath.Join(f.home, "store"), data)); other != id {
		t.Errorf("in a bucket the id is %s, in a directory %s", id, other)
	}
	if got := f.run(t, "cat", "--from", bucket, id+"/file"); got != string(want) {
		t.Errorf("%d bytes read back, %d put, and they differ", len(got), len(want))
	}
	f.run(t, "verify", "--deep", "-q", "--from", bucket, id)
}
