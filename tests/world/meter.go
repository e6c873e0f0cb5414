package world

import (
	"context"
	"sync"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

// A Meter is a node that counts what is read from another.
type Meter struct {
	node.Store

	mu    sync.Mutex // guards what follows
	reads map[walrus.BlobID]map[int]int
	metas map[walrus.BlobID]int
}

// NewMeter returns a Meter that passes everything on to n.
func NewMeter(n node.Store) *Meter {
	return &Meter{Store: n, reads: map[walrus.BlobID]map[int]int{}, metas: map[walrus.BlobID]int{}}
}

// Client returns a client of m alone.
func (m *Meter) Client() *blob.Client {
	return blob.New([]blob.Member{{Name: "store", Node: m}}, nil)
}

// Metadata implements node.Store.
func (m *Meter) Metadata(ctx context.Context, id walrus.BlobID) ([]byte, error) {
	m.mu.Lock()
	m.metas[id]++
	m.mu.Unlock()
	return m.Store.Metadata(ctx, id)
}

// ReadSliver implements node.Store.
func (m *Meter) ReadSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	m.mu.Lock()
	if m.reads[id] == nil {
		m.reads[id] = map[int]int{}
	}
	m.reads[id][at.Index]++
	m.mu.Unlock()
	return m.Store.ReadSliver(ctx, id, params, at, p, off)
}

// Touched reports whether anything of a blob was asked for.
func (m *Meter) Touched(id walrus.BlobID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.metas[id] > 0 || len(m.reads[id]) > 0
}

// Asked returns how often anything was asked for.
func (m *Meter) Asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, c := range m.metas {
		n += c
	}
	for _, rows := range m.reads {
		for _, c := range rows {
			n += c
		}
	}
	return n
}

// Decoded reports whether a sliver that is not systematic was asked for: that
// is done only to rebuild one that is.
func (m *Meter) Decoded(shards int) bool {
	p, err := walrus.NewParams(shards, 0)
	if err != nil {
		panic(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rows := range m.reads {
		for row := range rows {
			if row >= p.K1 {
				return true
			}
		}
	}
	return false
}
