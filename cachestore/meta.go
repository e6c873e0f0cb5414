package cachestore

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	maxMeta     = 64 << 20 // bytes of one metadata file
	maxMetaName = 32
	metaPart    = 8 // metadata takes at most this part of the budget
)

// A metaID names metadata of a blob.
type metaID struct {
	k    Key
	name string
}

// A metaFile is metadata that is present. Store.mu guards it.
type metaFile struct {
	alloc int64
	stamp uint32 // Store.clock at its last use
}

// PutMeta queues data, up to 64 MiB, to be kept as blob k's metadata of a
// name, 1 to 32 of a-z, 0-9 and -. It copies and never waits, as Put does;
// what is there under the name is replaced.
func (s *Store) PutMeta(k Key, name string, data []byte) {
	if !metaNameOK(name) || len(data) == 0 || len(data) > maxMeta || s.closed.Load() {
		return
	}
	if s.stall.active() {
		s.stats.dropped.Add(1)
		return
	}
	s.enqueue(put{k: k, name: name, data: data})
}

// Meta returns blob k's metadata of a name, or nil. Nobody has proven it: the
// caller must, as if it came from a node.
func (s *Store) Meta(k Key, name string) []byte {
	if !metaNameOK(name) || s.closed.Load() {
		return nil
	}
	f, err := openFile(s.dir().meta, metaFileName(metaID{k, name}), os.O_RDONLY)
	if err != nil {
		return nil
	}
	defer f.Close()
	size, alloc, _, err := allocated(f)
	if err != nil || size == 0 || size > maxMeta {
		return nil
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil
	}
	s.noteMeta(metaID{k, name}, alloc)
	return data
}

func metaNameOK(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(name) > 0 && len(name) <= maxMetaName
}

func metaFileName(id metaID) string { return blobName(id.k) + "." + id.name }

func parseMeta(name string) (id metaID, ok bool) {
	hex, rest, _ := strings.Cut(name, ".")
	id.name = rest
	id.k, ok = parseName(hex)
	return id, ok && metaNameOK(rest)
}

// writeMeta writes metadata aside and moves it into place, so that it is
// never found in part.
func (s *Store) writeMeta(p put) error {
	id := metaID{p.k, p.name}
	temp := metaFileName(id) + "~" + rand.Text()[:8] // other processes may write the same
	f, err := openFile(s.dir().meta, temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.Write(p.data)
	_, alloc, _, statErr := allocated(f)
	err = errors.Join(err, statErr, f.Close())
	if err == nil {
		err = rename(s.dir().meta, temp, metaFileName(id))
	}
	if err != nil {
		remove(s.dir().meta, temp)
		return err
	}
	s.stats.writtenBytes.Add(int64(len(p.data)))
	s.noteMeta(id, alloc)
	return nil
}

// noteMeta notes that metadata is present and has just been used.
func (s *Store) noteMeta(id metaID, alloc int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.metas[id]
	if m == nil {
		m = &metaFile{}
		s.metas[id] = m
	}
	s.used.Add(alloc - m.alloc)
	s.metaUse += alloc - m.alloc
	m.alloc, m.stamp = alloc, s.clock
}

// trimMeta removes the metadata used longest ago while all of it takes more
// than its part of the budget.
func (s *Store) trimMeta() {
	part := s.size / metaPart
	s.mu.Lock()
	if s.metaUse <= part {
		s.mu.Unlock()
		return
	}
	type old struct {
		id    metaID
		stamp uint32
	}
	var list []old
	for id, m := range s.metas {
		list = append(list, old{id, m.stamp})
	}
	s.mu.Unlock()
	s.readPins()
	slices.SortFunc(list, func(a, b old) int { return cmp.Compare(a.stamp, b.stamp) })
	for _, o := range list {
		s.mu.Lock()
		enough := s.metaUse <= part-part/16
		s.mu.Unlock()
		if enough {
			return
		}
		if s.keep.pins[o.id.k] == 0 {
			s.removeMeta(o.id)
		}
	}
}

func (s *Store) removeMeta(id metaID) {
	remove(s.dir().meta, metaFileName(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.metas[id]; m != nil {
		s.used.Add(-m.alloc)
		s.metaUse -= m.alloc
		delete(s.metas, id)
	}
}
