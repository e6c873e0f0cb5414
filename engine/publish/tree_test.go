package publish_test

import (
	"fmt"
	"path/filepath"
	"testing"
)

// Sizes at which something changes: chunks, hole units, blobs, and levels.
func TestFilesOfEverySizeComeBack(t *testing.T) {
	dir := t.TempDir()
	for i, size := range []int{0, 1, 2, 511, 512, 513, 16<<10 - 1, 16 << 10, 16<<10 + 1, 32 << 10,
		1<<20 - 1, 1 << 20, 1<<20 + 1, 2<<20 - 16<<10, 3<<20 + 5, 8<<20 - 1, 8 << 20, 8<<20 + 1} {
		mustWrite(t, filepath.Join(dir, fmt.Sprintf("%08d", size)), noise(uint64(i), size))
	}
	newWorld(t).mustRoundTrip(t, dir, small())
}
