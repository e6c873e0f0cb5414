package web_test

import (
	"testing"

	"github.com/floefs/floe/engine/walrus"
)

// putForged stores a blob whose metadata was changed before its id was
// computed: what a dishonest writer can do.
func (w *world) putForged(data []byte, forge func(p walrus.Params, m *walrus.Metadata)) walrus.BlobID {
	w.Helper()
	p, err := walrus.NewParams(shards, uint64(len(data)))
	if err != nil {
		w.Fatal(err)
	}
	enc, err := walrus.NewEncoder(shards)
	if err != nil {
		w.Fatal(err)
	}
	e, err := enc.Encode(w.Context(), data, w.writer.Rows(p))
	if err != nil {
		w.Fatal(err)
	}
	forge(p, e.Metadata)
	id := e.Metadata.BlobID()
	if err := w.store.PutMetadata(w.Context(), id, e.Metadata.Append(nil)); err != nil {
		w.Fatal(err)
	}
	for row := range p.K1 {
		at := walrus.SliverID{Axis: walrus.Primary, Index: row}
		if err := w.store.PutSliver(w.Context(), id, p, at, e.Sliver(at)); err != nil {
			w.Fatal(err)
		}
	}
	return id
}

func TestInconsistentBlobsAreRefused(t *testing.T) {
	w := newWorld(t)
	data := random(7, 5)
	zeros := w.putForged(data, func(p walrus.Params, m *walrus.Metadata) { m.Hashes[p.K1-1].Primary[0]++ })
	path := "/v1/blobs/" + zeros.String()
	for _, suffix := range []string{"", "?strict_consistency_check=true", "/byte-range?start=0&length=1"} {
		w.refuse(path+suffix, 500, "INTERNAL_ERROR")
	}
	w.want(path+"?skip_consistency_check=true", 200, data)

	parity := w.putForged(data, func(p walrus.Params, m *walrus.Metadata) { m.Hashes[shards-1].Primary[0]++ })
	path = "/v1/blobs/" + parity.String()
	w.want(path, 200, data)
	w.refuse(path+"?strict_consistency_check=true", 500, "INTERNAL_ERROR")
	w.refuse(path+"?strict_consistency_check=true", 500, "INTERNAL_ERROR") // as remembered
	w.refuse(path+"?strict_consistency_check=perhaps", 400, "MALFORMED_REQUEST")
}
