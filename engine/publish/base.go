package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
)

// A Base is an earlier dataset, as *engine.Dataset is one. All of its blobs
// become blobs of the new dataset, before the new ones, so that positions in
// them stay what they are. Its blobs must be on the same nodes as the new ones
// will be; that is not checked.
type Base interface {
	// Header returns what the dataset begins with.
	Header() catalog.Header

	// BlobID returns blob i of its blob table.
	BlobID(ctx context.Context, i int64) (walrus.BlobID, walrus.Params, error)

	// Lookup returns an entry of a directory, or an error that wraps
	// fs.ErrNotExist.
	Lookup(ctx context.Context, dir catalog.Entry, name string) (catalog.Entry, error)
}

// checkBase takes shards and blob size from the base where they are not set.
func (r *run) checkBase() error {
	if r.Base == nil {
		return nil
	}
	h := r.Base.Header()
	if r.Shards == 0 {
		r.Shards = h.Shards
	}
	if r.BlobSize == 0 {
		r.BlobSize = h.BlobSize
	}
	if h.Shards != r.Shards || h.BlobSize != r.BlobSize {
		return fmt.Errorf("the base has %d shards and blobs of %d bytes, so %d shards and blobs of %d bytes cannot extend it",
			h.Shards, h.BlobSize, r.Shards, r.BlobSize)
	}
	return nil
}

// baseRecords returns the blob table of the base.
func (r *run) baseRecords() ([]*catalog.BlobRecord, error) {
	if r.Base == nil {
		return nil, nil
	}
	records := make([]*catalog.BlobRecord, r.Base.Header().Blobs)
	for i := range records {
		id, p, err := r.Base.BlobID(r.ctx, int64(i))
		if err != nil {
			return nil, fmt.Errorf("reading the base: %w", err)
		}
		records[i] = &catalog.BlobRecord{ID: id, Size: int64(p.Size)}
	}
	r.res.BlobsBase = int64(len(records))
	return records, nil
}

// A shadow follows a walk in the base: it holds the base's directories on the
// way, nil where it has none.
type shadow struct {
	base Base
	way  []*catalog.Entry
}

func newShadow(base Base) *shadow { return &shadow{base: base} }

// enter follows into a directory of that name, the top for the first, and
// returns what the base has there, or nil.
func (s *shadow) enter(ctx context.Context, name string) (*catalog.Entry, error) {
	var dir *catalog.Entry
	if len(s.way) == 0 && s.base != nil {
		root := s.base.Header().Root
		dir = &root
	} else if len(s.way) > 0 {
		var err error
		if dir, err = s.lookup(ctx, name, catalog.Dir); err != nil {
			return nil, err
		}
	}
	s.way = append(s.way, dir)
	return dir, nil
}

func (s *shadow) leave() { s.way = s.way[:len(s.way)-1] }

// lookup returns the base's entry of that name and type, or nil.
func (s *shadow) lookup(ctx context.Context, name string, t catalog.Type) (*catalog.Entry, error) {
	dir := s.way[len(s.way)-1]
	if dir == nil {
		return nil, nil
	}
	e, err := s.base.Lookup(ctx, *dir, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the base: %w", err)
	case e.Type != t:
		return nil, nil
	}
	return &e, nil
}
