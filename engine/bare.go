package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
)

// Attributes of what a Walrus blob is shown as.
const (
	xattrBlob       = "user.walrus.blob-id"    // top directory, and a blob's one file
	xattrIdentifier = "user.walrus.identifier" // of a patch, exactly as in the quilt
	xattrPatch      = "user.walrus.patch-id"
	xattrTag        = "user.walrus.tag." // and the tag's name
)

// What the kernel can carry.
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
	maxXattrList  = 64 << 10 // all names, each with a NUL
)

// bare is the tree that a Walrus blob is shown as.
type bare struct {
	blob    *Blob
	dirs    map[uint64][]catalog.Entry // sorted by name, by number of the directory
	patches map[uint64]walrus.Patch    // by number of the file; empty if the blob is its one file
}

// Dataset shows b as a tree: a directory with one file called by the blob's id
// that holds the blob, or if it is a quilt, with its patches. Content trees,
// BLAKE3 sums and positions in an address space there are none: those of the
// entries are zero. Modes are 0444 and 0555, times the beginning of 1970.
//
// A patch is at the path that its identifier is, slashes parting directories.
// An identifier that cannot be one is a name in the top directory, in which %,
// / and NUL are written %25, %2F and %00: if it has a part that is empty, "."
// or "..", longer than 255 bytes or has a NUL, if it has more than 4095 bytes or
// 64 parts, or if what should be one of its directories is a patch. "." and ".." are %2E and
// %2E. then. If that is empty, too long (it is cut short) or taken, the number of
// the patch's first column follows a ~, and if that is taken too, another ~ and
// a number.
//
// Attributes tell user.walrus.blob-id, and of patches user.walrus.identifier,
// user.walrus.patch-id and user.walrus.tag.NAME for each tag. Tags are left
// out from where names do not fit into 255 bytes, values into 64 KiB, or all
// names into 64 KiB, more than which the kernel does not carry.
//
// The default consistency check is part of it, in as far as the metadata
// alone tells; reading proves the rest. The error wraps walrus.ErrInconsistent
// if it fails. Sizes of patches are read from the quilt.
func (b *Blob) Dataset(ctx context.Context) (*Dataset, error) {
	d, err := b.dataset(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening blob %s: %w", b.id, err)
	}
	return d, nil
}

func (b *Blob) dataset(ctx context.Context) (*Dataset, error) {
	if err := b.meta.CheckZeroRows(); err != nil {
		return nil, err
	}
	t := &bare{blob: b, dirs: make(map[uint64][]catalog.Entry), patches: make(map[uint64]walrus.Patch)}
	top := branch{}
	patches, err := b.Patches(ctx)
	switch {
	case errors.Is(err, ErrNoQuilt):
		top.leaves = append(top.leaves, leaf{name: b.id.String(), size: int64(b.params.Size), xattrs: t.xattrs()})
	case err != nil:
		return nil, err
	default:
		sizes, err := b.sizes(ctx, patches)
		if err != nil {
			return nil, err
		}
		for i, path := range patchPaths(patches) {
			top.add(path, leaf{size: sizes[i], xattrs: patchXattrs(b.id, patches[i]), patch: &patches[i]})
		}
	}
	root := catalog.Entry{Number: catalog.RootNumber, Type: catalog.Dir, Mode: 0o555, Links: 1}
	root.Xattrs.Inline = t.xattrs()
	t.number(&root, &top)
	return &Dataset{
		e: b.e, id: b.id, bare: t, entries: make(map[uint64]*catalog.Entry),
		header: catalog.Header{Shards: b.params.N, Root: root},
	}, nil
}

// Blob returns the Walrus blob that d shows as it is, or nil if d is what Open
// returned.
func (d *Dataset) Blob() *Blob {
	if d.bare == nil {
		return nil
	}
	return d.bare.blob
}

func (t *bare) xattrs() []catalog.Xattr {
	return []catalog.Xattr{{Name: xattrBlob, Value: []byte(t.blob.id.String())}}
}

// patchXattrs returns the attributes of a patch, sorted by name.
func patchXattrs(quilt walrus.BlobID, x walrus.Patch) []catalog.Xattr {
	all := []catalog.Xattr{{Name: xattrIdentifier, Value: []byte(x.Identifier)}, {Name: xattrPatch, Value: []byte(x.ID(quilt).String())}}
	room := maxXattrList
	for _, a := range all {
		room -= len(a.Name) + 1
	}
	for _, tag := range slices.Sorted(maps.Keys(x.Tags)) {
		name, value := xattrTag+tag, x.Tags[tag]
		if len(name) > maxXattrName || len(name) >= room || len(value) > maxXattrValue || strings.Contains(name, "\x00") {
			continue
		}
		room -= len(name) + 1
		all = append(all, catalog.Xattr{Name: name, Value: []byte(value)})
	}
	return all
}

// A branch is a directory that is being made.
type branch struct {
	leaves   []leaf
	branches map[string]*branch
}

type leaf struct {
	name   string
	size   int64
	xattrs []catalog.Xattr
	patch  *walrus.Patch // nil: the whole blob
}

// add puts l at a path below b.
func (b *branch) add(path string, l leaf) {
	dir, rest, below := strings.Cut(path, "/")
	if !below {
		l.name = path
		b.leaves = append(b.leaves, l)
		return
	}
	if b.branches == nil {
		b.branches = make(map[string]*branch)
	}
	if b.branches[dir] == nil {
		b.branches[dir] = &branch{}
	}
	b.branches[dir].add(rest, l)
}

// number gives what is below dir its numbers and fills in the totals.
func (t *bare) number(dir *catalog.Entry, b *branch) {
	type child struct {
		catalog.Entry
		leaf   *leaf
		branch *branch
	}
	var children []child
	for i := range b.leaves {
		l := &b.leaves[i]
		children = append(children, child{catalog.Entry{Name: l.name, Type: catalog.File, Mode: 0o444, Links: 1, Size: l.size, Files: 1, Bytes: uint64(l.size), Xattrs: catalog.Xattrs{Inline: l.xattrs}}, l, nil})
	}
	for name, below := range b.branches {
		children = append(children, child{catalog.Entry{Name: name, Type: catalog.Dir, Mode: 0o555, Links: 1}, nil, below})
	}
	slices.SortFunc(children, func(x, y child) int { return strings.Compare(x.Name, y.Name) })
	entries := make([]catalog.Entry, 0, len(children))
	for _, c := range children {
		c.Number = dir.Number + dir.Entries + 1
		c.First = c.Number
		if c.leaf == nil {
			t.number(&c.Entry, c.branch)
		} else if c.leaf.patch != nil {
			t.patches[c.Number] = *c.leaf.patch
		}
		dir.Entries, dir.Files, dir.Bytes = dir.Entries+1+c.Entries, dir.Files+c.Files, dir.Bytes+c.Bytes
		if c.leaf != nil {
			c.Files, c.Bytes = 0, 0 // totals are those of directories
		}
		entries = append(entries, c.Entry)
	}
	t.dirs[dir.Number] = entries
}

// file returns a reader for e.
func (t *bare) file(ctx context.Context, e catalog.Entry) (*File, error) {
	x, isPatch := t.patches[e.Number]
	if !isPatch {
		return t.blob.file(e, walrus.Primary, 0)
	}
	f, err := t.blob.Patch(ctx, x)
	if err != nil {
		return nil, err
	}
	if f.entry.Size != e.Size {
		return nil, fmt.Errorf("%w: patch %q has %d bytes by its rows, %d by its columns", walrus.ErrInconsistent, x.Identifier, e.Size, f.entry.Size)
	}
	f.entry = e
	return f, nil
}

// A listing is the table of a directory that is in memory.
type listing struct {
	dir     catalog.Entry
	entries []catalog.Entry // sorted by name, and so by number
}

// Lookup implements table.
func (l listing) Lookup(_ context.Context, name string) (catalog.Entry, error) {
	i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].Name >= name })
	if i == len(l.entries) || l.entries[i].Name != name {
		return catalog.Entry{}, fs.ErrNotExist
	}
	return l.entries[i], nil
}

// ByNumber implements table.
func (l listing) ByNumber(_ context.Context, number uint64) (catalog.Entry, error) {
	if number <= l.dir.Number || number-l.dir.Number > l.dir.Entries {
		return catalog.Entry{}, fs.ErrNotExist
	}
	return l.entries[sort.Search(len(l.entries), func(i int) bool { return l.entries[i].Number > number })-1], nil
}

// List implements table.
func (l listing) List(_ context.Context, from uint64) iter.Seq2[catalog.Entry, error] {
	return func(yield func(catalog.Entry, error) bool) {
		i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].Number-l.dir.Number >= from })
		for _, e := range l.entries[i:] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Verify implements table.
func (l listing) Verify(ctx context.Context) iter.Seq2[catalog.Entry, error] { return l.List(ctx, 0) }
