package flip

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
)

// The layout of a bbolt file, as far as it takes to make a page point at
// itself. Pages begin with: page u64, flags u16, count u16, overflow u32.
const (
	pageSize   = 4096
	pageHeader = 16
	element    = 16 // branch: pos, ksize u32, page u64; leaf: flags, pos, ksize, vsize u32

	branchPage, leafPage = 1, 2
)

var native = binary.NativeEndian

// loop makes a page of the index at path, one that bbolt would follow, point
// at itself. what is told how.
func (im *image) loop(rng *rand.Rand, path string, what *string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	page := func(id uint64) []byte { return data[id*pageSize:][:pageSize] }
	kind := func(p []byte) uint16 { return native.Uint16(p[8:]) }

	// The newer of the two meta pages names the root, a leaf page of buckets.
	meta := page(0)[pageHeader:]
	if other := page(1)[pageHeader:]; native.Uint64(other[48:]) > native.Uint64(meta[48:]) {
		meta = other
	}
	root := native.Uint64(meta[16:])
	if kind(page(root)) != leafPage {
		return fmt.Errorf("page %d, the root, is of kind %d", root, kind(page(root)))
	}
	var bucket []byte // what the root says of the bucket of segments: its root page
	for i := range int(native.Uint16(page(root)[10:])) {
		e := page(root)[pageHeader+i*element:]
		key := e[native.Uint32(e[4:]):][:native.Uint32(e[8:])]
		if string(key) == "segments" {
			bucket = e[int(native.Uint32(e[4:]))+len(key):]
		}
	}
	if bucket == nil {
		return fmt.Errorf("no bucket of segments")
	}
	top := native.Uint64(bucket)
	branch := page(top)
	if kind(branch) != branchPage {
		return fmt.Errorf("page %d, the top of the segments, is of kind %d", top, kind(branch))
	}
	children := int(native.Uint16(branch[10:]))
	child := func(i int) []byte { return branch[pageHeader+i*element+8:] }
	switch i := rng.IntN(children); rng.IntN(4) {
	case 0:
		*what = fmt.Sprintf("child %d of branch page %d", i, top)
		native.PutUint64(child(i), top)
	case 1:
		id := native.Uint64(child(i))
		*what = fmt.Sprintf("leaf page %d made a branch", id)
		p := page(id)
		e := p[pageHeader:]
		pos, ksize := native.Uint32(e[4:]), native.Uint32(e[8:])
		native.PutUint16(p[8:], branchPage)
		native.PutUint16(p[10:], 1)
		native.PutUint32(e[0:], pos)
		native.PutUint32(e[4:], ksize)
		native.PutUint64(e[8:], id)
	case 2:
		*what = fmt.Sprintf("all children of branch page %d", top)
		for i := range children {
			native.PutUint64(child(i), top)
		}
	case 3:
		*what = fmt.Sprintf("bucket in page %d", root)
		native.PutUint64(bucket, root)
	}
	return os.WriteFile(path, data, 0o600)
}
