package merkle

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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
			leaves[i][j] = byte(i*7 + j*j)
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
	withAndWithoutLanes(t, func(t *testing.T) {
		for n := range 70 {
			for _, size := range []int{0, 1, 2, 126, 127, 128, 129, 254, 255, 256, 382, 383, 384, 1000} {
				for _, alike := range []int{1, 3, 20} {
					leaves := leavesOf(n, size)
					for i := range leaves {
						copy(leaves[i], strconv.Itoa(i/alike))
					}
					if got, want := Blake2bRoot(hashesOf(leaves)), slowRoot(leaves); got != want {
						t.Fatalf("%d leaves of %d bytes, %d alike: got %s, want %s", n, size, alike, got, want)
					}
				}
			}
		}
	})
}

func TestBlake2bLeavesMayDifferInSize(t *testing.T) {
	withAndWithoutLanes(t, func(t *testing.T) {
		var leaves [][]byte
		for i := range 100 {
			leaves = append(leaves, leavesOf(i/7%5+1, i/9*20)[0])
		}
		for i, got := range hashesOf(leaves) {
			if want := Blake2bLeaf(leaves[i]); got != want {
				t.Fatalf("leaf %d: got %s, want %s", i, got, want)
			}
		}
	})
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

// withAndWithoutLanes runs f as a subtest or benchmark for both ways to hash.
func withAndWithoutLanes[T interface {
	Run(string, func(T)) bool
	Logf(string, ...any)
}](t T, f func(T)) {
	if !haveLanes {
		t.Logf("this processor hashes one message at a time")
		t.Run("one at a time", f)
		return
	}
	t.Run("eight at a time", f)
	haveLanes = false
	defer func() { haveLanes = true }()
	t.Run("one at a time", f)
}

func BenchmarkBlake2bRoot1000(b *testing.B) {
	withAndWithoutLanes(b, func(b *testing.B) {
		leaves := hashesOf(leavesOf(1000, 2))
		for i := range leaves {
			leaves[i][0], leaves[i][1] = byte(i), byte(i>>8)
		}
		work := make([]Hash, len(leaves))
		for b.Loop() {
			copy(work, leaves)
			Blake2bRoot(work)
		}
	})
}

func BenchmarkBlake2bLeaves(b *testing.B) {
	for _, size := range []int{2, 76, 4820, 29460} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			withAndWithoutLanes(b, func(b *testing.B) {
				leaves := leavesOf(100, size)
				h := make([]Hash, len(leaves))
				b.SetBytes(int64(100 * size))
				for b.Loop() {
					Blake2bLeaves(h, leaves)
				}
			})
		})
	}
}
