package walrus

import (
	"encoding/binary"
	"fmt"

	"github.com/floefs/floe/merkle"
)

// # FORMAT: metadata
//
//	00           version 1
//	01           encoding RS2
//	u64          bytes of the blob
//	uleb         n, number of pairs
//	n times      node of the primary hash, node of the secondary hash
//
// A node is 01 and the 32 bytes of a hash, or 00 for the empty one, whose
// bytes are zero. Nodes take this as the body of PUT; the body of GET has the
// 32 bytes of the blob id in front. TestOfficialVectors proves both.

// Metadata describes a blob: its id follows from it, and it names the hash of
// every sliver.
type Metadata struct {
	Size   uint64       // bytes of the blob
	Hashes []PairHashes // one for each sliver pair, that is for each shard
}

// PairHashes are the hashes of the two slivers of a pair. The zero hash is
// that of the empty tree, which no sliver has.
type PairHashes struct{ Primary, Secondary merkle.Hash }

// N returns the number of shards.
func (m *Metadata) N() int { return len(m.Hashes) }

// Params returns the geometry of the blob.
func (m *Metadata) Params() (Params, error) { return NewParams(m.N(), m.Size) }

// Hash returns the hash of a sliver, whose index must be below N.
func (m *Metadata) Hash(s SliverID) merkle.Hash {
	h := &m.Hashes[s.Pair(m.N())]
	if s.Axis == Primary {
		return h.Primary
	}
	return h.Secondary
}

// BlobID computes the id of the blob m describes.
func (m *Metadata) BlobID() BlobID {
	leaves := make([]merkle.Hash, m.N())
	var pair [2 * merkle.HashSize]byte
	for i := range leaves {
		copy(pair[:], m.Hashes[i].Primary[:])
		copy(pair[merkle.HashSize:], m.Hashes[i].Secondary[:])
		leaves[i] = merkle.Blake2bLeaf(pair[:])
	}
	return newBlobID(m.Size, merkle.Blake2bRoot(leaves))
}

// Verify reports if m is not the metadata of blob id on n shards. Whoever got
// m from elsewhere calls it before anything else.
func (m *Metadata) Verify(id BlobID, n int) error {
	if m.N() != n {
		return fmt.Errorf("metadata for %d shards, want %d", m.N(), n)
	}
	if _, err := m.Params(); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if got := m.BlobID(); got != id {
		return fmt.Errorf("metadata of blob %s, want %s", got, id)
	}
	return nil
}

// MetadataLen returns the bytes of the body of PUT for n shards; the body of
// GET is 32 bytes longer.
func MetadataLen(n int) int { return len(uleb(nil, uint32(n))) + 10 + n*2*(1+merkle.HashSize) }

// Append appends m as the body of PUT to b.
func (m *Metadata) Append(b []byte) []byte {
	b = append(b, 0, encodingRS2)
	b = binary.LittleEndian.AppendUint64(b, m.Size)
	b = uleb(b, uint32(m.N()))
	for i := range m.Hashes {
		b = appendNode(b, m.Hashes[i].Primary)
		b = appendNode(b, m.Hashes[i].Secondary)
	}
	return b
}

// AppendWithID appends m, the metadata of blob id, as the body of GET to b.
func (m *Metadata) AppendWithID(b []byte, id BlobID) []byte {
	return m.Append(append(b, id[:]...))
}

func appendNode(b []byte, h merkle.Hash) []byte {
	if h.IsZero() {
		return append(b, 0)
	}
	return append(append(b, 1), h[:]...)
}

// ParseMetadata parses the body of PUT. It accepts only what Append writes for
// a number of shards and a size that NewParams accepts.
func ParseMetadata(b []byte) (*Metadata, error) {
	m, err := parseMetadata(b)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return m, nil
}

// ParseMetadataWithID parses the body of GET. The id is what the sender
// claims; see Verify.
func ParseMetadataWithID(b []byte) (BlobID, *Metadata, error) {
	var id BlobID
	if len(b) < len(id) {
		return id, nil, fmt.Errorf("metadata: %d bytes, too few for a blob id", len(b))
	}
	m, err := ParseMetadata(b[copy(id[:], b):])
	return id, m, err
}

func parseMetadata(b []byte) (*Metadata, error) {
	if len(b) < 10 {
		return nil, fmt.Errorf("%d bytes, too few", len(b))
	}
	if b[0] != 0 || b[1] != encodingRS2 {
		return nil, fmt.Errorf("version %d and encoding %d, want 0 and %d", b[0], b[1], encodingRS2)
	}
	m := &Metadata{Size: binary.LittleEndian.Uint64(b[2:])}
	count, rest, err := parseULEB(b[10:])
	if err != nil {
		return nil, err
	}
	// NewParams bounds what is allocated.
	if _, err := NewParams(int(count), m.Size); err != nil {
		return nil, err
	}
	m.Hashes = make([]PairHashes, count)
	for i := range m.Hashes {
		for _, h := range []*merkle.Hash{&m.Hashes[i].Primary, &m.Hashes[i].Secondary} {
			if rest, err = parseNode(h, rest); err != nil {
				return nil, fmt.Errorf("pair %d: %w", i, err)
			}
		}
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow its end", len(rest))
	}
	return m, nil
}

// parseNode sets h to the node at the front of b and returns what follows.
func parseNode(h *merkle.Hash, b []byte) (rest []byte, err error) {
	switch {
	case len(b) >= 1 && b[0] == 0:
		return b[1:], nil
	case len(b) >= 1+len(h) && b[0] == 1:
		b = b[1+copy(h[:], b[1:]):]
		if h.IsZero() {
			return nil, fmt.Errorf("empty node written as a hash")
		}
		return b, nil
	}
	return nil, fmt.Errorf("no node")
}
