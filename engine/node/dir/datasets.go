package dir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

const noFollow = 0x20000 // O_NOFOLLOW: a link in the store never leads out of it

// A Record is what a store remembers of a dataset that was put into it. It is
// a convenience for listings; nothing is believed because of it.
type Record struct {
	ID      walrus.BlobID `json:"id"`
	Name    string        `json:"name,omitempty"`
	Created time.Time     `json:"created"`
	Files   uint64        `json:"files"`
	Bytes   uint64        `json:"bytes"`
}

const maxRecord = 64 << 10

// PutRecord makes the store list a dataset. Durable on return.
func (s *Store) PutRecord(r Record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.write(filepath.Join(s.root, "datasets", r.ID.String()), append(data, '\n'))
}

// Datasets yields the store's datasets in the order of their ids.
func (s *Store) Datasets() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		names, err := os.ReadDir(filepath.Join(s.root, "datasets"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield(Record{}, err)
			return
		}
		for _, n := range names {
			id, err := walrus.ParseBlobID(n.Name())
			if err != nil {
				continue // not ours
			}
			var r Record
			data, err := readBounded(filepath.Join(s.root, "datasets", n.Name()), maxRecord)
			if err == nil {
				err = json.Unmarshal(data, &r)
			}
			r.ID = id // what the file says of itself does not count
			if err != nil {
				err = fmt.Errorf("record of dataset %s: %w", id, err)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// RemoveRecord forgets a dataset; its blobs stay.
func (s *Store) RemoveRecord(id walrus.BlobID) error {
	err := os.Remove(filepath.Join(s.root, "datasets", id.String()))
	if err == nil {
		err = syncDir(filepath.Join(s.root, "datasets"))
	}
	return err
}

// Blobs yields the ids of all blobs of which the store holds anything.
func (s *Store) Blobs() iter.Seq2[walrus.BlobID, error] {
	return func(yield func(walrus.BlobID, error) bool) {
		groups, err := os.ReadDir(filepath.Join(s.root, "blobs"))
		if err != nil {
			yield(walrus.BlobID{}, err)
			return
		}
		for _, g := range groups {
			names, err := os.ReadDir(filepath.Join(s.root, "blobs", g.Name()))
			if err != nil {
				continue // not a directory: not ours
			}
			for _, n := range names {
				if id, err := walrus.ParseBlobID(n.Name()); err == nil && !yield(id, nil) {
					return
				}
			}
		}
	}
}

// Remove deletes a blob and returns the bytes that were freed. The metadata
// goes first, so a blob removed halfway is absent rather than damaged.
func (s *Store) Remove(ctx context.Context, id walrus.BlobID) (freed int64, err error) {
	dir := s.BlobDir(id)
	for _, name := range metadataNames {
		freed += s.removeFile(filepath.Join(dir, name))
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return freed, err
	}
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return freed, err
		}
		freed += s.removeFile(filepath.Join(dir, n.Name()))
	}
	if err := os.Remove(dir); err != nil {
		return freed, err
	}
	return freed, syncDir(filepath.Dir(dir))
}

func (s *Store) removeFile(path string) int64 {
	fi, err := os.Lstat(path)
	if err != nil || os.Remove(path) != nil {
		return 0
	}
	return fi.Size()
}
