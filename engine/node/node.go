// Package node is one place that holds slivers: a directory, a bucket, a
// Walrus storage node.
package node

import (
	"context"

	"github.com/floefs/floe/engine/walrus"
)

// A Store holds slivers and metadata of blobs. Nothing it returns is trusted:
// whoever reads proves. It does not retry, cache, or start goroutines.
//
// All methods may be called concurrently. What is absent is an error wrapping
// fs.ErrNotExist.
type Store interface {
	// Metadata returns a blob's metadata as the node has it, in the form of a
	// Walrus metadata PUT body, at most walrus.MaxMetadata bytes.
	Metadata(ctx context.Context, id walrus.BlobID) ([]byte, error)

	// ReadSliver fills p with the bytes of a sliver of blob id, whose geometry
	// is params, from off on. A sliver that ends before that is an error
	// wrapping io.ErrUnexpectedEOF.
	ReadSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error

	// PutMetadata and PutSliver store. On return the bytes are durable; at
	// any moment readers see all of them or none. What is there already and
	// equal is left untouched; what differs is replaced.
	PutMetadata(ctx context.Context, id walrus.BlobID, data []byte) error
	PutSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, data []byte) error
}
