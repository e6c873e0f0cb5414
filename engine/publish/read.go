package publish

import (
	"bytes"
	"context"
	"io"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
)

// A file that has become a fifo since it was listed must not block.
const fileFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY

// A reader is the second step.
type reader struct {
	*run
	*cursor
	*shadow
	pack   *packer
	in     *found
	out    *spool
	number uint64            // of the latest entry
	groups map[uint64]*group // files with several links of which not all were seen, by number of the first
}

// A group is a file with several links, of which the first was read.
type group struct {
	item
	left uint32 // links to come
}

// read reads every file that was found, stores its content, and returns the
// items with it, in the same order.
func (r *run) read(root *cursor, in *found, p *pipeline) (*spool, error) {
	r.progress.Step = Reading
	out, err := newSpool(r.TempDir)
	if err != nil {
		return nil, err
	}
	rd := &reader{
		run: r, cursor: root, shadow: newShadow(r.Base), in: in, out: out,
		pack: newPacker(p), groups: make(map[uint64]*group),
	}
	if err = rd.all(); err == nil {
		err = rd.pack.close()
	}
	if err == nil {
		err = out.rewind()
	}
	if err != nil {
		out.close()
		return nil, err
	}
	return out, nil
}

func (r *reader) all() error {
	for {
		it, err := r.in.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = r.item(it)
		}
		if err == nil {
			err = r.out.add(it)
		}
		if err != nil {
			return err
		}
	}
}

// item completes an item.
func (r *reader) item(it *item) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if it.end {
		return r.endDir()
	}
	r.number++
	switch it.entry.Type {
	case catalog.Dir:
		return r.dir(it)
	case catalog.File:
		return r.file(it)
	}
	return nil
}

func (r *reader) dir(it *item) error {
	name := it.entry.Name
	if name != "" {
		if err := r.cursor.enter(name); err != nil {
			return r.fail("opening", name, err)
		}
	}
	if at := r.at(); at.dev != it.stamp.Dev || at.ino != it.stamp.Ino {
		return r.fail("opening", "", ErrChanged)
	}
	base, err := r.shadow.enter(r.ctx, name)
	if err != nil {
		return err
	}
	if base == nil {
		base = &catalog.Entry{}
	}
	it.base = catalog.Extent{Size: base.Size, Root: base.Root, At: base.At}
	return r.xattrs(it, base)
}

func (r *reader) endDir() error {
	r.shadow.leave()
	if r.depth() == 0 {
		return nil
	}
	return r.left(r.at().name)
}

// file reads a file and stores its content, unless another link or the base
// has it.
func (r *reader) file(it *item) error {
	e := &it.entry
	if e.First != 0 {
		e.Links = max(1, r.in.links[e.First])
		if e.Links == 1 {
			e.First = 0 // the others are not in the dataset
		}
	}
	if e.Links > 1 && e.First != r.number {
		r.later(it)
		return nil
	}
	if err := r.first(it); err != nil {
		return err
	}
	if e.Links > 1 {
		r.groups[r.number] = &group{*it, e.Links - 1}
	}
	return nil
}

// later completes a link after the first.
func (r *reader) later(it *item) {
	e, g := &it.entry, r.groups[it.entry.First]
	e.Root, e.At, e.Sum, e.Holes = g.entry.Root, g.entry.At, g.entry.Sum, g.entry.Holes
	e.Xattrs.Out, it.xattr = g.entry.Xattrs.Out, g.xattr
	if g.left--; g.left == 0 {
		delete(r.groups, e.First)
	}
}

// first completes a file that no other link has completed.
func (r *reader) first(it *item) error {
	e := &it.entry
	r.progress.tick(func() string { return r.path(e.Name) })
	base, err := r.lookup(r.ctx, e.Name, catalog.File)
	if err != nil {
		return err
	}
	if base == nil {
		base = &catalog.Entry{}
	}
	if err := r.content(it, base); err != nil {
		return err
	}
	r.progress.FilesRead++
	return r.xattrs(it, base)
}

// content reads a file: the only place that does.
func (r *reader) content(it *item, base *catalog.Entry) error {
	e := &it.entry
	fd, err := r.openat(e.Name, fileFlags)
	if err != nil {
		return r.fail("opening", e.Name, err)
	}
	defer unix.Close(fd)
	if err := r.unchanged(it, fd); err != nil {
		return err
	}
	if e.Size == 0 {
		e.Root, e.Sum = merkle.EmptyRoot, merkle.EmptyRoot
		return nil
	}
	kept := false
	if base.Size == e.Size {
		kept, err = r.keep(it, base, fd)
	}
	if err == nil && !kept {
		err = r.storeFile(it, fd)
	}
	if err != nil {
		return err
	}
	return r.unchanged(it, fd)
}

// unchanged reports if a file is not the one that was found.
func (r *reader) unchanged(it *item, fd int) error {
	var st unix.Stat_t
	_, err := retry(func() (int, error) { return 0, unix.Fstat(fd, &st) })
	if err == nil && stampOf(&st) != it.stamp {
		err = ErrChanged
	}
	if err != nil {
		return r.fail("reading", it.entry.Name, err)
	}
	return nil
}

// keep takes over a file's content from the base if it is the same. It lies
// there as the base's publisher stored it, holes or not.
func (r *reader) keep(it *item, base *catalog.Entry, fd int) (bool, error) {
	tree, err := r.build(it, fd, func(in io.Reader) (merkle.Tree, error) { return merkle.HashTree(in, r.TempDir) })
	if err != nil || tree.Root != base.Root {
		return false, err
	}
	e := &it.entry
	e.Root, e.Sum, e.At, e.Holes = tree.Root, tree.Sum, base.At, base.Holes
	r.res.FilesReused++
	r.progress.BytesRead += uint64(e.Size)
	return true, nil
}

// storeFile stores a file's content.
func (r *reader) storeFile(it *item, fd int) error {
	e := &it.entry
	tree, err := r.build(it, fd, func(in io.Reader) (tree merkle.Tree, err error) {
		tree, e.At, err = r.pack.tree(&counted{in, &r.progress.BytesRead}, r.TempDir)
		return tree, err
	})
	if err != nil {
		return err
	}
	e.Root, e.Sum = tree.Root, tree.Sum
	list, err := catalog.EncodeHoles(tree.Holes, tree.Size)
	if err != nil {
		return r.fail("reading", e.Name, err)
	}
	if len(list) <= catalog.MaxInline {
		e.Holes.Inline = tree.Holes
		return nil
	}
	e.Holes.Out, err = r.list(list, catalog.Extent{})
	return err
}

// build has f make a tree of the file's bytes, all of them and no others.
func (r *reader) build(it *item, fd int, f func(io.Reader) (merkle.Tree, error)) (merkle.Tree, error) {
	in := &fileBytes{r: r, fd: fd, name: it.entry.Name, left: it.entry.Size + 1}
	tree, err := f(in)
	if in.err != nil {
		return tree, r.fail("reading", it.entry.Name, in.err)
	}
	if err == nil && tree.Size != it.entry.Size {
		err = r.fail("reading", it.entry.Name, ErrChanged)
	}
	return tree, err
}

// xattrs puts a list of xattrs that is too long for its entry out of line.
func (r *reader) xattrs(it *item, base *catalog.Entry) (err error) {
	if len(it.xattr) > catalog.MaxInline {
		it.entry.Xattrs.Out, err = r.list(it.xattr, base.Xattrs.Out)
		it.xattr = nil
	}
	return err
}

// list stores a list that is out of line, unless the base has it at base.
func (r *reader) list(data []byte, base catalog.Extent) (catalog.Extent, error) {
	if base.Size == int64(len(data)) {
		tree, err := merkle.HashTree(bytes.NewReader(data), r.TempDir)
		if err != nil || tree.Root == base.Root {
			return base, err
		}
	}
	tree, at, err := r.pack.tree(bytes.NewReader(data), r.TempDir)
	return catalog.Extent{Size: tree.Size, Root: tree.Root, At: at}, err
}

// fileBytes reads an open file from its beginning, not much further than it
// was long.
type fileBytes struct {
	r    *reader
	fd   int
	name string
	at   int64
	left int64
	err  error // of reading the file, but for its end
}

func (c *fileBytes) Read(p []byte) (int, error) {
	if c.r.ctx.Err() != nil {
		return 0, context.Cause(c.r.ctx)
	}
	if c.left == 0 {
		return 0, io.EOF
	}
	c.r.progress.tick(func() string { return c.r.path(c.name) })
	n, err := retry(func() (int, error) { return unix.Pread(c.fd, p[:min(int64(len(p)), c.left)], c.at) })
	if err != nil {
		c.err = err
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	c.at, c.left = c.at+int64(n), c.left-int64(n)
	return n, nil
}

// counted adds to n what is read from r.
type counted struct {
	r io.Reader
	n *uint64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	*c.n += uint64(n)
	return n, err
}
