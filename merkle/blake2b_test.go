package merkle

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/crypto/blake2b"
)

// slowRoot is the definition of a Walrus tree, word for word.
func slowRoot(leaves [][]byte) Hash {
	var level []Hash
	for _, l := range leaves {
		level = append(level, blake2b.Sum256(append([]byte{0}, l...)))
	}
	for len(level) > 1 {
		if len(level)%2 == 1 {
			level = append(level, Hash{})
		}
		var up []Hash
		for i := 0; i < len(level); i += 2 {
			up = append(up, blake2b.Sum256(slices.Concat([]byte{1}, level[i][:], level[i+1][:])))
		}
		level = up
	}
	if len(level) == 0 {
		return Hash{}
	}
	return level[0]
}

func leavesOf(n, size int) [][]byte {
	leaves := make([][]byte, n)
	for i := range leaves {
		leaves[i] = make([]byte, size)
		for j := range leaves[i] {
			leaves[i][j] = byte(i/3*7 + j*j) // neighbours in threes are equal
		}
	}
	return leaves
}

func hashesOf(leaves [][]byte) []Hash {
	h := make([]Hash, len(leaves))
	Blake2bLeaves(h, leaves)
	return h
}

func TestBlake2bRootMatchesItsDefinition(t *testing.T) {
	for n := range 70 {
		for _, size := range []int{0, 1, 2, 126, 127, 128, 129, 254, 255, 256, 1000} {
			leaves := leavesOf(n, size)
			if got, want := Blake2bRoot(hashesOf(leaves)), slowRoot(leaves); got != want {
				t.Fatalf("%d leaves of %d bytes: got %s, want %s", n, size, got, want)
			}
		}
	}
}

func TestBlake2bPathProvesItsLeafAndNoOther(t *testing.T) {
	for n := 1; n <= 34; n++ {
		leaves := leavesOf(n, 5)
		for i := range leaves {
			leaves[i][0] = byte(i)
		}
		root := Blake2bRoot(hashesOf(leaves))
		for i := range n {
			path := Blake2bPath(hashesOf(leaves), i)
			leaf := Blake2bLeaf(leaves[i])
			if err := CheckBlake2bPath(root, leaf, i, n, path); err != nil {
				t.Fatalf("leaf %d of %d: %v", i, n, err)
			}
			for j := -1; j <= n; j++ {
				if j != i && CheckBlake2bPath(root, leaf, j, n, path) == nil {
					t.Fatalf("path of leaf %d of %d accepted for %d", i, n, j)
				}
			}
			for level := range path {
				bad := slices.Clone(path)
				if bad[level].IsZero() {
					bad[level][3] = 1
				} else {
					bad[level] = Hash{}
				}
				if err := CheckBlake2bPath(root, leaf, i, n, bad); !errors.Is(err, ErrMismatch) {
					t.Fatalf("leaf %d of %d, level %d altered: %v", i, n, level, err)
				}
			}
			if CheckBlake2bPath(root, leaf, i, n, append(path, Hash{})) == nil {
				t.Fatalf("too long path of leaf %d of %d accepted", i, n)
			}
		}
	}
}

func TestBlake2bLeafAllocatesNothing(t *testing.T) {
	for _, size := range []int{2, 127, 128, 30000} {
		data := make([]byte, size)
		if n := testing.AllocsPerRun(100, func() { Blake2bLeaf(data) }); n >= 1 {
			t.Errorf("leaf of %d bytes: %v allocations", size, n)
		}
	}
}

func BenchmarkBlake2bRoot1000(b *testing.B) {
	leaves := hashesOf(leavesOf(1000, 2))
	for i := range leaves {
		leaves[i][0], leaves[i][1] = byte(i), byte(i>>8)
	}
	work := make([]Hash, len(leaves))
	for b.Loop() {
		copy(work, leaves)
		Blake2bRoot(work)
	}
}

func BenchmarkBlake2bLeaves(b *testing.B) {
	leaves := leavesOf(100, 29460)
	h := make([]Hash, len(leaves))
	b.SetBytes(100 * 29460)
	for b.Loop() {
		Blake2bLeaves(h, leaves)
	}
}
