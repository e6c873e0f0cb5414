// Package merkle holds the hash trees every byte is proven against: content
// trees (BLAKE3) and Walrus trees (Blake2b).
//
// Bytes that nobody has proven are []byte. Proven bytes are a [Chunk], and
// only this package makes one, by hashing. Whatever takes or returns a Chunk
// therefore cannot handle unproven bytes by mistake; the compiler sees to it.
//
// # FORMAT: content tree, version 1
//
// A file of size bytes is cut into chunks of 16 KiB ([ChunkSize]), the last
// one shorter. The hash of a chunk is the BLAKE3 hash of its bytes. Level 0
// are these chunks. While a level has more than one chunk, the level above it
// is the concatenation of its chunks' 32-byte hashes, cut into chunks of 512
// hashes ([Fanout], again 16 KiB), the last one shorter. The hash of the one
// chunk on the top level is the root. The root of an empty file is the BLAKE3
// hash of nothing; it has no chunk.
//
// The number of levels follows from the size alone, and whoever names a root
// names the size with it, so an interior chunk cannot pose as data.
//
// A hole is a whole, aligned 1 MiB ([HoleSize]) of zero bytes. The tree is
// over the file as it is read, zeros included, but chunks that lie wholly in
// holes, interior ones too, are not stored: their hashes are known. See
// [Layout] for where the others lie.
package merkle

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"
)

const (
	ChunkSize = 16 << 10             // bytes of a full chunk, on every level
	HashSize  = 32                   // bytes of a hash
	Fanout    = ChunkSize / HashSize // hashes in a full interior chunk
)

// ErrMismatch says that bytes are not the ones a hash names.
var ErrMismatch = errors.New("bytes do not match their hash")

// A Hash names bytes.
type Hash [HashSize]byte

// String returns h in lower-case hex, as b3sum prints it.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is all zero, which no bytes hash to.
func (h Hash) IsZero() bool { return h == Hash{} }

// Sum computes the hash that names data.
type Sum func(data []byte) Hash

// Blake3 is the Sum of content trees.
func Blake3(data []byte) Hash { return blake3.Sum256(data) }

// EmptyRoot is the root of an empty file.
var EmptyRoot = Blake3(nil)

// A Chunk is proven bytes: one chunk, or neighbouring chunks of one tree in
// one buffer. Only Prove and Run make one. The zero Chunk holds nothing.
type Chunk struct{ data []byte }

// Prove returns data as a Chunk if sum names it want, else an error wrapping
// ErrMismatch. It keeps data, which must not change from then on.
func Prove(want Hash, data []byte, sum Sum) (Chunk, error) {
	if got := sum(data); got != want {
		return Chunk{}, fmt.Errorf("%w: %d bytes hash to %s, want %s", ErrMismatch, len(data), got, want)
	}
	return Chunk{data}, nil
}

// Bytes returns the proven bytes, which must not be modified.
func (c Chunk) Bytes() []byte { return c.data }

// Len returns the number of proven bytes.
func (c Chunk) Len() int { return len(c.data) }

// Slice returns bytes [from, to) of c: a part of proven bytes is proven.
func (c Chunk) Slice(from, to int) Chunk { return Chunk{c.data[from:to:to]} }

// Clone returns c in memory of its own, for keeping it when c's buffer goes
// back to a pool.
func (c Chunk) Clone() Chunk { return Chunk{append([]byte(nil), c.data...)} }

// Children returns how many hashes an interior chunk holds.
func (c Chunk) Children() int { return len(c.data) / HashSize }

// Child returns hash i of an interior chunk.
func (c Chunk) Child(i int) Hash { return Hash(c.data[i*HashSize : (i+1)*HashSize]) }

// A Run is a buffer for neighbouring chunks of one file that is filled and
// proven from the front: the first Len bytes are proven, Rest is not. It is
// not safe for concurrent use.
type Run struct {
	buf    []byte
	proven int
	end    int // of Rest
}

// NewRun returns a Run over buf, of which nothing is proven.
func NewRun(buf []byte) Run { return Run{buf: buf, end: len(buf)} }

// Rest returns the unproven remainder, to be filled by whoever fetches it.
// The parts of it that Prove accepts must not be written to again.
func (r *Run) Rest() []byte { return r.buf[r.proven:r.end] }

// Bound makes Rest n bytes long, or all that is left of the buffer: a short
// chunk with others behind it ends there.
func (r *Run) Bound(n int) { r.end = r.proven + min(n, len(r.buf)-r.proven) }

// Len returns how many bytes from the front are proven.
func (r *Run) Len() int { return r.proven }

// Prove proves the first chunk of Rest, which is n bytes long, against want
// and moves the border behind it. On ErrMismatch nothing has moved.
func (r *Run) Prove(want Hash, n int) error {
	c, err := Prove(want, r.buf[r.proven:r.proven+n:r.proven+n], Blake3)
	if err != nil {
		return err
	}
	r.proven += c.Len()
	return nil
}

// Copy copies c to the front of Rest and moves the border behind it: a copy of
// proven bytes is proven.
func (r *Run) Copy(c Chunk) { r.proven += copy(r.buf[r.proven:r.end], c.data) }

// Zero clears the first n bytes of Rest and moves the border behind them:
// a hole needs no proof beyond the list that names it.
func (r *Run) Zero(n int) {
	clear(r.buf[r.proven : r.proven+n])
	r.proven += n
}

// Chunk returns bytes [from, to) of the proven part. It panics beyond Len.
func (r *Run) Chunk(from, to int) Chunk {
	if to > r.proven {
		panic("internal error: unproven bytes asked for")
	}
	return Chunk{r.buf[from:to:to]}
}
