package engine

import "testing"

// A buffer that comes out of a pool must be as large as the one that is asked
// for: sizes that share a pool are equal.
func TestBuffersOfOnePoolAreOfOneSize(t *testing.T) {
	seen := map[any]int{}
	for n := 1; n <= MaxRead+2<<14; n += 997 {
		size, pool := sized(n)
		if size < n || size > n+n/8+1<<14 {
			t.Fatalf("%d bytes get a buffer of %d", n, size)
		}
		if before, ok := seen[pool]; ok && before != size {
			t.Fatalf("%d bytes: one pool for buffers of %d and %d", n, before, size)
		}
		seen[pool] = size
	}
}
