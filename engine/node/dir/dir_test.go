package dir_test

import (
	"path/filepath"
	"testing"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
)

func TestTheContract(t *testing.T) {
	nodetest.Run(t, func(t *testing.T) node.Store {
		s, err := dir.Open(filepath.Join(t.TempDir(), "store"), true)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
