package node_test

import (
	"path/filepath"
	"testing"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
)

// newDir returns an empty store.
func newDir(t testing.TB) *dir.Store {
	t.Helper()
	s, err := dir.Open(filepath.Join(t.TempDir(), "store"), true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheContractOverHTTP(t *testing.T) {
	nodetest.Run(t, func(t *testing.T) node.Store {
		return nodetest.Serve(t, newDir(t), node.HandlerOptions{N: nodetest.N}).Client(t, nil)
	})
}

// A node that knows of no ranges keeps the contract as well.
func TestTheContractOverHTTPWithoutRanges(t *testing.T) {
	nodetest.Run(t, func(t *testing.T) node.Store {
		n := nodetest.Serve(t, newDir(t), node.HandlerOptions{N: nodetest.N})
		n.Set(nodetest.WholeRange, 0)
		return n.Client(t, nil)
	})
}
