// Package scale tests what is large: many entries, long files.
package scale

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/tests/floe"
)

func TestMain(m *testing.M) { floe.Main(m) }

func Test20GiBWith1MiBOfDataAreStoredAndFetchedAs1MiB(t *testing.T) {
	s := floe.New(t)
	const size, at, mib = 20 << 30, 7777 << 20, 1 << 20
	data := make([]byte, mib)
	rand.NewChaCha8([32]byte{20}).Read(data)
	source := s.Path("source")
	must(t, os.Mkdir(source, 0o755))
	f, err := os.Create(filepath.Join(source, "sparse"))
	must(t, err)
	must(t, f.Truncate(size))
	_, err = f.WriteAt(data, at)
	must(t, err)
	must(t, f.Close())

	var put struct {
		Dataset string
		Bytes   int64 `json:"bytes"`
		Encoded int64 `json:"bytes_encoded"`
	}
	must(t, json.Unmarshal([]byte(s.Put(source, "--json")), &put))
	if put.Bytes != size || put.Encoded < mib || put.Encoded > mib+mib/8 {
		t.Errorf("put says %d bytes, %d of them encoded; want %d and little more than %d", put.Bytes, put.Encoded, size, mib)
	}
	if n := diskUse(t, s.Store()); n > 3*mib {
		t.Errorf("the store takes %d bytes", n)
	}

	mnt := s.Path("mount")
	s.Mount(put.Dataset, mnt, "--cache", "always")
	copied := s.Path("copy")
	must(t, exec.CommandContext(t.Context(), "cp", "--sparse=auto", filepath.Join(mnt, "sparse"), copied).Run())
	for _, path := range []string{filepath.Join(mnt, "sparse"), copied} {
		var st unix.Stat_t
		must(t, unix.Stat(path, &st))
		// Another file system may give the copy more blocks than it fills.
		if st.Size != size || st.Blocks < mib/512 || st.Blocks > 2*mib/512 || path != copied && st.Blocks != mib/512 {
			t.Errorf("%s: %d bytes in %d blocks", path, st.Size, st.Blocks)
		}
		f, err := os.Open(path)
		must(t, err)
		defer f.Close()
		for _, x := range []struct {
			off    int64
			whence int
			want   int64
		}{{0, unix.SEEK_HOLE, 0}, {0, unix.SEEK_DATA, at}, {at, unix.SEEK_HOLE, at + mib}} {
			if got, err := f.Seek(x.off, x.whence); got != x.want || err != nil {
				t.Errorf("%s: seek %d from %d: %d (%v), want %d", path, x.whence, x.off, got, err, x.want)
			}
		}
		got := make([]byte, 3*mib)
		_, err = f.ReadAt(got, at-mib)
		must(t, err)
		if want := append(append(make([]byte, mib), data...), make([]byte, mib)...); !bytes.Equal(got, want) {
			t.Errorf("%s: the data and what is around it differ", path)
		}
		if n, err := f.ReadAt(got, size-5); n != 5 || err != io.EOF {
			t.Errorf("%s: at the end: %d bytes, %v", path, n, err)
		}
	}
	if n := fetched(t, s, mnt); n < mib || n > mib+mib/8 {
		t.Errorf("%d bytes fetched, want little more than %d", n, mib)
	}
}

// fetched returns how many bytes the server of a mount has read from blobs.
func fetched(t *testing.T, s *floe.Sandbox, mnt string) int64 {
	t.Helper()
	var status struct{ Reads struct{ Fetched int64 } }
	must(t, json.Unmarshal([]byte(s.Run("status", "--json", mnt)), &status))
	return status.Reads.Fetched
}

func diskUse(t *testing.T, dir string) (n int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		n += st.Blocks * 512
		return err
	}))
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
