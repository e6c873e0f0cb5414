package walrus

import (
	"encoding/binary"
	"fmt"
)

// BCS, as far as it is needed: integers are little-endian, a vector is its
// length as ULEB128 and its content, a struct is its fields in order, an enum
// its variant's number as ULEB128 and its content. A map is the vector of its
// pairs, sorted by the bytes of their keys as they are written. The encoding
// is canonical: a ULEB128 with needless zeros is refused.

// uleb appends v as ULEB128.
func uleb(b []byte, v uint32) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

// parseULEB returns the number at the front of b and what follows it.
func parseULEB(b []byte) (v uint32, rest []byte, err error) {
	for i := 0; i < len(b) && i < 5; i++ {
		c := b[i]
		if i == 4 && c > 0x0F {
			return 0, nil, fmt.Errorf("length exceeds 32 bits")
		}
		v |= uint32(c&0x7F) << (7 * i)
		if c < 0x80 {
			if c == 0 && i > 0 {
				return 0, nil, fmt.Errorf("length with needless zeros")
			}
			return v, b[i+1:], nil
		}
	}
	return 0, nil, fmt.Errorf("length is cut off")
}

// appendBytes appends v as a vector of bytes, or as a string.
func appendBytes[T []byte | string](b []byte, v T) []byte {
	return append(uleb(b, uint32(len(v))), v...)
}

// A decoder takes values from the front of rest, of which those it returns are
// parts. After the first error it returns nothing but zeros.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
	d.rest = nil
}

// take returns the next n bytes, nil if there are not as many.
func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.fail("%d bytes where %d are needed", len(d.rest), n)
		return nil
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

// fill sets dst to the next bytes.
func (d *decoder) fill(dst []byte) { copy(dst, d.take(len(dst))) }

func (d *decoder) u8() byte {
	var b [1]byte
	d.fill(b[:])
	return b[0]
}

func (d *decoder) u16() int {
	var b [2]byte
	d.fill(b[:])
	return int(binary.LittleEndian.Uint16(b[:]))
}

func (d *decoder) u32() uint32 {
	var b [4]byte
	d.fill(b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (d *decoder) u64() uint64 {
	var b [8]byte
	d.fill(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// count returns the length of a vector of at most limit elements, each at
// least size bytes long. What is left has room for them, so that it is safe to
// allocate as many.
func (d *decoder) count(limit, size int) int {
	n, rest, err := parseULEB(d.rest)
	if err != nil {
		d.fail("%w", err)
		return 0
	}
	if uint64(n) > uint64(limit) || uint64(n)*uint64(size) > uint64(len(rest)) {
		d.fail("vector of %d elements in %d bytes, at most %d", n, len(rest), limit)
		return 0
	}
	d.rest = rest
	return int(n)
}

// bytes returns a vector of at most limit bytes.
func (d *decoder) bytes(limit int) []byte { return d.take(d.count(limit, 1)) }

// variant returns the number of an enum's variant, below count.
func (d *decoder) variant(count byte) byte {
	v := d.u8()
	if v >= count {
		d.fail("variant %d of %d", v, count)
		return 0
	}
	return v
}

// end returns the first error; bytes that are left are one.
func (d *decoder) end() error {
	if len(d.rest) > 0 {
		d.fail("%d bytes follow its end", len(d.rest))
	}
	return d.err
}
