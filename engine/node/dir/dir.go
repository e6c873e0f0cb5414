// Package dir is a node in a local directory.
//
// # FORMAT: directory store, version 1
//
//	floe-store                 the line "floe store 1"; marks the directory as ours
//	blobs/XX/ID/meta           the blob's metadata, as a Walrus PUT body
//	blobs/XX/ID/meta.copy      the same again: it is small and all depends on it
//	blobs/XX/ID/p0 p1 ...      primary slivers by index, bytes only
//	blobs/XX/ID/s0 s1 ...      secondary slivers by index, bytes only
//	datasets/ID                a dataset that was put here; holds its Record as JSON
//	tmp/                       files being written; renamed when whole
//
// ID is a blob id in base64url, XX its first two characters. A file has its
// name only when it is whole and durable, so a crash leaves nothing half
// written but files in tmp, which the next Open removes.
package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

const (
	marker  = "floe-store"
	version = "floe store 1\n"
)

var _ node.Store = (*Store)(nil)

// Store is a node.Store in a directory.
type Store struct{ root string }

// Open opens the store at path. If create is set it makes one of a directory
// that is missing or empty; it never turns one that holds other files into a
// store.
func Open(path string, create bool) (*Store, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	got, err := os.ReadFile(filepath.Join(root, marker))
	switch {
	case err == nil && string(got) == version:
	case err == nil:
		return nil, fmt.Errorf("%s is a store of another version (%.40q); this floe reads %q", root, got, version)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("opening store: %w", err)
	case !create:
		return nil, fmt.Errorf("%s is not a floe store (no file %s in it): %w", root, marker, fs.ErrNotExist)
	default:
		if err := initialize(root); err != nil {
			return nil, err
		}
	}
	s := &Store{root}
	if create {
		s.removeStale()
	}
	return s, nil
}

func initialize(root string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("creating store: %w", err)
	}
	names, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("creating store: %w", err)
	}
	for _, n := range names {
		if n.Name() != "blobs" && n.Name() != "datasets" && n.Name() != "tmp" {
			return fmt.Errorf("%s is not empty and not a floe store; choose an empty directory", root)
		}
	}
	for _, d := range []string{"blobs", "datasets", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return fmt.Errorf("creating store: %w", err)
		}
	}
	s := &Store{root}
	return s.write(filepath.Join(root, marker), []byte(version))
}

// removeStale removes what writers that died left in tmp. A file younger than
// a day may belong to a writer that lives.
func (s *Store) removeStale() {
	names, _ := os.ReadDir(filepath.Join(s.root, "tmp"))
	for _, n := range names {
		if fi, err := n.Info(); err == nil && time.Since(fi.ModTime()) > 24*time.Hour {
			os.Remove(filepath.Join(s.root, "tmp", n.Name()))
		}
	}
}

// Path returns the store's directory.
func (s *Store) Path() string { return s.root }

// BlobDir returns the directory of a blob, whether it exists or not.
func (s *Store) BlobDir(id walrus.BlobID) string {
	name := id.String()
	return filepath.Join(s.root, "blobs", name[:2], name)
}

var metadataNames = [...]string{"meta", "meta.copy"}

// Metadata returns the first copy that is the blob's, else the first there is.
func (s *Store) Metadata(ctx context.Context, id walrus.BlobID) ([]byte, error) {
	var first []byte
	var firstErr error
	for _, name := range metadataNames {
		data, err := readBounded(filepath.Join(s.BlobDir(id), name), walrus.MaxMetadata)
		if err == nil {
			if _, err := walrus.ProveMetadata(id, data); err == nil {
				return data, nil
			}
			first = data
		} else if firstErr == nil || !errors.Is(err, fs.ErrNotExist) {
			firstErr = err
		}
	}
	if first != nil {
		return first, nil
	}
	return nil, fmt.Errorf("metadata of blob %s: %w", id, firstErr)
}

// CheckMetadata reports how many of the two copies are the blob's own.
func (s *Store) CheckMetadata(id walrus.BlobID) (good, of int) {
	for _, name := range metadataNames {
		data, err := readBounded(filepath.Join(s.BlobDir(id), name), walrus.MaxMetadata)
		if err == nil {
			if _, err := walrus.ProveMetadata(id, data); err == nil {
				good++
			}
		}
	}
	return good, len(metadataNames)
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is longer than the %d bytes it can be", path, limit)
	}
	return data, err
}

// ReadSliver implements node.Store.
func (s *Store) ReadSliver(ctx context.Context, id walrus.BlobID, _ walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	path := filepath.Join(s.BlobDir(id), sliverName(at))
	f, err := openRaw(path)
	if err != nil {
		return err
	}
	defer f.close()
	if err := f.readAt(p, off); err != nil {
		return fmt.Errorf("%s at %d: %w", path, off, err)
	}
	if len(p) >= longRead {
		s.readAhead(f, id, at, off+int64(len(p)))
	}
	return nil
}

// SliverFile returns a sliver as a file that holds nothing else, for servers:
// the kernel sends files without copying them.
func (s *Store) SliverFile(id walrus.BlobID, at walrus.SliverID) (*os.File, error) {
	return openFile(filepath.Join(s.BlobDir(id), sliverName(at)))
}

// openFile opens a regular file; anything else in its place, which could
// block or lead out of the store, is refused.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow|unix.O_NONBLOCK, 0) // a pipe would block
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// PutMetadata implements node.Store: it writes both copies.
func (s *Store) PutMetadata(ctx context.Context, id walrus.BlobID, data []byte) error {
	for _, name := range metadataNames {
		if err := s.put(id, name, data); err != nil {
			return fmt.Errorf("storing metadata of blob %s: %w", id, err)
		}
	}
	return nil
}

// PutSliver implements node.Store.
func (s *Store) PutSliver(ctx context.Context, id walrus.BlobID, _ walrus.Params, at walrus.SliverID, data []byte) error {
	if err := s.put(id, sliverName(at), data); err != nil {
		return fmt.Errorf("storing sliver %s of blob %s: %w", sliverName(at), id, err)
	}
	return nil
}

func (s *Store) put(id walrus.BlobID, name string, data []byte) error {
	path := filepath.Join(s.BlobDir(id), name)
	if equal(path, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return s.write(path, data)
}

// equal reports whether path is a file that holds just data.
func equal(path string, data []byte) bool {
	f, err := openFile(path)
	if err != nil {
		return false
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || fi.Size() != int64(len(data)) {
		return false
	}
	buf := make([]byte, min(len(data), 256<<10))
	for len(data) > 0 {
		n := min(len(buf), len(data))
		if _, err := io.ReadFull(f, buf[:n]); err != nil || !bytes.Equal(buf[:n], data[:n]) {
			return false
		}
		data = data[n:]
	}
	return true
}

// write makes path a file that holds data: whole, durable, or not at all.
// The order is write, fsync, rename, fsync of the directories.
func (s *Store) write(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Join(s.root, "tmp"), "put-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none of that name
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	for d := filepath.Dir(path); err == nil; d = filepath.Dir(d) {
		if err = syncDir(d); d == s.root {
			break
		}
	}
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func sliverName(at walrus.SliverID) string {
	if at.Axis == walrus.Primary {
		return "p" + strconv.Itoa(at.Index)
	}
	return "s" + strconv.Itoa(at.Index)
}
