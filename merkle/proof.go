package merkle

import "fmt"

// An inclusion proof of data chunk i of a file is the interior chunks from
// the root down to the one that holds the chunk's hash: none for a file of a
// single chunk.

// ProofLen returns how many interior chunks a proof for a file of this shape
// has.
func (s Shape) ProofLen() int { return s.Top() }

// CheckProof proves data, claimed to be chunk i of the file of size bytes
// that root names, with the interior chunks of proof from the root down. What
// it returns is as good as what Prove returns. An error wraps ErrMismatch.
func CheckProof(root Hash, size, i int64, proof [][]byte, data []byte) (Chunk, error) {
	s := Shape{size}
	top := s.Top()
	if size < 0 || i < 0 || i >= s.Chunks(0) || len(proof) != top {
		return Chunk{}, fmt.Errorf("%w: a proof of %d steps for chunk %d of a file of %d bytes", ErrMismatch, len(proof), i, size)
	}
	want := root
	for step, level := 0, top; level > 0; step, level = step+1, level-1 {
		at := i
		for range level {
			at /= Fanout
		}
		if len(proof[step]) != s.Len(level, at) {
			return Chunk{}, fmt.Errorf("%w: interior chunk of %d bytes on level %d", ErrMismatch, len(proof[step]), level)
		}
		c, err := Prove(want, proof[step], Blake3)
		if err != nil {
			return Chunk{}, err
		}
		child := i
		for range level - 1 {
			child /= Fanout
		}
		want = c.Child(int(child % Fanout))
	}
	if len(data) != s.Len(0, i) {
		return Chunk{}, fmt.Errorf("%w: chunk of %d bytes", ErrMismatch, len(data))
	}
	return Prove(want, data, Blake3)
}
