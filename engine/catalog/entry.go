package catalog

import "github.com/floefs/floe/merkle"

// RootNumber is the number of a dataset's top directory.
const RootNumber = 1

// Limits of version 1. What lies beyond them is refused by readers, so
// publishers must not write it.
const (
	MaxEntries = 1 << 62           // entries of a dataset
	MaxSize    = 1<<63 - 1<<12 - 1 // bytes of a file
	MaxName    = 255               // bytes of a name
	MaxTarget  = 4095              // bytes of a symlink's target
	MaxMode    = 0o777
	MaxTime    = 1 << 40  // seconds before or after 1970 of a modification time
	MaxInline  = 1 << 10  // bytes of an encoded list kept in the entry
	MaxHoles   = 4 << 20  // bytes of an encoded list of holes
	MaxXattrs  = 64 << 10 // bytes of an encoded list of xattrs
)

// Type is what an entry is.
type Type uint8

const (
	File Type = iota
	Dir
	Symlink
)

// An Entry is one name in a directory, and all there is to know about it.
type Entry struct {
	Name string // 1 to 255 bytes, any but '/' and NUL; empty for the top directory

	// Number is the entry's position in pre-order over the whole dataset, the
	// top directory's being RootNumber. It is unique, stable, and the FUSE
	// node number. Tables store it relative to the directory; readers add.
	Number uint64

	Type Type
	Mode uint16 // permission bits, at most 0777
	Sec  int64  // modification time, seconds since 1970
	Nsec uint32 // and nanoseconds, below 1e9

	// Size, Root and At name the content tree of a file or a directory's
	// table: bytes, root hash, position in the dataset's address space (a
	// multiple of merkle.Align). Without bytes the root is merkle.EmptyRoot
	// and the position 0. A symlink has only Target.
	Size   int64
	Root   merkle.Hash
	At     int64
	Target string

	Sum   merkle.Hash // files: BLAKE3 of the whole file; the publisher's claim until verified
	Holes Holes       // files

	// First is the number of the first link of a hard-link group and Links
	// their count; an entry without other links is its own first of one.
	First uint64
	Links uint32

	Xattrs Xattrs

	// Totals below a directory, itself not counted; a file with several
	// links counts once for each. Its numbers are [Number, Number+Entries].
	Entries, Files uint64
	Bytes          uint64
}

// An Extent is a content tree somewhere in the dataset.
type Extent struct {
	Size int64
	Root merkle.Hash
	At   int64
}

// Holes lists a file's holes: inline, or, if the encoded list is longer than
// 1 KiB, in a tree of its own (Out.Size > 0).
type Holes struct {
	Inline []merkle.Hole
	Out    Extent
}

// Xattrs lists user. attributes: inline, or, if the encoded list is longer
// than 1 KiB, in a tree of its own (Out.Size > 0).
type Xattrs struct {
	Inline []Xattr
	Out    Extent
}

// An Xattr is an extended attribute. Its name starts with "user.".
type Xattr struct {
	Name  string
	Value []byte
}
