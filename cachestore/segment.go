package cachestore

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"sort"

	"github.com/floefs/floe/merkle"
)

const (
	segSize  = 1 << 20                         // bytes of a segment
	stride   = merkle.ChunkSize / merkle.Align // start positions a full chunk covers
	perClass = segSize / merkle.ChunkSize      // starts of one class in a segment
	maxOff   = 1 << 43                         // no position of a blob lies behind it

	spill = merkle.ChunkSize // a chunk that starts in a segment ends less than this behind it
)

// A segment is what is known of 1 MiB of a blob: the start positions of the
// chunks that are present. Start s lies at byte s*512; its class is s%32, so
// neighbouring chunks are neighbouring bits of one class, and a segment that
// belongs to one file needs one word. It takes 32 bytes, or 288 if chunks of
// several classes are present.
type segment struct {
	bits  uint64          // the starts of class, unless wide is set
	wide  *[stride]uint64 // the starts of all classes, if there are several
	no    uint32          // it begins at byte no<<20 of the blob
	stamp uint32          // Store.clock at its last use
	class uint8
	flags uint8
}

const (
	flagProbe   = 1 << 0 // the file may hold chunks whose starts are not known; stored
	flagTouched = 1 << 7 // used since the stamp was stored; listed in Store.touched
	flagsStored = flagProbe
)

// place returns where a chunk that starts at off is kept.
func place(off int64) (no uint32, class uint8, bit int) {
	slot := int(off%segSize) / merkle.Align
	return uint32(off / segSize), uint8(slot % stride), slot / stride
}

// starts returns the starts of one class: bit b is start class + 32*b.
func (g *segment) starts(class uint8) uint64 {
	switch {
	case g.wide != nil:
		return g.wide[class]
	case g.class == class:
		return g.bits
	}
	return 0
}

// set replaces the starts of one class.
func (g *segment) set(class uint8, mask uint64) {
	if g.wide == nil {
		if g.bits == 0 || g.class == class {
			g.bits, g.class = mask, class
			return
		}
		if mask == 0 {
			return
		}
		g.wide = new([stride]uint64)
		g.wide[g.class] = g.bits
	}
	g.wide[class] = mask
	used, last := 0, 0
	for c, m := range g.wide {
		if m != 0 {
			used, last = used+1, c
		}
	}
	if used <= 1 {
		g.bits, g.class, g.wide = g.wide[last], uint8(last), nil
	}
}

// count returns how many starts are present.
func (g *segment) count() int {
	if g.wide == nil {
		return bits.OnesCount64(g.bits)
	}
	n := 0
	for _, m := range g.wide {
		n += bits.OnesCount64(m)
	}
	return n
}

// dropTail forgets the starts whose chunks can reach behind the segment: the
// last 31, which is the last start of every class but the first.
func (g *segment) dropTail() (changed bool) {
	const last = 1 << (perClass - 1)
	for c := uint8(1); c < stride; c++ {
		if m := g.starts(c); m&last != 0 {
			g.set(c, m&^last)
			changed = true
		}
	}
	return changed
}

// dropRange forgets the starts in bytes [from, to) of the segment.
func (g *segment) dropRange(from, to int64) (changed bool) {
	const unit = merkle.ChunkSize // from one start of a class to the next
	for c := int64(0); c < stride; c++ {
		low := max(0, (from-c*merkle.Align+unit-1)/unit)
		high := min(perClass, (to-c*merkle.Align+unit-1)/unit)
		m := g.starts(uint8(c))
		if low >= high || m == 0 {
			continue
		}
		if keep := m &^ (^uint64(0) >> (perClass - (high - low)) << low); keep != m {
			g.set(uint8(c), keep)
			changed = true
		}
	}
	return changed
}

// merge adds what o knows.
func (g *segment) merge(o *segment) {
	for c := range uint8(stride) {
		if m := o.starts(c); m != 0 {
			g.set(c, g.starts(c)|m)
		}
	}
	g.stamp = max(g.stamp, o.stamp)
	g.flags |= o.flags & flagsStored
}

// FORMAT: index key and value. See the package comment.
const (
	keyLen   = 36
	macLen   = 8
	minValue = 9 + macLen
	maxValue = 9 + 8*stride + macLen
)

var errValue = errors.New("index value is malformed")

func appendKey(b []byte, k Key, no uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, k[:]...), no)
}

// appendValue appends g as an index value.
func (g *segment) appendValue(b []byte, secret *[32]byte, k Key) []byte {
	from := len(b)
	b = binary.LittleEndian.AppendUint32(b, g.stamp)
	b = append(b, g.flags&flagsStored)
	b = binary.LittleEndian.AppendUint32(b, 0)
	var classes uint32
	for c := range uint8(stride) {
		if m := g.starts(c); m != 0 {
			classes |= 1 << c
			b = binary.LittleEndian.AppendUint64(b, m)
		}
	}
	binary.LittleEndian.PutUint32(b[from+5:], classes)
	return appendMAC(b, from, secret, k, g.no)
}

// appendMAC binds b[from:] to its key and to this one index file.
func appendMAC(b []byte, from int, secret *[32]byte, k Key, no uint32) []byte {
	sum := mac(secret, k, no, b[from:])
	return append(b, sum[:macLen]...)
}

func mac(secret *[32]byte, k Key, no uint32, body []byte) merkle.Hash {
	var buf [32 + keyLen + maxValue]byte
	m := append(buf[:0], secret[:]...)
	m = appendKey(m, k, no)
	return merkle.Blake3(append(m, body...))
}

// parseEntry returns what an index key and value say.
func parseEntry(secret *[32]byte, key, value []byte) (k Key, g segment, err error) {
	if len(key) != keyLen || len(value) < minValue || len(value) > maxValue {
		return k, g, errValue
	}
	copy(k[:], key)
	g.no = binary.BigEndian.Uint32(key[32:])
	body, sum := value[:len(value)-macLen], value[len(value)-macLen:]
	if want := mac(secret, k, g.no, body); string(want[:macLen]) != string(sum) {
		return k, g, errors.New("index value does not match its checksum")
	}
	g.stamp = binary.LittleEndian.Uint32(body)
	g.flags = body[4]
	classes := binary.LittleEndian.Uint32(body[5:])
	masks := body[9:]
	if g.flags&^flagsStored != 0 || len(masks) != 8*bits.OnesCount32(classes) || g.no >= maxOff/segSize {
		return k, g, errValue
	}
	for c := range uint8(stride) {
		if classes&(1<<c) == 0 {
			continue
		}
		m := binary.LittleEndian.Uint64(masks)
		if m == 0 {
			return k, g, errValue
		}
		g.set(c, m)
		masks = masks[8:]
	}
	return k, g, nil
}

// find returns segment no of b, or nil. The pointer holds until the next
// segment is added or removed.
func (b *blob) find(no uint32) *segment {
	if i := b.search(no); i < len(b.segs) && b.segs[i].no == no {
		return &b.segs[i]
	}
	return nil
}

// segment returns segment no of b, which it adds if need be.
func (b *blob) segment(no uint32) *segment {
	i := b.search(no)
	if i == len(b.segs) || b.segs[i].no != no {
		b.segs = append(b.segs, segment{})
		copy(b.segs[i+1:], b.segs[i:])
		b.segs[i] = segment{no: no, flags: b.fresh}
	}
	return &b.segs[i]
}

func (b *blob) remove(no uint32) {
	if i := b.search(no); i < len(b.segs) && b.segs[i].no == no {
		b.segs = append(b.segs[:i], b.segs[i+1:]...)
		b.segs[:len(b.segs)+1][len(b.segs)] = segment{} // lets go of wide
	}
}

func (b *blob) search(no uint32) int {
	if n := len(b.segs); n == 0 || b.segs[n-1].no < no {
		return n
	}
	return sort.Search(len(b.segs), func(i int) bool { return b.segs[i].no >= no })
}

// span returns how many chunks from off on, at most n, are all marked
// present, or all not.
func (b *blob) span(off int64, n int, present bool) (count int) {
	for count < n {
		no, class, bit := place(off)
		var m uint64
		if g := b.find(no); g != nil {
			m = g.starts(class)
		}
		if !present {
			m = ^m
		}
		alike := bits.TrailingZeros64(^(m >> bit)) // the shift brings zeros in
		take := min(alike, perClass-bit, n-count)
		count += take
		if alike < perClass-bit {
			break
		}
		off += int64(take) * merkle.ChunkSize
	}
	return count
}

// mark marks n chunks from off on as present or not.
func (b *blob) mark(off int64, n int, present bool, changed func(no uint32)) {
	for n > 0 {
		no, class, bit := place(off)
		take := min(n, perClass-bit)
		mask := (^uint64(0) >> (perClass - take)) << bit
		if g := b.find(no); present || g != nil {
			if g == nil {
				g = b.segment(no)
			}
			old := g.starts(class)
			if present {
				mask |= old
			} else {
				mask = old &^ mask
			}
			if mask != old {
				g.set(class, mask)
				changed(no)
			}
		}
		n -= take
		off += int64(take) * merkle.ChunkSize
	}
}
