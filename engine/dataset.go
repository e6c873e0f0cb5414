package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// Bounds on what a publisher can make a reader do.
const (
	maxDepth    = 2048     // directories below one another; PATH_MAX allows no more
	keptEntries = 16 << 10 // entries kept by number
)

// A Dataset is an open dataset, or a Walrus blob seen as one. It is safe for concurrent use and needs no
// closing; it is usable until its Engine is closed.
type Dataset struct {
	e       *Engine
	id      walrus.BlobID
	header  catalog.Header
	blobs   *blobTable
	checked *catalog.Checked // pages that obey the format
	bare    *bare            // the tree, if it is of a Walrus blob as it is; nil: it is in blobs

	mu      sync.Mutex                // guards entries
	entries map[uint64]*catalog.Entry // by number; emptied when full
}

// Open proves and opens the dataset whose header blob is id.
func (e *Engine) Open(ctx context.Context, id walrus.BlobID) (*Dataset, error) {
	d, err := e.open(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("opening dataset %s: %w", id, err)
	}
	return d, nil
}

func (e *Engine) open(ctx context.Context, id walrus.BlobID) (*Dataset, error) {
	hb, err := e.openHeaderBlob(ctx, id)
	if err != nil {
		return nil, err
	}
	if hb.params.Size < catalog.HeaderSize {
		return nil, fmt.Errorf("%w: a blob of %d bytes is too short for a dataset's header", catalog.ErrMalformed, hb.params.Size)
	}
	raw := make([]byte, catalog.HeaderSize)
	if err := hb.readAt(ctx, raw, 0); err != nil {
		return nil, err
	}
	h, err := catalog.ParseHeader(raw, int64(hb.params.Size))
	if err != nil {
		return nil, err
	}
	if h.Shards != hb.params.N {
		return nil, fmt.Errorf("%w: a header for %d shards in a blob for %d", catalog.ErrMalformed, h.Shards, hb.params.N)
	}
	d := &Dataset{
		e: e, id: id, header: h, checked: catalog.NewChecked(int(e.kept.limit / 4)),
		entries: make(map[uint64]*catalog.Entry),
	}
	d.blobs = newBlobTable(hb, h)
	if _, err := d.table(h.Root); err != nil {
		return nil, err
	}
	return d, nil
}

// ID returns the dataset's id.
func (d *Dataset) ID() walrus.BlobID { return d.id }

// Header returns the dataset's header.
func (d *Dataset) Header() catalog.Header { return d.header }

// Root returns the top directory.
func (d *Dataset) Root() catalog.Entry { return d.header.Root }

// A table is what a directory holds. catalog.Table has the comments.
type table interface {
	Lookup(ctx context.Context, name string) (catalog.Entry, error)
	ByNumber(ctx context.Context, number uint64) (catalog.Entry, error)
	List(ctx context.Context, from uint64) iter.Seq2[catalog.Entry, error]
	Verify(ctx context.Context) iter.Seq2[catalog.Entry, error]
}

// table returns the table of directory dir.
func (d *Dataset) table(dir catalog.Entry) (table, error) {
	if dir.Type != catalog.Dir {
		return nil, fmt.Errorf("%q is not a directory", dir.Name)
	}
	if d.bare != nil {
		return listing{dir, d.bare.dirs[dir.Number]}, nil
	}
	t, err := d.newTree(dir.Size, dir.Root, dir.At, nil)
	if err != nil {
		return nil, fmt.Errorf("directory %q: %w", dir.Name, err)
	}
	page := func(ctx context.Context, i int64) (merkle.Chunk, error) { return t.chunk(ctx, 0, i) }
	return catalog.Table{Dir: dir, Page: page, Space: d.header.Space(), Checked: d.checked}, nil
}

// Lookup returns the entry of dir that is called name; an error wraps
// fs.ErrNotExist if there is none.
func (d *Dataset) Lookup(ctx context.Context, dir catalog.Entry, name string) (catalog.Entry, error) {
	t, err := d.table(dir)
	if err != nil {
		return catalog.Entry{}, err
	}
	e, err := t.Lookup(ctx, name)
	if err != nil {
		return catalog.Entry{}, err
	}
	if err := d.admit(ctx, e); err != nil {
		return catalog.Entry{}, err
	}
	d.know(e) // whoever looks up a name soon asks for its number
	return e, nil
}

// List yields the entries of dir, in order of their names, whose number
// relative to dir is at least from. It ends at the first error.
func (d *Dataset) List(ctx context.Context, dir catalog.Entry, from uint64) iter.Seq2[catalog.Entry, error] {
	return func(yield func(catalog.Entry, error) bool) {
		t, err := d.table(dir)
		if err != nil {
			yield(catalog.Entry{}, err)
			return
		}
		for e, err := range t.List(ctx, from) {
			if err == nil {
				err = d.admit(ctx, e)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Entry returns the entry with a number: its place in pre-order, which is
// also its inode number. An error wraps fs.ErrNotExist if there is none.
func (d *Dataset) Entry(ctx context.Context, number uint64) (catalog.Entry, error) {
	if e := d.known(number); e != nil {
		return *e, nil
	}
	e, err := d.descend(ctx, number, nil)
	if err == nil {
		err = d.admit(ctx, e)
	}
	if err != nil {
		return catalog.Entry{}, err
	}
	d.know(e)
	return e, nil
}

// Path returns the path of the entry with a number, without a leading slash.
func (d *Dataset) Path(ctx context.Context, number uint64) (string, error) {
	var names []string
	_, err := d.descend(ctx, number, func(e catalog.Entry) { names = append(names, e.Name) })
	return strings.Join(names, "/"), err
}

// Parent returns the number of the directory that holds the entry with a
// number; the top directory holds itself.
func (d *Dataset) Parent(ctx context.Context, number uint64) (uint64, error) {
	parent, last := uint64(catalog.RootNumber), uint64(catalog.RootNumber)
	_, err := d.descend(ctx, number, func(e catalog.Entry) { parent, last = last, e.Number })
	return parent, err
}

// descend walks from the top to the entry with a number and tells visit of
// every entry on the way but the top.
func (d *Dataset) descend(ctx context.Context, number uint64, visit func(catalog.Entry)) (catalog.Entry, error) {
	cur := d.header.Root
	if number < cur.Number || number-cur.Number > cur.Entries {
		return catalog.Entry{}, fmt.Errorf("entry %d: %w", number, fs.ErrNotExist)
	}
	for depth := 0; cur.Number != number; depth++ {
		if depth == maxDepth {
			return catalog.Entry{}, fmt.Errorf("%w: more than %d directories below one another", catalog.ErrMalformed, maxDepth)
		}
		t, err := d.table(cur)
		if err != nil {
			return catalog.Entry{}, err
		}
		if cur, err = t.ByNumber(ctx, number); err != nil {
			return catalog.Entry{}, err
		}
		if visit != nil {
			visit(cur)
		}
	}
	return cur, nil
}

func (d *Dataset) known(number uint64) *catalog.Entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.entries[number]
}

func (d *Dataset) know(e catalog.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.entries) >= keptEntries {
		clear(d.entries)
	}
	d.entries[e.Number] = &e
}

// admit checks what an entry says of others: a hard link must agree with the
// first link of its group.
func (d *Dataset) admit(ctx context.Context, e catalog.Entry) error {
	if e.Type != catalog.File || e.First == e.Number {
		return nil
	}
	f := d.known(e.First)
	if f == nil {
		first, err := d.descend(ctx, e.First, nil)
		if err != nil {
			return fmt.Errorf("first link of %q: %w", e.Name, err)
		}
		f = &first
	}
	if f.Type != e.Type || f.First != f.Number || f.Links != e.Links || f.Size != e.Size || f.Root != e.Root || f.At != e.At {
		return fmt.Errorf("%w: %q (entry %d) and its first link (entry %d) disagree", catalog.ErrMalformed, e.Name, e.Number, e.First)
	}
	return nil
}

// Resolve returns the entry at a slash-separated path from the top; "" and
// "/" are the top itself. It follows no symlinks. An error is an
// *fs.PathError.
func (d *Dataset) Resolve(ctx context.Context, path string) (catalog.Entry, error) {
	e := d.header.Root
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		if e.Type != catalog.Dir {
			return catalog.Entry{}, &fs.PathError{Op: "open", Path: path, Err: errNotDir}
		}
		next, err := d.Lookup(ctx, e, name)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = fs.ErrNotExist
			}
			return catalog.Entry{}, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		e = next
	}
	return e, nil
}

var errNotDir = errors.New("not a directory")

// Xattrs returns the user. attributes that are stored with e.
func (d *Dataset) Xattrs(ctx context.Context, e catalog.Entry) ([]catalog.Xattr, error) {
	if e.Xattrs.Out.Size == 0 {
		return e.Xattrs.Inline, nil
	}
	data, err := d.outOfLine(ctx, e.Xattrs.Out, catalog.MaxXattrs)
	if err != nil {
		return nil, fmt.Errorf("xattrs of %q: %w", e.Name, err)
	}
	return catalog.ParseXattrs(data)
}

// holes returns the holes of file e.
func (d *Dataset) holes(ctx context.Context, e catalog.Entry) ([]merkle.Hole, error) {
	if e.Holes.Out.Size == 0 {
		return e.Holes.Inline, nil
	}
	data, err := d.outOfLine(ctx, e.Holes.Out, catalog.MaxHoles)
	if err != nil {
		return nil, fmt.Errorf("holes of %q: %w", e.Name, err)
	}
	return catalog.ParseHoles(data, e.Size)
}

// outOfLine reads a small content tree whole.
func (d *Dataset) outOfLine(ctx context.Context, x catalog.Extent, limit int64) ([]byte, error) {
	if x.Size > limit {
		return nil, fmt.Errorf("%w: a list of %d bytes", catalog.ErrMalformed, x.Size)
	}
	t, err := d.newTree(x.Size, x.Root, x.At, nil)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, x.Size)
	for i := range t.layout.Chunks(0) {
		c, err := t.chunk(ctx, 0, i)
		if err != nil {
			return nil, err
		}
		data = append(data, c.Bytes()...)
	}
	return data, nil
}
