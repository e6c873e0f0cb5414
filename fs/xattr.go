package fs

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/floefs/floe/engine/catalog"
)

// Attributes that no dataset stores, but every mount shows to whoever asks
// for them by name; of a Walrus blob as it is only the last. Listings hide
// them, so that copies do not take them along.
const (
	xattrDataset = "user.floe.dataset" // top directory: the dataset's id
	xattrRoot    = "user.floe.root"    // files and directories: root of the content tree, in hex
	xattrSum     = "user.floe.b3"      // files: BLAKE3 of the whole file, what b3sum prints
	xattrCached  = "user.floe.cached"  // files: bytes at hand without the network, "/", bytes
)

// GetXAttr implements GETXATTR.
func (t *tree) GetXAttr(_ <-chan struct{}, h *gofuse.InHeader, name string, dest []byte) (uint32, gofuse.Status) {
	// Of security. and system. attributes there are none and never will be:
	// EOPNOTSUPP says so once, ENODATA would have ls ask for every file.
	if !strings.HasPrefix(name, "user.") {
		return 0, gofuse.Status(syscall.EOPNOTSUPP)
	}
	if name == "user." { // what the kernel says of it for file systems of its own
		return 0, gofuse.EINVAL
	}
	r := t.request(h)
	e, err := t.entry(r.ctx, h.NodeId)
	if err != nil {
		return 0, t.status(r, err)
	}
	if strings.HasPrefix(name, "user.floe.") {
		v, err := t.virtual(r.ctx, &e, name)
		if err != nil {
			return 0, t.status(r, err)
		}
		if v == "" {
			return 0, gofuse.ENODATA
		}
		return answer(dest, []byte(v))
	}
	xs, err := t.ds.Xattrs(r.ctx, e)
	if err != nil {
		return 0, t.status(r, err)
	}
	for _, x := range xs {
		if x.Name == name {
			return answer(dest, x.Value)
		}
	}
	return 0, gofuse.ENODATA
}

// virtual returns the value of an attribute that only mounts have; empty if e
// has none of that name.
func (t *tree) virtual(ctx context.Context, e *catalog.Entry, name string) (string, error) {
	bare := t.ds.Blob() != nil // without content trees
	switch {
	case bare && name != xattrCached:
	case name == xattrDataset && e.Number == t.root.Number:
		return t.ds.ID().String(), nil
	case name == xattrRoot && e.Type != catalog.Symlink:
		return e.Root.String(), nil
	case name == xattrSum && e.Type == catalog.File:
		return e.Sum.String(), nil
	case name == xattrCached && e.Type == catalog.File:
		f, err := t.file(ctx, e.Number)
		if err != nil {
			return "", err
		}
		cached, total, err := f.Cached(ctx, 0, f.Entry().Size)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d/%d", cached, total), nil
	}
	return "", nil
}

// ListXAttr implements LISTXATTR.
func (t *tree) ListXAttr(_ <-chan struct{}, h *gofuse.InHeader, dest []byte) (uint32, gofuse.Status) {
	r := t.request(h)
	e, err := t.entry(r.ctx, h.NodeId)
	if err != nil {
		return 0, t.status(r, err)
	}
	xs, err := t.ds.Xattrs(r.ctx, e)
	if err != nil {
		return 0, t.status(r, err)
	}
	var names []byte
	for _, x := range xs {
		names = append(append(names, x.Name...), 0)
	}
	return answer(dest, names)
}

// answer copies v to dest, or says how much room it takes.
func answer(dest, v []byte) (uint32, gofuse.Status) {
	if len(dest) < len(v) {
		return uint32(len(v)), gofuse.ERANGE
	}
	return uint32(copy(dest, v)), gofuse.OK
}
