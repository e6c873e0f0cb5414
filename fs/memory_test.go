package fs

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// memory is blobs in memory. Reads of chosen bytes can be made to hang or to
// fail.
type memory struct {
	meta  map[walrus.BlobID]*walrus.Encoded
	ids   []walrus.BlobID
	space []byte

	mu    sync.Mutex
	bad   []badRange // guarded by mu
	hangs int        // guarded by mu; reads hanging now
}

type badRange struct {
	from, to int64
	err      error         // nil: hang
	free     chan struct{} // closed when it hangs no longer
}

func (m *memory) Metadata(ctx context.Context, id walrus.BlobID) (*walrus.Metadata, error) {
	if e := m.meta[id]; e != nil {
		return e.Metadata, nil
	}
	return nil, fmt.Errorf("no blob %s", id)
}

func (m *memory) Sliver(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, s walrus.SliverID) (merkle.Chunk, error) {
	return meta.ProveSliver(s, slices.Clone(m.meta[id].Sliver(s)))
}

func (m *memory) ReadAt(ctx context.Context, id walrus.BlobID, _ walrus.Params, p []byte, off int64) (bool, error) {
	i := slices.Index(m.ids, id)
	if i < 0 {
		return false, fmt.Errorf("no blob %s", id)
	}
	off += int64(i) * blobSize
	if err := m.obey(ctx, off, off+int64(len(p))); err != nil {
		return false, err
	}
	if copy(p, m.space[off:]) != len(p) {
		return false, io.ErrUnexpectedEOF
	}
	return true, nil
}

func (m *memory) Recheck(context.Context, walrus.BlobID, walrus.Params, int64, int64) error {
	return nil
}

// obey hangs or fails as the range [from, to) was told to.
func (m *memory) obey(ctx context.Context, from, to int64) error {
	m.mu.Lock()
	i := slices.IndexFunc(m.bad, func(b badRange) bool { return from < b.to && b.from < to })
	if i < 0 {
		m.mu.Unlock()
		return nil
	}
	b := m.bad[i]
	if b.err != nil {
		m.mu.Unlock()
		return b.err
	}
	m.hangs++
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.hangs--
		m.mu.Unlock()
	}()
	select {
	case <-b.free:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *memory) hanging() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hangs
}

// spoil makes reads of an entry's content (a directory: its table) fail with
// err, or hang if it is nil, until the function it returns is called.
func (w *world) spoil(path string, err error) (heal func()) {
	e := w.items[path].e
	free := make(chan struct{})
	w.blobs.mu.Lock()
	defer w.blobs.mu.Unlock()
	w.blobs.bad = append(w.blobs.bad, badRange{e.At, e.At + e.Size, err, free})
	return func() { w.heal(func(b badRange) bool { return b.free == free }) }
}

// healAll undoes all spoiling.
func (w *world) healAll() { w.heal(func(badRange) bool { return true }) }

func (w *world) heal(which func(badRange) bool) {
	w.blobs.mu.Lock()
	defer w.blobs.mu.Unlock()
	w.blobs.bad = slices.DeleteFunc(w.blobs.bad, func(b badRange) bool {
		if which(b) {
			close(b.free)
			return true
		}
		return false
	})
}
