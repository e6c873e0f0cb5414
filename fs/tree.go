package fs

import (
	"context"
	"errors"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
)

// forever is how long the kernel may keep names and attributes.
const forever = time.Duration(1 << 62)

// A tree answers, by way of go-fuse, everything but reads of files. It holds
// no state of the kernel's: node numbers are entry numbers.
type tree struct {
	gofuse.RawFileSystem // ENOSYS for what a read-only mount is never asked

	ds       *engine.Dataset
	root     catalog.Entry
	loop     *loop
	uid, gid uint32
	files    files
}

func newTree(d *engine.Dataset, l *loop, o *Options) *tree {
	return &tree{
		RawFileSystem: gofuse.NewDefaultRawFileSystem(),
		ds:            d, root: d.Root(), loop: l, uid: *o.UID, gid: *o.GID,
		files: files{by: make(map[uint64]*engine.File)},
	}
}

func (t *tree) String() string { return "floe" }

// entry returns the entry of a node number.
func (t *tree) entry(ctx context.Context, node uint64) (catalog.Entry, error) {
	if node == t.root.Number {
		return t.root, nil
	}
	return t.ds.Entry(ctx, node)
}

// path returns an entry's path for the log, where it can be had at once.
func (t *tree) path(node uint64) string {
	ctx, cancel := context.WithTimeout(t.loop.life, 100*time.Millisecond)
	defer cancel()
	p, err := t.ds.Path(ctx, node)
	if err != nil {
		return "?"
	}
	return p
}

// request returns the request that go-fuse is calling us for.
func (t *tree) request(h *gofuse.InHeader) *request { return t.loop.requests.get(h.Unique) }

// status returns what the kernel is told of err.
func (t *tree) status(r *request, err error) gofuse.Status {
	if err == nil {
		return gofuse.OK
	}
	return gofuse.Status(t.loop.errno(r, err))
}

// Lookup implements LOOKUP. A name that is not there is answered with node 0,
// which the kernel keeps like any other answer.
func (t *tree) Lookup(_ <-chan struct{}, h *gofuse.InHeader, name string, out *gofuse.EntryOut) gofuse.Status {
	if len(name) > catalog.MaxName {
		return gofuse.Status(syscall.ENAMETOOLONG)
	}
	r := t.request(h)
	dir, err := t.entry(r.ctx, h.NodeId)
	if err != nil {
		return t.status(r, err)
	}
	if dir.Type != catalog.Dir {
		return gofuse.ENOTDIR
	}
	e, err := t.ds.Lookup(r.ctx, dir, name)
	switch {
	case isAbsent(err):
		*out = gofuse.EntryOut{}
		out.SetEntryTimeout(forever)
		return gofuse.OK
	case err != nil:
		return t.status(r, err)
	}
	return t.status(r, t.describe(r.ctx, &e, out))
}

// describe fills the answer to a lookup of e.
func (t *tree) describe(ctx context.Context, e *catalog.Entry, out *gofuse.EntryOut) error {
	*out = gofuse.EntryOut{NodeId: e.Number}
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	return t.attr(ctx, e, &out.Attr)
}

// GetAttr implements GETATTR.
func (t *tree) GetAttr(_ <-chan struct{}, in *gofuse.GetAttrIn, out *gofuse.AttrOut) gofuse.Status {
	r := t.request(&in.InHeader)
	e, err := t.entry(r.ctx, in.NodeId)
	if err != nil {
		return t.status(r, err)
	}
	out.SetTimeout(forever)
	return t.status(r, t.attr(r.ctx, &e, &out.Attr))
}

// Readlink implements READLINK.
func (t *tree) Readlink(_ <-chan struct{}, h *gofuse.InHeader) ([]byte, gofuse.Status) {
	r := t.request(h)
	e, err := t.entry(r.ctx, h.NodeId)
	if err != nil {
		return nil, t.status(r, err)
	}
	if e.Type != catalog.Symlink {
		return nil, gofuse.EINVAL
	}
	return []byte(e.Target), gofuse.OK
}

// Access is not asked under default_permissions.
func (t *tree) Access(<-chan struct{}, *gofuse.AccessIn) gofuse.Status { return gofuse.OK }

// statfsBlock is the unit of what StatFs reports.
const statfsBlock = 4096

// StatFs implements STATFS, from memory: df must not hang with the network.
func (t *tree) StatFs(_ <-chan struct{}, _ *gofuse.InHeader, out *gofuse.StatfsOut) gofuse.Status {
	*out = gofuse.StatfsOut{
		Bsize: statfsBlock, Frsize: statfsBlock, NameLen: catalog.MaxName,
		Blocks: t.root.Bytes/statfsBlock + min(1, t.root.Bytes%statfsBlock),
		Files:  t.root.Entries + 1,
	}
	return gofuse.OK
}

// Lseek implements LSEEK, which the kernel sends for SEEK_DATA and SEEK_HOLE.
func (t *tree) Lseek(_ <-chan struct{}, in *gofuse.LseekIn, out *gofuse.LseekOut) gofuse.Status {
	const seekData, seekHole = 3, 4
	r := t.request(&in.InHeader)
	f, err := t.file(r.ctx, in.NodeId)
	if err != nil {
		return t.status(r, err)
	}
	var at int64
	var ok bool
	switch in.Whence {
	case seekData:
		at, ok = f.Layout().NextData(int64(in.Offset))
	case seekHole:
		at, ok = f.Layout().NextHole(int64(in.Offset))
	default:
		return gofuse.EINVAL
	}
	if !ok {
		return gofuse.Status(syscall.ENXIO)
	}
	out.Offset = uint64(at)
	return gofuse.OK
}

var errNotFile = errors.New("not a file")
