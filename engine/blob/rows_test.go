package blob_test

import (
	"errors"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
)

// A member that has only rows is expected to hold no sliver, and is asked for no
// metadata.
func TestAMemberWithRowsHoldsNoSliver(t *testing.T) {
	s, err := dir.Open(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	b := nodetest.Encode(t, nodetest.N, nodetest.Bytes(1, 5003))
	nodetest.Put(t, s, b)
	m := blob.Member{Name: "rows", Node: s, Rows: true}
	if got := m.Slivers(b.ID, b.Params); len(got) != 0 {
		t.Errorf("expected to hold %v", got)
	}
	c := blob.New([]blob.Member{m}, nil)
	if _, err := c.Metadata(t.Context(), b.ID); !errors.Is(err, blob.ErrNoMetadata) || !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("got error %v", err)
	}
}
