package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// memory is a Store in memory. Only Put changes it, and tests do that before
// they share it.
type memory map[string][]byte

func (m memory) Metadata(_ context.Context, id walrus.BlobID) ([]byte, error) {
	data, ok := m[id.String()]
	if !ok {
		return nil, fmt.Errorf("metadata of %s: %w", id, fs.ErrNotExist)
	}
	return bytes.Clone(data), nil
}

func (m memory) ReadSliver(_ context.Context, id walrus.BlobID, _ walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	data, ok := m[id.String()+at.String()]
	if !ok {
		return fmt.Errorf("%s: %w", at, fs.ErrNotExist)
	}
	if off > int64(len(data)) || copy(p, data[off:]) < len(p) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (m memory) PutMetadata(_ context.Context, id walrus.BlobID, data []byte) error {
	m[id.String()] = bytes.Clone(data)
	return nil
}

func (m memory) PutSliver(_ context.Context, id walrus.BlobID, _ walrus.Params, at walrus.SliverID, data []byte) error {
	m[id.String()+at.String()] = bytes.Clone(data)
	return nil
}

var _ node.Store = memory{}

// A Store that is not in files is served through memory.
func TestNodesServeAnyStore(t *testing.T) {
	b := nodetest.Encode(t, nodetest.N, nodetest.Bytes(1, 1<<20))
	c := nodetest.Serve(t, memory{}, node.HandlerOptions{N: nodetest.N}).Client(t, nil)
	nodetest.Put(t, c, b)
	for _, at := range nodetest.All(b.Params) {
		got := make([]byte, b.Params.SliverLen(at.Axis))
		if err := c.ReadSliver(t.Context(), b.ID, b.Params, at, got, 0); err != nil || !bytes.Equal(got, b.Sliver(at)) {
			t.Fatalf("%s: %v", at, err)
		}
	}
}
