package crash

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/floefs/floe/tests/floe"
	"github.com/floefs/floe/tests/world"
)

// mostMemory is what put may take, whatever the size of what is put.
const mostMemory = 512 << 20

// The size of the file is FLOE_PUT_GIB GiB, 2 if that is not set.
func TestPutOfAHugeFileTakesLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: writes and puts 2 GiB")
	}
	gib := 2
	if n, err := strconv.Atoi(os.Getenv("FLOE_PUT_GIB")); err == nil {
		gib = n
	}
	place := roomFor(t, int64(gib)<<30*5/2)
	dir := filepath.Join(place, "source")
	must(t, os.Mkdir(dir, 0o755))
	writeNoise(t, filepath.Join(dir, "huge"), int64(gib)<<30)
	r := start(t, floe.New(t), "put", "--json", "--quiet", "--to", "dir:"+filepath.Join(place, "store"), dir)
	a := r.answer(t)
	peak := r.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	t.Logf("%d GiB of noise became %d blobs; put took %d MiB of memory at most and %s of processor time",
		gib, a.Blobs, peak>>20, r.ProcessState.UserTime()+r.ProcessState.SystemTime())
	if peak > mostMemory {
		t.Errorf("put took %d MiB of memory, may take %d", peak>>20, mostMemory>>20)
	}
	if a.BytesEncoded < int64(gib)<<30 {
		t.Errorf("only %d bytes were encoded", a.BytesEncoded)
	}
}

// roomFor returns a directory with room for so many bytes: in memory if there
// is plenty, else on disk.
func roomFor(t *testing.T, bytes int64) string {
	t.Helper()
	if dir := world.Scratch(t); available(t) > 4*bytes && free(t, dir) > bytes {
		return dir
	}
	dir := t.TempDir()
	if n := free(t, dir); n < bytes {
		t.Fatalf("%s has %d MiB free, this test needs %d", dir, n>>20, bytes>>20)
	}
	return dir
}

func free(t *testing.T, dir string) int64 {
	t.Helper()
	var st syscall.Statfs_t
	must(t, syscall.Statfs(dir, &st))
	return int64(st.Bavail) * st.Bsize
}

// available returns the bytes of memory that can be had.
func available(t *testing.T) int64 {
	t.Helper()
	f, err := os.Open("/proc/meminfo")
	must(t, err)
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var kb int64
		if n, _ := fmt.Sscanf(sc.Text(), "MemAvailable: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	return 0
}

// writeNoise writes a file of so many bytes that do not repeat.
func writeNoise(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	buf := make([]byte, 1<<20)
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(rand.NewChaCha8([32]byte{9}), size), buf)
	must(t, err)
}
