package publish

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
)

// A tabler is the third step.
type tabler struct {
	*run
	pack   *packer
	pages  *scratch
	number uint64     // of the latest entry
	way    []*dirWork // the directories that are not finished
	top    *catalog.Entry
}

// A dirWork is a directory whose table is being built.
type dirWork struct {
	*item
	number uint64
	*catalog.Builder
	pages *part
}

// tables builds the tables of all directories and stores them, in post-order.
// It returns the top directory.
func (r *run) tables(in *spool, p *pipeline) (*catalog.Entry, error) {
	r.progress.Step = Tables
	t := &tabler{run: r, pack: newPacker(p), pages: &scratch{dir: r.TempDir}}
	defer t.pages.close()
	for {
		it, err := in.next()
		if err == io.EOF {
			return t.top, t.pack.close()
		}
		if err == nil {
			err = t.item(it)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (t *tabler) item(it *item) error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	if it.end {
		return t.endDir()
	}
	t.number++
	t.progress.tick(t.path)
	if len(it.xattr) > 0 {
		var err error
		if it.entry.Xattrs.Inline, err = catalog.ParseXattrs(it.xattr); err != nil {
			return fmt.Errorf("internal error: %w", err)
		}
	}
	it.entry.Number = t.number
	if it.entry.Type == catalog.Dir {
		pages := &part{scratch: t.pages}
		t.way = append(t.way, &dirWork{it, t.number, catalog.NewTable(pages, t.number), pages})
		return nil
	}
	return t.add(it.entry)
}

// add adds an entry to the directory it is in.
func (t *tabler) add(e catalog.Entry) error {
	if _, err := t.way[len(t.way)-1].Add(e); err != nil {
		return fmt.Errorf("table of %s: %w", t.path(), err)
	}
	return nil
}

// endDir stores the table of a directory that is complete.
func (t *tabler) endDir() error {
	d := t.way[len(t.way)-1]
	totals, err := d.Finish()
	if err != nil {
		return fmt.Errorf("table of %s: %w", t.path(), err)
	}
	e := &d.entry
	totals.Fill(e)
	e.Root = merkle.EmptyRoot
	if totals.Size > 0 {
		if e.Root, e.At, err = t.table(d); err != nil {
			return err
		}
	}
	t.way = t.way[:len(t.way)-1]
	if len(t.way) == 0 {
		t.top = e
		return nil
	}
	return t.add(*e)
}

// table stores a table, unless the base has the same one.
func (t *tabler) table(d *dirWork) (merkle.Hash, int64, error) {
	if size := d.entry.Size; size == d.base.Size {
		tree, err := merkle.HashTree(d.pages.reader(), t.TempDir)
		if err != nil || tree.Root == d.base.Root {
			return d.base.Root, d.base.At, err
		}
	}
	tree, at, err := t.pack.tree(d.pages.reader(), t.TempDir)
	if err == nil && len(tree.Holes) > 0 {
		err = fmt.Errorf("internal error: a table with holes")
	}
	return tree.Root, at, err
}

// path returns the path of the directory at work.
func (t *tabler) path() string {
	path := "."
	for _, d := range t.way {
		if d.entry.Name != "" {
			path += "/" + d.entry.Name
		}
	}
	return path
}

// A scratch is a temporary file for parts that outgrow memory, made when the
// first does.
type scratch struct {
	dir  string
	file *os.File
	end  int64
}

func (s *scratch) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// append appends to the file and returns where.
func (s *scratch) append(b []byte) (at int64, err error) {
	if s.file == nil {
		if s.file, err = tempFile(s.dir); err != nil {
			return 0, fmt.Errorf("keeping tables: %w", err)
		}
	}
	at = s.end
	if _, err = s.file.WriteAt(b, at); err != nil {
		return 0, fmt.Errorf("keeping tables: %w", err)
	}
	s.end += int64(len(b))
	return at, nil
}

// keptPart is up to how many bytes a part is kept in memory. There are as
// many parts at a time as directories are below one another.
const keptPart = 32 << 10

// A part is bytes written one after another: the first in memory, the others
// in extents of a scratch.
type part struct {
	scratch *scratch
	mem     []byte
	extents []extent
}

type extent struct{ at, size int64 }

func (p *part) Write(b []byte) (int, error) {
	if len(p.extents) == 0 && len(p.mem)+len(b) <= keptPart {
		p.mem = append(p.mem, b...)
		return len(b), nil
	}
	at, err := p.scratch.append(b)
	if err != nil {
		return 0, err
	}
	if k := len(p.extents) - 1; k >= 0 && p.extents[k].at+p.extents[k].size == at {
		p.extents[k].size += int64(len(b))
	} else {
		p.extents = append(p.extents, extent{at, int64(len(b))})
	}
	return len(b), nil
}

// reader returns what was written, from the beginning.
func (p *part) reader() io.Reader {
	readers := []io.Reader{bytes.NewReader(p.mem)}
	for _, x := range p.extents {
		readers = append(readers, io.NewSectionReader(p.scratch.file, x.at, x.size))
	}
	return io.MultiReader(readers...)
}
