package fs

import (
	"context"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
)

// typeBits are the file type bits of a mode, by entry type.
var typeBits = map[catalog.Type]uint32{
	catalog.File: syscall.S_IFREG, catalog.Dir: syscall.S_IFDIR, catalog.Symlink: syscall.S_IFLNK,
}

// inode returns the number that stat(2) shows: the first link's.
func inode(e *catalog.Entry) uint64 {
	if e.Type == catalog.File && e.First != 0 {
		return e.First
	}
	return e.Number
}

// attr fills a with the attributes of e. It reads something only for a file
// whose list of holes is too long for the entry.
func (t *tree) attr(ctx context.Context, e *catalog.Entry, a *gofuse.Attr) error {
	*a = gofuse.Attr{
		Ino:   inode(e),
		Mode:  typeBits[e.Type] | uint32(e.Mode),
		Nlink: 1, // a directory with 1 link tells find(1) not to count on links
		Owner: gofuse.Owner{Uid: t.uid, Gid: t.gid},
		Size:  uint64(e.Size),

		// The chunk is the unit in which bytes are fetched and proven.
		Blksize: merkle.ChunkSize,

		// Times before 1970 are negative; the kernel takes the 64 bits as signed.
		Atime: uint64(e.Sec), Mtime: uint64(e.Sec), Ctime: uint64(e.Sec),
		Atimensec: e.Nsec, Mtimensec: e.Nsec, Ctimensec: e.Nsec,
	}
	stored := e.Size
	switch e.Type {
	case catalog.File:
		a.Nlink = max(1, e.Links)
		switch {
		case e.Holes.Out.Size > 0:
			f, err := t.file(ctx, e.Number)
			if err != nil {
				return err
			}
			stored = f.Layout().DataSize()
		default:
			for _, h := range e.Holes.Inline {
				stored -= h.Count * merkle.HoleSize
			}
		}
	case catalog.Symlink:
		a.Size, stored = uint64(len(e.Target)), 0
	}
	a.Blocks = uint64(max(0, stored)+511) / 512
	return nil
}
