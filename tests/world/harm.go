package world

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/floefs/floe/engine/walrus"
)

// A Blob is one blob of a World, as it was published and as it now lies in
// the store.
type Blob struct {
	ID     walrus.BlobID
	Params walrus.Params
	Dir    string  // in the store
	Rows   int     // primary slivers that are kept
	Items  []*Item // what cannot be read without the blob

	whole   map[string][]byte // file name to content, as published
	changed map[string]bool   // files that may differ from that
}

// Names of the files that hold a blob's metadata.
const (
	Meta     = "meta"
	MetaCopy = "meta.copy"
)

// Primary returns the name of the file that holds a primary sliver.
func Primary(row int) string { return fmt.Sprintf("p%d", row) }

// Find returns a blob of the store, which need not be one of the dataset's.
func (w *World) Find(ctx context.Context, id walrus.BlobID) (*Blob, error) {
	raw, err := w.Store.Metadata(ctx, id)
	if err != nil {
		return nil, err
	}
	meta, err := walrus.ProveMetadata(id, raw)
	if err != nil {
		return nil, err
	}
	b := &Blob{ID: id, Dir: w.Store.BlobDir(id), whole: map[string][]byte{}, changed: map[string]bool{}}
	if b.Params, err = meta.Params(); err != nil {
		return nil, err
	}
	names, err := os.ReadDir(b.Dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if b.whole[n.Name()], err = os.ReadFile(filepath.Join(b.Dir, n.Name())); err != nil {
			return nil, err
		}
	}
	b.Rows = len(b.whole) - 2
	return b, nil
}

// Tolerates returns how many slivers of b may be bad.
func (b *Blob) Tolerates() int { return b.Rows - b.Params.K1 }

// Len returns the bytes of a file of b, as published.
func (b *Blob) Len(name string) int { return len(b.whole[name]) }

// Whole returns a file of b as it was published.
func (b *Blob) Whole(name string) []byte { return b.whole[name] }

// Path returns where a file of b lies, which the caller may then change.
func (b *Blob) Path(name string) string {
	b.changed[name] = true
	return filepath.Join(b.Dir, name)
}

// Flip inverts the bits of mask in one byte of a file of b.
func (b *Blob) Flip(name string, off int, mask byte) error {
	return FlipByte(b.Path(name), int64(off), mask)
}

// FlipByte inverts the bits of mask in one byte of a file.
func FlipByte(path string, off int64, mask byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var c [1]byte
	if _, err := f.ReadAt(c[:], off); err != nil {
		return err
	}
	c[0] ^= mask
	_, err = f.WriteAt(c[:], off)
	return err
}

// Delete removes a file of b.
func (b *Blob) Delete(name string) error { return os.Remove(b.Path(name)) }

// Truncate cuts a file of b to n bytes.
func (b *Blob) Truncate(name string, n int) error { return os.Truncate(b.Path(name), int64(n)) }

// Swap gives each of two files of b the other's name.
func (b *Blob) Swap(x, y string) error {
	tmp := filepath.Join(b.Dir, "swap")
	if err := os.Rename(b.Path(x), tmp); err != nil {
		return err
	}
	if err := os.Rename(b.Path(y), b.Path(x)); err != nil {
		return err
	}
	return os.Rename(tmp, b.Path(y))
}

// Heal makes every file of b that may have been changed what it was.
func (b *Blob) Heal() error {
	for name := range b.changed {
		// Through a new file: what was cut short may be open somewhere.
		path := filepath.Join(b.Dir, name)
		os.Remove(path)
		if err := os.WriteFile(path, b.whole[name], 0o644); err != nil {
			return err
		}
	}
	clear(b.changed)
	return nil
}

// Heal heals all blobs.
func (w *World) Heal() error {
	for _, b := range w.Blobs {
		if err := b.Heal(); err != nil {
			return err
		}
	}
	return nil
}
