package cachestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file, version 2, as far as the check needs it.
// Integers are in the machine's byte order.
const (
	pageSize     = 4096
	pageHeader   = 16      // id u64, flags u16, count u16, overflow u32
	pageElem     = 16      // branch: pos u32, ksize u32, page u64; leaf: flags u32, pos u32, ksize u32, vsize u32
	metaLen      = 64      // magic, version, page size, flags u32; root, sequence, freelist, pages, txid, fnv-1a u64
	maxPages     = 1 << 24 // 64 GiB, 600 times the index of a cache of 1 TiB
	maxOverflow  = 16      // of tree pages, which bbolt splits at one page
	maxFreePages = 1 << 15 // of the free list, 128 MiB
	maxDepth     = 32

	flagBranch, flagLeaf, flagMeta, flagFree = 0x01, 0x02, 0x04, 0x10

	bboltMagic   = 0xED0CDAED
	bboltVersion = 2
	bucketElem   = 1  // flag of a leaf element that holds a bucket
	bucketHeader = 16 // root page u64 (0: the page follows inline), sequence u64
)

var order = binary.NativeEndian

// walkGraph reads the pages of a bbolt file of the given size and calls visit
// for every key and value it finds, by bucket, in the order of the pages. The
// slices are valid during the call.
//
// It returns nil only if bbolt can follow every page of the file: each lies in
// the file, is of the type and place it says, is reached once or free, and
// holds elements within its bounds in order of their keys. A file that fails
// must not be given to bbolt: it maps the file, trusts what it finds there,
// and a page that points at itself ends the process. What could be read of
// such a file is visited nevertheless.
func walkGraph(r io.ReaderAt, size int64, visit func(bucket, key, value []byte)) error {
	g := &graph{r: r, visit: visit}
	root, free, err := g.metas(size)
	if err != nil {
		return err
	}
	g.seen = make([]uint64, (g.pages+63)/64)
	g.take(0, 2)
	g.freelist(free)
	g.tree(root, nil, nil, nil, 0)
	if g.err == nil && g.taken != g.pages {
		g.fault("%d pages are neither used nor free", g.pages-g.taken)
	}
	return g.err
}

type graph struct {
	r     io.ReaderAt
	visit func(bucket, key, value []byte)
	pages uint64   // in use or free; bbolt's high-water mark
	seen  []uint64 // a bit per page
	taken uint64   // bits set in seen
	err   error    // the first fault
}

func (g *graph) fault(format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf(format, args...)
	}
}

// metas checks both meta pages and returns what the newer one points at.
func (g *graph) metas(size int64) (root, free uint64, err error) {
	var newest uint64
	for i := range int64(2) {
		var p [pageHeader + metaLen]byte
		if _, err := g.r.ReadAt(p[:], i*pageSize); err != nil {
			return 0, 0, fmt.Errorf("reading meta page %d: %w", i, err)
		}
		m := p[pageHeader:]
		sum := fnv.New64a()
		sum.Write(m[:metaLen-8])
		switch {
		case order.Uint64(p[0:]) != uint64(i) || order.Uint16(p[8:]) != flagMeta:
			return 0, 0, fmt.Errorf("page %d is not a meta page", i)
		case order.Uint32(m[0:]) != bboltMagic || order.Uint32(m[4:]) != bboltVersion || order.Uint32(m[8:]) != pageSize:
			return 0, 0, fmt.Errorf("meta page %d is of another format", i)
		case order.Uint64(m[56:]) != sum.Sum64():
			return 0, 0, fmt.Errorf("meta page %d does not match its checksum", i)
		}
		if txid := order.Uint64(m[48:]); i == 0 || txid > newest {
			newest = txid
			root, free, g.pages = order.Uint64(m[16:]), order.Uint64(m[32:]), order.Uint64(m[40:])
		}
	}
	if g.pages < 4 || g.pages > maxPages || int64(g.pages)*pageSize > size {
		return 0, 0, fmt.Errorf("%d pages in a file of %d bytes", g.pages, size)
	}
	return root, free, nil
}

// take marks pages [id, id+n) as accounted for. It returns false if one of
// them lies outside the file or has been met before.
func (g *graph) take(id, n uint64) bool {
	if id >= g.pages || n > g.pages-id {
		g.fault("page %d lies outside the file", id)
		return false
	}
	for i := id; i < id+n; i++ {
		if g.seen[i/64]&(1<<(i%64)) != 0 {
			g.fault("page %d is met twice", i)
			return false
		}
		g.seen[i/64] |= 1 << (i % 64)
		g.taken++
	}
	return true
}

// page reads page id with its overflow.
func (g *graph) page(id uint64, overflow uint64) (p []byte, count int, ok bool) {
	if id < 2 || id >= g.pages {
		g.fault("page %d lies outside the file", id)
		return nil, 0, false
	}
	p = make([]byte, pageSize)
	if _, err := g.r.ReadAt(p, int64(id)*pageSize); err != nil {
		g.fault("reading page %d: %w", id, err)
		return nil, 0, false
	}
	more := uint64(order.Uint32(p[12:]))
	if order.Uint64(p) != id || more > overflow {
		g.fault("page %d says it is page %d, with %d more", id, order.Uint64(p), more)
		return nil, 0, false
	}
	if !g.take(id, 1+more) {
		return nil, 0, false
	}
	if more > 0 {
		p = append(p, make([]byte, more*pageSize)...)
		if _, err := g.r.ReadAt(p, int64(id)*pageSize); err != nil {
			g.fault("reading page %d: %w", id, err)
			return nil, 0, false
		}
	}
	return p, int(order.Uint16(p[10:])), true
}

// freelist checks the list of free pages.
func (g *graph) freelist(id uint64) {
	p, count, ok := g.page(id, maxFreePages)
	if !ok {
		return
	}
	ids := p[pageHeader:]
	if order.Uint16(p[8:]) != flagFree {
		g.fault("page %d is not a free list", id)
		return
	}
	n := uint64(count)
	if n == 0xFFFF {
		n = order.Uint64(ids)
		ids = ids[8:]
	}
	if n > uint64(len(ids)/8) {
		g.fault("free list of %d pages is too long", n)
		return
	}
	var last uint64 = 1
	for i := range n {
		id := order.Uint64(ids[8*i:])
		if id <= last {
			g.fault("free list is out of order")
			return
		}
		if last = id; !g.take(id, 1) {
			return
		}
	}
}

// tree checks the pages below page id, whose keys must lie in [low, high).
// bucket is nil for the root, whose elements are all buckets.
func (g *graph) tree(id uint64, bucket, low, high []byte, depth int) {
	if depth > maxDepth {
		g.fault("page %d lies too deep", id)
		return
	}
	p, count, ok := g.page(id, maxOverflow)
	if !ok {
		return
	}
	switch order.Uint16(p[8:]) {
	case flagLeaf:
		g.leaf(p, count, bucket, low, high, depth)
	case flagBranch:
		if count == 0 {
			g.fault("branch page %d is empty", id)
		}
		keys, children := make([][]byte, 0, count), make([]uint64, 0, count)
		for i := range count {
			at := pageHeader + i*pageElem
			if at+pageElem > len(p) {
				g.fault("branch page %d has too many elements", id)
				break
			}
			e := p[at:]
			key, _, err := element(p, count, at, order.Uint32(e), order.Uint32(e[4:]), 0)
			if err == nil {
				low, err = inOrder(key, low, high, i == 0)
			}
			if err != nil {
				g.fault("branch page %d: %w", id, err)
				continue
			}
			keys, children = append(keys, key), append(children, order.Uint64(e[8:]))
		}
		for i, child := range children {
			upper := high
			if i+1 < len(keys) {
				upper = keys[i+1]
			}
			g.tree(child, bucket, keys[i], upper, depth+1)
		}
	default:
		g.fault("page %d is neither branch nor leaf", id)
	}
}

// leaf checks the elements of a leaf page and visits them.
func (g *graph) leaf(p []byte, count int, bucket, low, high []byte, depth int) {
	for i := range count {
		at := pageHeader + i*pageElem
		if at+pageElem > len(p) {
			g.fault("leaf page has too many elements")
			return
		}
		e := p[at:]
		flags := order.Uint32(e)
		key, value, err := element(p, count, at, order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:]))
		if err == nil {
			low, err = inOrder(key, low, high, i == 0)
		}
		switch {
		case err != nil:
			g.fault("leaf page: %w", err)
		case bucket != nil && flags == 0:
			g.visit(bucket, key, value)
		case bucket == nil && flags == bucketElem && len(value) >= bucketHeader:
			g.bucket(key, value, depth)
		default:
			g.fault("leaf page: element has flags %#x", flags)
		}
	}
}

// bucket checks a bucket of the root.
func (g *graph) bucket(name, value []byte, depth int) {
	if root := order.Uint64(value); root != 0 {
		if len(value) != bucketHeader {
			g.fault("bucket is both inline and not")
			return
		}
		g.tree(root, name, nil, nil, depth+1)
		return
	}
	p := value[bucketHeader:]
	if len(p) < pageHeader || order.Uint64(p) != 0 || order.Uint16(p[8:]) != flagLeaf || order.Uint32(p[12:]) != 0 {
		g.fault("inline bucket is not a leaf page")
		return
	}
	g.leaf(p, int(order.Uint16(p[10:])), name, nil, nil, depth)
}

var (
	errBounds = errors.New("element lies outside its page")
	errOrder  = errors.New("keys are out of order")
)

// element returns the key and value of the element at p[at:], which lie pos
// bytes behind it.
func element(p []byte, count, at int, pos, ksize, vsize uint32) (key, value []byte, err error) {
	from := int64(at) + int64(pos)
	end := from + int64(ksize) + int64(vsize)
	if ksize == 0 || from < int64(pageHeader+count*pageElem) || end > int64(len(p)) {
		return nil, nil, errBounds
	}
	return p[from : from+int64(ksize)], p[from+int64(ksize) : end], nil
}

// inOrder returns key if it lies in [low, high), or in (low, high) unless it
// is the first of its page.
func inOrder(key, low, high []byte, first bool) ([]byte, error) {
	if low != nil {
		if c := bytes.Compare(low, key); c > 0 || c == 0 && !first {
			return low, errOrder
		}
	}
	if high != nil && bytes.Compare(key, high) >= 0 {
		return low, errOrder
	}
	return key, nil
}
