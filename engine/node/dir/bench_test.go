package dir

import (
	"path/filepath"
	"testing"

	"github.com/floefs/floe/engine/walrus"
)

// A chunk of a sliver in the page cache: what each of many small reads costs
// over the memory it copies.
func BenchmarkReadChunk(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "store"), true)
	if err != nil {
		b.Fatal(err)
	}
	params, err := walrus.NewParams(100, 16<<20)
	if err != nil {
		b.Fatal(err)
	}
	at, size := walrus.SliverID{Axis: walrus.Primary, Index: 3}, params.SliverLen(walrus.Primary)
	var id walrus.BlobID
	if err := s.PutSliver(b.Context(), id, params, at, make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 16<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := s.ReadSliver(b.Context(), id, params, at, p, int64(i*4096%(size-len(p)))); err != nil {
			b.Fatal(err)
		}
	}
}
