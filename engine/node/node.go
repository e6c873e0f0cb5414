// Package node is one place that holds slivers: what a reader and a writer
// ask of it, and both ends of the protocol in which Walrus storage nodes are
// asked over HTTP.
//
// Client and Handler are the two ends of the Store interface: a Client is a
// Store elsewhere, a Handler serves any Store. The other Stores, in a
// directory and in a bucket, are packages below this one; package nodetest is
// the contract as tests.
//
// # The protocol
//
// It is the HTTP API of Walrus storage nodes, so either end may be one of
// theirs. Floe adds one thing: a sliver can be had in part. The Range is
// counted in bytes of the body, in which a few bytes of length come before
// the sliver's own (walrus.Params.Frame). A node that does not know of ranges
// sends the whole body; Client.Ranges tells which kind it talks to.
package node

import (
	"context"
	"fmt"
	"io"
	"io/fs"

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
	// wrapping io.ErrUnexpectedEOF. After an error p may hold anything.
	ReadSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error

	// PutMetadata and PutSliver store. On return the bytes are durable; at
	// any moment readers see all of them or none. What is there already and
	// equal is left untouched; what differs is replaced. A store may refuse
	// what it can tell is false, and slivers of which it has no metadata.
	PutMetadata(ctx context.Context, id walrus.BlobID, data []byte) error
	PutSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, data []byte) error
}

// CheckRange refuses a read of n bytes from off on that a sliver does not have.
func CheckRange(params walrus.Params, at walrus.SliverID, n int, off int64) error {
	size := int64(params.SliverLen(at.Axis))
	switch {
	case at.Index < 0 || at.Index >= params.N:
		return fmt.Errorf("%d shards: %w", params.N, fs.ErrNotExist)
	case off < 0:
		return fmt.Errorf("negative offset: %w", fs.ErrInvalid)
	case off > size || int64(n) > size-off:
		return fmt.Errorf("sliver has %d bytes: %w", size, io.ErrUnexpectedEOF)
	}
	return nil
}
