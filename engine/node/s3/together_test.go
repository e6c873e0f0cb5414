package s3_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/node/s3"
	"github.com/floefs/floe/engine/walrus"
)

// A kept blob is one that a bucket holds alone.
type kept struct {
	*walrus.Encoded
	data   []byte
	bucket string
	path   string // of the bucket's directory of the blob
}

// put stores a blob of 13 shards in a new bucket, through a client of its own.
func put(t *testing.T) kept {
	t.Helper()
	k := kept{data: nodetest.Bytes(7, 2<<20), bucket: newBucket(t)}
	k.Encoded = nodetest.Encode(t, 13, k.data)
	id := k.ID.String()
	k.path = filepath.Join(server.root, k.bucket, "data", "blobs", id[:2], id)
	must(t, writer(t, k.client(t)).Put(t.Context(), k.Encoded))
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (k kept) store(t *testing.T) *s3.Store {
	return openExpecting(t, "s3://"+k.bucket+"/data", alone)
}

// client returns one that knows nothing of the blob yet. It does not take the
// bucket for remote, for then what it asks depends on how long answers take.
func (k kept) client(t *testing.T) *blob.Client {
	return blob.New([]blob.Member{{Name: "bucket", Node: k.store(t)}}, nil)
}

func writer(t *testing.T, c *blob.Client) *blob.Writer {
	t.Helper()
	w, err := c.Writer()
	must(t, err)
	return w
}

const readSize = 64 << 10

// read reads the blob in pieces, as a reader does who proves them: what is
// false it asks for again after Recheck.
func (k kept) read(t *testing.T, c *blob.Client) (rechecked int) {
	t.Helper()
	got := make([]byte, readSize)
	for off := 0; off < len(k.data); off += len(got) {
		for try := range 2 {
			_, err := c.ReadAt(t.Context(), k.ID, k.Params, got, int64(off))
			must(t, err)
			if bytes.Equal(got, k.data[off:off+len(got)]) {
				break
			}
			if try > 0 {
				t.Fatalf("%d bytes at %d differ", len(got), off)
			}
			rechecked++
			must(t, c.Recheck(t.Context(), k.ID, k.Params, int64(off), int64(len(got))))
		}
	}
	return rechecked
}

// most is how many reads the pieces of the blob take.
func (k kept) most() int { return len(k.data)/readSize + k.Params.K1 }

func (k kept) primary(i int) []byte { return k.Sliver(primary(i)) }

func (k kept) names(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(k.path)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// change changes an object behind everybody's back.
func (k kept) change(t *testing.T, name string, how func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(k.path, name)
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, how(data), 0o644))
}

// falsify changes a byte of primary sliver i in an object that begins with
// primary sliver first.
func (k kept) falsify(t *testing.T, name string, first, i int) {
	t.Helper()
	n := k.Params.SliverLen(walrus.Primary)
	k.change(t, name, func(data []byte) []byte { data[(i-first)*n+n/2] ^= 1; return data })
}

func count(asked []string, prefix string) (n int) {
	for _, a := range asked {
		if strings.HasPrefix(a, prefix) {
			n++
		}
	}
	return n
}

func TestABlobOfABucketByteForByte(t *testing.T) {
	needGateway(t)
	rec := record(t)
	k := put(t)
	if asked, _ := rec.take(); !slices.Equal(asked, []string{"LIST", "PUT", "GET", "PUT"}) {
		t.Errorf("to store a blob, the store asked %q", asked)
	}
	if names := k.names(t); !slices.Equal(names, []string{"meta", "p0-5"}) {
		t.Errorf("the objects are %q", names)
	}
	pack, err := os.ReadFile(filepath.Join(k.path, "p0-5"))
	must(t, err)
	var want []byte
	for i := range 6 {
		want = append(want, k.primary(i)...)
	}
	if !bytes.Equal(pack, want) || !bytes.HasPrefix(pack, k.data) {
		t.Error("the pack is not the slivers end to end")
	}
}

// A chunk is one GET of just its bytes, and one more where it crosses into the
// next sliver; nothing else is asked.
func TestABlobIsReadFromABucket(t *testing.T) {
	needGateway(t)
	rec := record(t)
	k := put(t)
	c := k.client(t)
	rec.take()
	if n := k.read(t, c); n > 0 {
		t.Errorf("%d reads were false", n)
	}
	asked, _ := rec.take()
	if count(asked, "GET bytes=") != len(asked) || len(asked) > k.most() {
		t.Errorf("for %d chunks in %d slivers the store asked %q", len(k.data)/readSize, k.Params.K1, asked)
	}
	if stored, err := writer(t, c).Stored(t.Context(), k.ID, k.Params, k.data); !stored || err != nil {
		t.Errorf("stored: %v, error %v", stored, err)
	}
	rec.take()
	reports, err := c.Check(t.Context(), k.ID, false)
	if err != nil || !reports[0].Whole() {
		t.Errorf("check: %v, error %v", reports, err)
	}
	if asked, _ := rec.take(); !slices.Equal(asked, []string{"GET", "GET", "LIST"}) { // the metadata, twice
		t.Errorf("to look for 6 slivers the store asked %q", asked)
	}
}

// What is equal is left, what differs is replaced without touching the rest.
func TestPuttingAgainReplacesWhatDiffers(t *testing.T) {
	needGateway(t)
	rec := record(t)
	k := put(t)
	n := k.Params.SliverLen(walrus.Primary)
	for _, step := range []struct {
		what  string
		harm  func()
		puts  int
		names string
	}{
		{"nothing", func() {}, 0, "meta p0-5"},
		{"the third is false", func() { k.falsify(t, "p0-5", 0, 2) }, 1, "meta p0-5 p2"},
		{"nothing more", func() {}, 0, "meta p0-5 p2"},
		{"the third is false again", func() { k.falsify(t, "p2", 2, 2) }, 1, "meta p0-5 p2"},
		{"the last two are cut off", func() { k.change(t, "p0-5", func(data []byte) []byte { return data[:4*n] }) }, 1, "meta p0-5 p2 p4-5"},
		{"the last is gone", func() { must(t, os.Remove(filepath.Join(k.path, "p4-5"))) }, 1, "meta p0-5 p2 p4-5"},
		{"of these both are false", func() { k.falsify(t, "p4-5", 4, 4); k.falsify(t, "p4-5", 4, 5) }, 1, "meta p0-5 p2 p4-5"},
		{"all is gone", func() { must(t, os.RemoveAll(k.path)) }, 2, "meta p0-5"},
	} {
		step.harm()
		rec.take()
		must(t, writer(t, k.client(t)).Put(t.Context(), k.Encoded))
		asked, _ := rec.take()
		if got := count(asked, "PUT"); got != step.puts {
			t.Errorf("%s: %d objects were written, want %d: %q", step.what, got, step.puts, asked)
		}
		if names := strings.Join(k.names(t), " "); names != step.names {
			t.Errorf("%s: the objects are %s, want %s", step.what, names, step.names)
		}
		c := k.client(t)
		k.read(t, c)
		if reports, err := c.Check(t.Context(), k.ID, true); err != nil || !reports[0].Whole() {
			t.Errorf("%s: after it was put again: %v, error %v", step.what, reports, err)
		}
	}
}

// A sliver that was repaired lies beside its pack. Readers who do not know
// find the false one first, look where else it is, and go on.
func TestARepairedSliverWinsOverItsPack(t *testing.T) {
	needGateway(t)
	rec := record(t)
	k := put(t)
	before := k.client(t) // knows nothing of what comes
	k.falsify(t, "p0-5", 0, 1)
	reports, err := k.client(t).Repair(t.Context(), k.ID)
	if err != nil || len(reports) != 1 || len(reports[0].False) != 1 || reports[0].Restored() != 1 {
		t.Fatalf("repair: %v, error %v", reports, err)
	}
	if names := k.names(t); !slices.Equal(names, []string{"meta", "p0-5", "p1"}) {
		t.Errorf("the objects are %q", names)
	}
	for _, c := range []*blob.Client{before, k.client(t)} {
		rec.take()
		if n := k.read(t, c); n != 1 {
			t.Errorf("%d reads were false, want 1", n)
		}
		asked, _ := rec.take()
		if n := count(asked, "LIST"); n != 1 {
			t.Errorf("%d lists: %q", n, asked)
		}
		if s := c.Nodes()[0]; s.Lies != 0 {
			t.Errorf("the bucket is said to have lied %d times", s.Lies)
		}
		rec.take()
		if n := k.read(t, c); n != 0 {
			t.Errorf("when it was read again %d reads were false", n)
		}
		if asked, _ := rec.take(); count(asked, "GET bytes=") != len(asked) || len(asked) > k.most() {
			t.Errorf("when it was read again the store asked %q", asked)
		}
		reports, err := c.Check(t.Context(), k.ID, true)
		if err != nil || !reports[0].Whole() {
			t.Errorf("check: %v, error %v", reports, err)
		}
	}
}

// Whatever becomes of a pack, what is left of it is read, and what is not
// named is not there.
func TestAPackThatIsDamaged(t *testing.T) {
	needGateway(t)
	k := put(t)
	n := k.Params.SliverLen(walrus.Primary)
	k.change(t, "p0-5", func(data []byte) []byte { return data[:5*n+1] })
	c := k.client(t)
	k.read(t, c)
	reports, err := c.Check(t.Context(), k.ID, false)
	if err != nil || !slices.Equal(reports[0].Missing, []walrus.SliverID{primary(5)}) {
		t.Errorf("check: %v, error %v", reports, err)
	}
	k.falsify(t, "p0-5", 0, 3)
	if err := k.client(t).Recheck(t.Context(), k.ID, k.Params, int64(3*n), 1); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("with one sliver false and one cut off: error %v, want blob.ErrUnavailable", err)
	}
	must(t, os.Remove(filepath.Join(k.path, "p0-5")))
	s := k.store(t)
	err = s.ReadSliver(t.Context(), k.ID, k.Params, primary(0), make([]byte, 10), 0)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its pack: error %v, want fs.ErrNotExist", err)
	}
	// Somebody else stores it otherwise.
	must(t, open(t, "s3://"+k.bucket+"/data").PutSliver(t.Context(), k.ID, k.Params, primary(0), k.primary(0)))
	must(t, s.ReadSliver(t.Context(), k.ID, k.Params, primary(0), make([]byte, 10), 0))
}

// An object for each sliver is what version 1 had: such blobs are read, with
// one list each, and not written again.
func TestStoresOfVersionOneAreRead(t *testing.T) {
	needGateway(t)
	rec := record(t)
	k := put(t)
	must(t, os.Remove(filepath.Join(k.path, "p0-5")))
	s := k.store(t)
	for i := range 6 {
		must(t, s.PutSliver(t.Context(), k.ID, k.Params, primary(i), k.primary(i)))
	}
	if names := k.names(t); !slices.Equal(names, []string{"meta", "p0", "p1", "p2", "p3", "p4", "p5"}) {
		t.Fatalf("the objects are %q", names)
	}
	rec.take()
	k.read(t, k.client(t))
	asked, _ := rec.take()
	if count(asked, "LIST") != 1 || len(asked) > k.most()+2 {
		t.Errorf("the store asked %q", asked)
	}
	must(t, os.Remove(filepath.Join(k.path, "p3")))
	must(t, os.Remove(filepath.Join(k.path, "p4")))
	must(t, writer(t, k.client(t)).Put(t.Context(), k.Encoded))
	if names := k.names(t); !slices.Equal(names, []string{"meta", "p0", "p1", "p2", "p3-4", "p5"}) {
		t.Errorf("when two are put again the objects are %q", names)
	}
}

// Each bucket of a committee has one object of slivers, of both axes, wherever
// the blob's id puts its shards.
func TestACommitteeOfBuckets(t *testing.T) {
	needGateway(t)
	rec := record(t)
	var members []blob.Member
	var paths []string
	k := kept{data: nodetest.Bytes(8, 2<<20)}
	k.Encoded = nodetest.Encode(t, 13, k.data)
	id := k.ID.String()
	for _, shards := range [][]int{{0, 1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10, 11, 12}} {
		set, err := blob.NewShards(13, shards)
		must(t, err)
		bucket := newBucket(t)
		m := blob.Member{Name: bucket, Shards: set}
		m.Node = openExpecting(t, "s3://"+bucket, m.Slivers)
		members, paths = append(members, m), append(paths, filepath.Join(server.root, bucket, "blobs", id[:2], id))
	}
	c := blob.New(members, nil)
	must(t, writer(t, c).Put(t.Context(), k.Encoded))
	if asked, _ := rec.take(); count(asked, "PUT") != 8 || len(asked) != 16 {
		t.Errorf("to store a blob in four buckets, the stores asked %q", asked)
	}
	for i, path := range paths {
		names := kept{path: path}.names(t)
		if len(names) != 2 || !strings.Contains(names[1], "_s") {
			t.Errorf("the objects are %q", names)
		}
		want := members[i].Slivers(k.ID, k.Params)
		held, err := open(t, "s3://"+members[i].Name).Slivers(t.Context(), k.ID, k.Params)
		if err != nil || !slices.Equal(held, want) {
			t.Errorf("%s holds %v, want %v (error %v)", members[i].Name, held, want, err)
		}
	}
	c = blob.New(members, nil)
	rec.take()
	k.read(t, c)
	if asked, _ := rec.take(); count(asked, "GET bytes=") != len(asked) || len(asked) > k.most() {
		t.Errorf("the stores asked %q", asked)
	}
	// One bucket is lost, and made again from the others.
	must(t, os.RemoveAll(paths[1]))
	c = blob.New(members, nil)
	k.read(t, c)
	reports, err := c.Repair(t.Context(), k.ID)
	if err != nil || reports[1].Restored() != 6 {
		t.Errorf("repair: %v, error %v", reports, err)
	}
	if names := (kept{path: paths[1]}).names(t); len(names) != 2 {
		t.Errorf("the objects of the bucket that was lost are %q", names)
	}
	reports, err = blob.New(members, nil).Check(t.Context(), k.ID, true)
	must(t, err)
	for _, r := range reports {
		if !r.Whole() {
			t.Errorf("after repair: %v", r)
		}
	}
}
