package fs

import (
	"errors"
	iofs "io/fs"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/floefs/floe/engine/catalog"
)

// Positions in a directory. What getdents(2) shows with a name, and what
// seekdir(3) gives back, is the position behind it: 1 behind ".", 2 behind
// "..", and the relative number plus 2 behind every other, so that names
// after position p are those with a relative number of at least p-1.
const (
	behindDot    = 1
	behindDotDot = 2
)

// ReadDir implements READDIR.
func (t *tree) ReadDir(_ <-chan struct{}, in *gofuse.ReadIn, out *gofuse.DirEntryList) gofuse.Status {
	return t.list(in, func(d gofuse.DirEntry, _ *catalog.Entry) bool { return out.AddDirEntry(d) })
}

// ReadDirPlus implements READDIRPLUS: READDIR with a LOOKUP of every name.
func (t *tree) ReadDirPlus(_ <-chan struct{}, in *gofuse.ReadIn, out *gofuse.DirEntryList) gofuse.Status {
	r := t.request(&in.InHeader)
	return t.list(in, func(d gofuse.DirEntry, e *catalog.Entry) bool {
		o := out.AddDirLookupEntry(d)
		if o == nil {
			return false
		}
		// Node 0 says "no attributes": for "." and "..", of which the kernel
		// wants none, and where they would take another read.
		if e == nil || e.Holes.Out.Size > 0 || t.describe(r.ctx, e, o) != nil {
			*o = gofuse.EntryOut{}
		}
		return true
	})
}

// list gives add the names of a directory from in.Offset on until it refuses
// one. e is nil for "." and "..".
func (t *tree) list(in *gofuse.ReadIn, add func(d gofuse.DirEntry, e *catalog.Entry) bool) gofuse.Status {
	r := t.request(&in.InHeader)
	dir, err := t.entry(r.ctx, in.NodeId)
	if err != nil {
		return t.status(r, err)
	}
	if dir.Type != catalog.Dir {
		return gofuse.ENOTDIR
	}
	at := in.Offset
	if at < behindDot {
		if !add(gofuse.DirEntry{Name: ".", Ino: dir.Number, Mode: syscall.S_IFDIR, Off: behindDot}, nil) {
			return gofuse.EINVAL
		}
		at = behindDot
	}
	if at < behindDotDot {
		parent, err := t.ds.Parent(r.ctx, dir.Number)
		if err != nil {
			return t.status(r, err)
		}
		if !add(gofuse.DirEntry{Name: "..", Ino: parent, Mode: syscall.S_IFDIR, Off: behindDotDot}, nil) {
			return gofuse.OK
		}
		at = behindDotDot
	}
	some := at > in.Offset
	for e, err := range t.ds.List(r.ctx, dir, at-1) {
		if err != nil {
			if some {
				return gofuse.OK // what there is; the next call meets the error
			}
			return t.status(r, err)
		}
		d := gofuse.DirEntry{Name: e.Name, Ino: inode(&e), Mode: typeBits[e.Type], Off: e.Number - dir.Number + behindDotDot}
		if !add(d, &e) {
			break
		}
		some = true
	}
	return gofuse.OK
}

func isAbsent(err error) bool { return errors.Is(err, iofs.ErrNotExist) }
