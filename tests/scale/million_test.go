package scale

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
	"github.com/floefs/floe/tests/floe"
)

// What a first look may read of a table: a page of the table for each level
// of its index, and for each page the interior chunks of its content tree
// that lead there. A directory of a million entries has 3 and 2.
const fewChunks = 3 * (1 + 2)

func TestFirstLookAtAMillionEntriesReadsAFewChunks(t *testing.T) {
	s := floe.New(t)
	w := newWriter(t, s.Store())
	for _, shape := range []struct {
		name string
		fan  []int // entries in each directory, by level
		path string
	}{
		{"in one directory", []int{1_000_000}, "777777"},
		{"in a tree", []int{100, 100, 100}, "000050/000051/000052"},
	} {
		t.Run(shape.name, func(t *testing.T) {
			id := w.put(t, shape.fan)
			e, blobs := w.open()
			defer e.Close()
			d, err := e.Open(t.Context(), id)
			must(t, err)
			root := d.Root()
			if root.Entries < 1_000_000 {
				t.Fatalf("the dataset has %d entries", root.Entries)
			}
			t.Logf("the top directory has %d pages", root.Size/catalog.PageSize)

			looks := []struct {
				what string
				look func() error
			}{
				{"the first names", func() error { return first(d.List(t.Context(), root, 0), 50) }},
				{"names from the middle on", func() error { return first(d.List(t.Context(), root, root.Entries/2), 50) }},
				{"a name", func() error { _, err := d.Resolve(t.Context(), shape.path); return err }},
				{"a number", func() error { _, err := d.Entry(t.Context(), root.Entries-7); return err }},
			}
			for _, l := range looks {
				before := blobs.reads.Load()
				must(t, l.look())
				n := blobs.reads.Load() - before
				t.Logf("%s: %d reads", l.what, n)
				if most := int64(fewChunks * len(shape.fan)); n > most {
					t.Errorf("%s took %d reads of blobs, want at most %d", l.what, n, most)
				}
			}
			// A chunk is all that a read brings, or two ahead of a reader.
			if n, most := e.Stats().Fetched, 2*blobs.reads.Load()*merkle.ChunkSize; n > most {
				t.Errorf("%d bytes fetched by %d reads", n, blobs.reads.Load())
			}
			w.lookAtMount(t, s, id, shape.fan, shape.path)
		})
	}
}

// lookAtMount counts what the first ls(1) costs.
func (w *writer) lookAtMount(t *testing.T, s *floe.Sandbox, id walrus.BlobID, fan []int, path string) {
	mnt := s.Path("mnt-" + fmt.Sprint(len(fan)))
	s.Mount(id.String(), mnt)
	fresh := fetched(t, s, mnt)
	command := fmt.Sprintf("ls -U1 %s | head -n 50", mnt) // ls prints as it reads, and ends when nobody listens
	if len(fan) > 1 {
		command = "ls -l " + mnt
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", command).Output()
	must(t, err)
	if n := strings.Count(string(out), "\n"); n < 50 {
		t.Errorf("%s prints %d lines", command, n)
	}
	n := fetched(t, s, mnt) - fresh
	most := int64(fewChunks * merkle.ChunkSize)
	if len(fan) == 1 {
		most += 64 * merkle.ChunkSize // of names that ls has read by the time it ends: what a pipe holds, and more
	}
	t.Logf("%s: %d chunks' worth fetched", command, n/merkle.ChunkSize)
	if n > most {
		t.Errorf("%s fetched %d bytes, want at most %d", command, n, most)
	}
	var st int
	out, err = exec.CommandContext(t.Context(), "stat", "-c", "%s", mnt+"/"+path).Output()
	must(t, err)
	if fmt.Sscan(string(out), &st); st != merkle.ChunkSize {
		t.Errorf("stat says %s", out)
	}
}

func first(list func(func(catalog.Entry, error) bool), n int) error {
	i := 0
	for _, err := range list {
		if err != nil {
			return err
		}
		if i++; i == n {
			return nil
		}
	}
	return fmt.Errorf("only %d entries", i)
}

// counted counts reads of blobs.
type counted struct {
	engine.Blobs
	reads atomic.Int64
}

func (c *counted) ReadAt(ctx context.Context, id walrus.BlobID, params walrus.Params, p []byte, off int64) (bool, error) {
	c.reads.Add(1)
	return c.Blobs.ReadAt(ctx, id, params, p, off)
}

const (
	shards   = 100
	blobSize = 64 << 20
)

// A writer writes datasets whose files all have the same content: there are
// a million entries, but not a million files to make them of.
type writer struct {
	client *blob.Client
	file   catalog.Entry
	space  bytes.Buffer
	next   uint64 // number of the latest entry
}

func newWriter(t *testing.T, store string) *writer {
	s, err := dir.Open(store, true)
	must(t, err)
	return &writer{client: blob.New([]blob.Member{{Name: "store", Node: s}}, nil)}
}

func (w *writer) open() (*engine.Engine, *counted) {
	c := &counted{Blobs: w.client}
	return engine.New(c, nil, nil), c
}

// tree stores a content tree and returns it and where it lies.
func (w *writer) tree(t *testing.T, data []byte) (merkle.Tree, int64) {
	w.space.Write(make([]byte, (merkle.Align-w.space.Len()%merkle.Align)%merkle.Align))
	at := int64(w.space.Len())
	tr, err := merkle.Build(&w.space, bytes.NewReader(data), "")
	must(t, err)
	return tr, at
}

// put stores a dataset in which every directory of level i has fan[i]
// entries, those of the last level being files.
func (w *writer) put(t *testing.T, fan []int) walrus.BlobID {
	w.space.Reset()
	w.next = 0
	content := bytes.Repeat([]byte("the same in all "), merkle.ChunkSize/16)
	tr, at := w.tree(t, content)
	w.file = catalog.Entry{Type: catalog.File, Mode: 0o644, Size: tr.Size, Root: tr.Root, At: at, Sum: tr.Sum, Links: 1}
	root := w.dir(t, fan)

	enc, err := walrus.NewEncoder(shards)
	must(t, err)
	sink, err := w.client.Writer()
	must(t, err)
	store := func(data []byte) catalog.BlobRecord {
		p, err := walrus.NewParams(shards, uint64(len(data)))
		must(t, err)
		e, err := enc.Encode(t.Context(), data, sink.Rows(p))
		must(t, err)
		must(t, sink.Put(t.Context(), e))
		return catalog.BlobRecord{ID: e.ID, Size: int64(len(data))}
	}
	h := catalog.Header{BlobSize: blobSize, Shards: shards, Root: root}
	var records []byte
	for data := w.space.Bytes(); len(data) > 0; h.Blobs++ {
		n := min(blobSize, len(data))
		records = catalog.AppendRecord(records, store(data[:n]))
		data = data[n:]
	}
	header, err := catalog.AppendHeader(nil, h)
	must(t, err)
	return store(append(header, records...)).ID
}

// dir stores the table of a directory, after those below it, and returns its
// entry, without a name.
func (w *writer) dir(t *testing.T, fan []int) catalog.Entry {
	w.next++
	e := catalog.Entry{Type: catalog.Dir, Mode: 0o755, Number: w.next}
	var table bytes.Buffer
	b := catalog.NewTable(&table, e.Number)
	for i := range fan[0] {
		kid := w.file
		if len(fan) > 1 {
			kid = w.dir(t, fan[1:])
		} else {
			w.next++
			kid.Number, kid.First = w.next, w.next
		}
		kid.Name = fmt.Sprintf("%06d", i)
		_, err := b.Add(kid)
		must(t, err)
	}
	totals, err := b.Finish()
	must(t, err)
	totals.Fill(&e)
	tr, at := w.tree(t, table.Bytes())
	e.Root, e.At = tr.Root, at
	return e
}
