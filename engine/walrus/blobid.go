package walrus

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/floefs/floe/merkle"
)

// encodingRS2 is the number of the only encoding there is.
const encodingRS2 = 1

// A BlobID names a blob on a committee of a certain size: the same bytes have
// another id on another number of shards. On Sui it is a u256 whose
// little-endian bytes these are.
type BlobID [32]byte

// newBlobID returns the id of a blob of size bytes with the given root.
func newBlobID(size uint64, root merkle.Hash) BlobID {
	b := make([]byte, 0, 41)
	b = append(b, encodingRS2)
	b = binary.LittleEndian.AppendUint64(b, size)
	return BlobID(merkle.Blake2b(append(b, root[:]...)))
}

// String returns id in unpadded base64url, 43 characters.
func (id BlobID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParseBlobID is the inverse of String and accepts nothing else.
func ParseBlobID(s string) (BlobID, error) {
	var id BlobID
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil && len(b) == len(id) {
		copy(id[:], b)
		// The decoder skips line breaks and ignores the last two bits.
		if id.String() == s {
			return id, nil
		}
	}
	return BlobID{}, fmt.Errorf("%q is no blob id: want 43 characters of base64url", s)
}

// MarshalText returns String.
func (id BlobID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseBlobID.
func (id *BlobID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseBlobID(string(text))
	return err
}

// PairToShard returns the shard of n on which a sliver pair lies.
func (id BlobID) PairToShard(pair, n int) int { return (pair + id.rotation(n)) % n }

// ShardToPair returns the sliver pair that lies on a shard of n.
func (id BlobID) ShardToPair(shard, n int) int { return (n + shard - id.rotation(n)) % n }

// rotation returns id as a big-endian number, mod n.
func (id BlobID) rotation(n int) int {
	r := 0
	for _, b := range id {
		r = (r<<8 | int(b)) % n
	}
	return r
}
