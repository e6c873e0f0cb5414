package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/floefs/floe/merkle"
)

// ErrMalformed says that proven bytes break the format: their publisher is
// broken or hostile, and no other node will have better ones.
var ErrMalformed = errors.New("malformed")

var (
	errShort  = errors.New("ends too early")
	errVarint = errors.New("number is not in its shortest form or beyond 64 bits")
)

// A decoder takes values from the front of b. After its first failure, which
// it keeps, it returns zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
		d.b = nil
	}
}

func (d *decoder) failWith(err error) {
	if d.err == nil {
		d.err = err
		d.b = nil
	}
}

// bytes returns the next n bytes, or nil.
func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.failWith(errShort)
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() uint8 {
	if v := d.bytes(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if v := d.bytes(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if v := d.bytes(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if v := d.bytes(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) hash() (h merkle.Hash) {
	if v := d.bytes(merkle.HashSize); v != nil {
		h = merkle.Hash(v)
	}
	return h
}

// varint takes an unsigned LEB128 in its shortest form.
func (d *decoder) varint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	var v uint64
	for i, c := range d.b {
		if i == 9 && c > 1 {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if c == 0 && i > 0 {
				break
			}
			d.b = d.b[i+1:]
			return v
		}
	}
	if len(d.b) < 10 && (len(d.b) == 0 || d.b[len(d.b)-1] >= 0x80) {
		d.failWith(errShort)
	} else {
		d.failWith(errVarint)
	}
	return 0
}

// limited takes a varint that must be in [least, most]; what names it.
func (d *decoder) limited(what string, least, most uint64) uint64 {
	v := d.varint()
	if d.err == nil && (v < least || v > most) {
		d.fail("%s %d is not within %d to %d", what, v, least, most)
		return 0
	}
	return v
}

// position takes a position in units of merkle.Align.
func (d *decoder) position() int64 {
	return int64(d.limited("position", 0, math.MaxInt64/merkle.Align)) * merkle.Align
}

// zeros requires the rest to be zero.
func (d *decoder) zeros() {
	for _, c := range d.b {
		if c != 0 {
			d.fail("padding is not zero")
			return
		}
	}
}

// end requires everything to be taken.
func (d *decoder) end() {
	if len(d.b) > 0 {
		d.fail("%d bytes left over", len(d.b))
	}
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
