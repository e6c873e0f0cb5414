package merkle

import (
	"fmt"
	"hash"
	"math/bits"
	"sync"

	"golang.org/x/crypto/blake2b"
)

// Walrus trees.
//
// # FORMAT
//
// H is Blake2b with a 32-byte result and no key. A leaf's hash is
// H(0x00 || data), an interior node's is H(0x01 || left || right). A level
// with an odd number of nodes lacks its last right sibling; 32 zero bytes
// stand for it, and nothing else. One leaf is its own root; no leaf at all
// has the zero Hash as its root.
//
// Proven by the sliver hashes of tests/vectors/walrus.json.

// Blake2b returns H(data), without any prefix.
func Blake2b(data []byte) Hash { return blake2b.Sum256(data) }

// Blake2bLeaf returns the hash of one leaf. It allocates nothing and may be
// called concurrently.
func Blake2bLeaf(data []byte) Hash {
	if len(data) < blake2b.BlockSize {
		var block [blake2b.BlockSize]byte // block[0] is the prefix 0x00
		n := 1 + copy(block[1:], data)
		return blake2b.Sum256(block[:n])
	}
	d := digests.Get().(*blake2bDigest)
	d.Reset()
	d.Write(leafPrefix)
	d.Write(data)
	d.Sum(d.sum[:0])
	sum := d.sum
	digests.Put(d)
	return sum
}

// A blake2bDigest is a reusable Blake2b state and room for its result.
type blake2bDigest struct {
	hash.Hash
	sum Hash
}

var (
	leafPrefix = []byte{0}
	digests    = sync.Pool{New: func() any {
		h, err := blake2b.New256(nil)
		if err != nil {
			panic("internal error: " + err.Error())
		}
		return &blake2bDigest{Hash: h}
	}}
)

// Blake2bLeaves sets dst[i] to the hash of leaf data[i]. Leaves of one size
// are hashed several at a time if the processor can.
func Blake2bLeaves(dst []Hash, data [][]byte) {
	for len(data) > 0 {
		n := 1
		for n < min(lanes, len(data)) && len(data[n]) == len(data[0]) {
			n++
		}
		if haveLanes && n >= worthLanes {
			leaves8(dst[:n], data[:n])
		} else {
			for i, d := range data[:n] {
				dst[i] = Blake2bLeaf(d)
			}
		}
		dst, data = dst[n:], data[n:]
	}
}

// Blake2bRoot returns the root over leaf hashes. It uses leaves as its work
// space: what they hold afterwards means nothing.
func Blake2bRoot(leaves []Hash) Hash {
	if len(leaves) == 0 {
		return Hash{}
	}
	var p parents8
	for len(leaves) > 1 {
		leaves = blake2bLevel(&p, leaves)
	}
	return leaves[0]
}

// blake2bLevel replaces nodes by the level above them, in place.
func blake2bLevel(p *parents8, nodes []Hash) []Hash {
	n := (len(nodes) + 1) / 2
	p.nodes, p.from = nodes, 0
	var missing Hash
	for i := range n {
		left, right := &nodes[2*i], &missing
		if 2*i+1 < len(nodes) {
			right = &nodes[2*i+1]
		}
		p.add(i, left, right)
	}
	p.flush()
	return nodes[:n]
}

// Blake2bPath returns the siblings on the way from leaf i to the root, leaf
// level first; the zero Hash stands for a missing one. It uses leaves as its
// work space.
func Blake2bPath(leaves []Hash, i int) []Hash {
	path := make([]Hash, 0, bits.Len(uint(len(leaves))))
	var p parents8
	for len(leaves) > 1 {
		sibling := Hash{}
		if i^1 < len(leaves) {
			sibling = leaves[i^1]
		}
		path = append(path, sibling)
		leaves, i = blake2bLevel(&p, leaves), i/2
	}
	return path
}

// CheckBlake2bPath reports, as an error wrapping ErrMismatch, if path does not
// lead from leaf i of n to root. The path must have exactly the length that n
// asks for, and a missing sibling exactly where the tree lacks one, so that a
// proof is bound to i and n.
func CheckBlake2bPath(root, leaf Hash, i, n int, path []Hash) error {
	if i < 0 || i >= n {
		return fmt.Errorf("%w: leaf %d of %d", ErrMismatch, i, n)
	}
	if want := bits.Len(uint(n - 1)); len(path) != want {
		return fmt.Errorf("%w: path of %d nodes, want %d", ErrMismatch, len(path), want)
	}
	var block [1 + 2*HashSize]byte
	block[0] = 1
	node := leaf
	for level, sibling := range path {
		if missing := i^1 >= n; missing != sibling.IsZero() {
			return fmt.Errorf("%w: wrong shape of path at level %d", ErrMismatch, level)
		}
		left, right := node, sibling
		if i&1 == 1 {
			left, right = sibling, node
		}
		copy(block[1:], left[:])
		copy(block[33:], right[:])
		node = blake2b.Sum256(block[:])
		i, n = i/2, (n+1)/2
	}
	if node != root {
		return fmt.Errorf("%w: path leads to %s, want %s", ErrMismatch, node, root)
	}
	return nil
}
