package walrus

import (
	"fmt"

	"github.com/floefs/floe/merkle"
)

// MaxMetadata is the most bytes the body of PUT has for any number of shards.
var MaxMetadata = int64(MetadataLen(MaxShards))

// ProveMetadata parses the body of PUT and returns it if it is the metadata
// of blob id, for whatever number of shards: the id decides. Everything else
// that is known of the blob follows from what is returned. An error wraps
// merkle.ErrMismatch.
func ProveMetadata(id BlobID, b []byte) (*Metadata, error) {
	m, err := ParseMetadata(b)
	if err == nil {
		err = m.Verify(id, m.N())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", merkle.ErrMismatch, err)
	}
	return m, nil
}
