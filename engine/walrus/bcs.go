package walrus

import "fmt"

// BCS, as far as it is needed: integers are little-endian, a vector is its
// length as ULEB128 and its content, a struct is its fields in order, an enum
// its variant's number as ULEB128 and its content. The encoding is canonical:
// a ULEB128 with needless zeros is refused.

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
