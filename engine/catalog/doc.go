// Package catalog is what a directory holds and where each file's bytes lie.
//
// A directory's content is a table of entries in pages ([Table] reads it,
// [Builder] writes it), a dataset's first bytes are a [Header]. Whoever
// published a dataset may be hostile, so being proven is not enough: pages
// are checked as they are loaded, each against what the page above it says of
// it, before anything in them is used.
//
// # FORMAT: tables and headers, version 1
//
// Fixed integers are little-endian. A number written "varint" is an unsigned
// LEB128 of at most 64 bits in as few bytes as it needs. Every value has one
// encoding; anything else is refused, so what is parsed encodes to the same
// bytes again. TestGolden keeps the format where it is.
//
// Numbers. An entry's number is its place in pre-order over the dataset, the
// top directory's being 1. Tables store numbers relative to the directory,
// so that a subtree's tables are the same wherever it hangs: its first child
// is 1, and each child follows the last number below the one before. The
// numbers below a directory are exactly 1 to its total of entries.
//
// Table. A directory's content tree, without holes, is its table: pages of
// 16384 bytes, filled up with zeros, but for the last page, which ends where
// its records end. Leaf pages come first, in the order of their names, then
// the index pages over them, then those over these, until a level has a
// single page; that is the last page, the root of the index. A table of one
// page is one leaf. An empty directory's table has no bytes and no page.
//
//	page:
//	  u8      level: 0 leaf, 1 index over leaves, 2 over those, at most 8
//	  u8      zero
//	  u16     n, number of records; 1 or more, in an index's root 2 or more
//	  u64     relative number of the first record
//	  u64     index pages only: page number of the first record's child;
//	          the others' follow, one each. The last child of the root is
//	          the page before it; every child comes before its parent.
//	  n u16   where each record begins, counted from the page's first byte
//	  records, without gaps, in strictly ascending order of names (bytewise)
//
//	index record: what the child page begins with
//	  u8      length of name; name
//	  varint  relative number, less the page's
//
//	leaf record: an entry
//	  u8      length of name, 1 to 255; name: no '/', no NUL, not . or ..
//	  varint  relative number, less the page's
//	  u16     bits 0-8 mode, 9-10 type (0 file, 1 directory, 2 symlink),
//	          11 nanoseconds follow, 12 file: hard-link group follows,
//	          13 file: holes follow, 14 xattrs follow, 15 zero
//	  varint  seconds since 1970, zigzag (0, -1, 1, -2 ...), within 2^40
//	  [u32]   nanoseconds, 1 to 999999999
//	  file:
//	    varint  size, at most 2^63-1-4096
//	    [32]    root, if size > 0
//	    varint  position / 512, if size > 0
//	    [32]    BLAKE3 of the file, if size > 16384; else it is the root
//	    [group] varint: own number less the group's first link's;
//	            varint: links in the dataset, 2 to 2^32-1
//	    [holes] list
//	  directory:
//	    varint  size of the table; 0 ends these fields
//	    [32]    root of the table
//	    varint  position / 512
//	    varint  entries, files, bytes below it, one varint each: all entries,
//	            those that are files, and the sum of their sizes (a file
//	            with several links counts once for each)
//	  symlink:
//	    varint  length of target, 1 to 4095; target: no NUL
//	  [xattrs] list
//
//	list: one of
//	  varint  length, 1 to 1024; that many bytes of the list itself
//	  u8      zero; varint: length, over 1024; [32] root; varint position/512:
//	          the content tree that holds the list
//
//	list of holes, at most 4 MiB: per hole, in units of 1 MiB,
//	  varint  start, less the end of the hole before (0: the file's start);
//	          zero only for the first
//	  varint  count, 1 or more
//
//	list of xattrs, at most 64 KiB: per xattr, names strictly ascending,
//	  u8      length of name; name: begins with "user.", not "user.floe.",
//	          and goes on, without NUL
//	  varint  length of value; value
//
// Header. The header blob begins with 4096 bytes:
//
//	 0  [8]  "FLOEDATA"
//	 8  u32  version, 1
//	12  u32  size of the header, 4096
//	16  u32  size of a chunk, 16384
//	20  u16  shards of the committee that blobs are encoded for, not zero
//	22  u16  zero
//	24  u64  B, the bytes of address space of a blob: a multiple of 16384,
//	         at most 2^40
//	32  u64  blobs in the blob table
//	40  u64  lists: 0, or how many blobs hold the blob table
//	48  u16  length of the root entry
//	50       root entry: a leaf record without name and number, a directory
//	         zeros up to 4096
//
// From byte 4096 to the end of the header blob follows the blob table, one
// record of 40 bytes for each blob, without the header blob itself:
//
//	 0  [32] blob id
//	32  u64  length, 1 to B
//
// Blob i holds the positions [i*B, i*B+length) of the address space; those up
// to (i+1)*B do not exist. If header and blob table are more than B bytes
// (and only then), the records after the header name the lists instead: blobs
// that hold the blob table, B/40 whole records each but for the last, which
// holds the rest.
package catalog
