// Package cachestore keeps proven chunks on local disk, within a budget; bbolt
// is its database.
//
// What it has is a hint. Every chunk that leaves the disk is proven against
// the hash its reader brings, in the reader's own buffer, before it is
// returned. So nothing here has to be synced, locked or trusted to be safe:
// a chunk that was torn, lost, overwritten or forged is one that is not there.
// No failure of the disk is an error of a read or a put.
//
// # Where bytes lie
//
// Each blob has a sparse file, in which a chunk lies at the position it has in
// the blob. Chunks start at multiples of 512 bytes and are found, kept and
// given back by segments of 1 MiB. A chunk belongs to the segment it starts
// in; it may reach into the next one and goes when either goes. bbolt holds
// which starts of a segment are present. It is loaded once and from then on
// only written, a batch at a time, after the bytes; given back is first in the
// database, then on disk.
//
// bbolt does not notice when its file is damaged, and may end the process. So
// every entry has a checksum, and the file's pages are checked before bbolt
// sees them. A file that fails is put aside; what could be read of it goes
// into a new one, and the chunks it does not name are found by looking: a
// hole reads as zeros, which prove nothing.
//
// # Many processes
//
// Any number of processes may use one directory. The first locks it and owns
// the index; it alone gives space back. The others have no index: they find
// chunks by looking, write the chunks they have proven into the same files,
// and tell the owner by a datagram that may be lost. All claim the bytes they
// are about to write in one ledger, so that together they keep to the budget. When the owner ends,
// another has the lock within a second. Nobody waits for anybody.
//
// # FORMAT: cache directory, version 1
//
// Integers are little-endian unless said otherwise.
//
//	floe-cache         says that the directory is a cache; text
//	v1/                what this version keeps; other versions lie beside it
//	v1/lock            locked (flock) by the owner; holds the ledger: bytes used
//	                   u64, bytes allowed u64, bytes claimed u64; whoever is at it
//	                   has a lock (fcntl, of the open file) on its 24 bytes
//	v1/index.db        bbolt, pages of 4096 bytes
//	v1/index.bad       the last index that was put aside
//	v1/socket          Unix datagram socket of the owner
//	v1/blobs/BLOB      the bytes of a blob, BLOB being its key in lower-case hex
//	v1/meta/BLOB.NAME  metadata of a blob; NAME is 1-32 of a-z, 0-9 and -
//	v1/pins/BLOB-BY    empty: BY, a key of the caller's choosing, pins BLOB
//
// The index has two buckets. "info" holds one key, "secret": 32 random bytes,
// then the first 8 bytes of BLAKE3("floe cache secret" + secret). "segments"
// holds an entry per segment:
//
//	key    blob        32 bytes
//	       segment     u32 big-endian; it begins at byte segment << 20
//	value  stamp       u32; the higher, the later it was used
//	       flags       u8; 1: the file may hold chunks that are not named here
//	       classes     u32; bit c: chunks of class c are present
//	       starts      u64 for each bit in classes, from the lowest; not zero;
//	                   bit b: the chunk at byte 512*(c + 32*b) is present
//	       checksum    first 8 bytes of BLAKE3(secret + key + value so far)
//
// A datagram holds 1 to 64 notices. A notice is 49 bytes: "FCN1", kind u8 (1: put, 2: used, 3: no room), blob 32 bytes,
// offset u64, chunks u32.
package cachestore
