package catalog

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

const (
	xattrPrefix   = "user."
	xattrReserved = "user.floe." // answered by the mount, never stored
)

// CheckXattrName says whether an extended attribute of that name can be
// stored.
func CheckXattrName(name string) error {
	switch {
	case len(name) > MaxName:
		return fmt.Errorf("xattr name of %d bytes is over %d", len(name), MaxName)
	case len(name) <= len(xattrPrefix) || !strings.HasPrefix(name, xattrPrefix):
		return fmt.Errorf("xattr name %q is not in the user namespace", name)
	case strings.HasPrefix(name, xattrReserved):
		return fmt.Errorf("xattr name %q is reserved", name)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("xattr name %q contains NUL", name)
	}
	return nil
}

// EncodeXattrs returns a list of xattrs, in any order, as it is stored: in
// the entry up to MaxInline bytes, longer in a tree of its own. It refuses
// names that cannot be stored or repeat and lists over MaxXattrs.
func EncodeXattrs(xattrs []Xattr) ([]byte, error) {
	sorted := slices.Clone(xattrs)
	slices.SortFunc(sorted, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	var b []byte
	for _, x := range sorted {
		if err := CheckXattrName(x.Name); err != nil {
			return nil, err
		}
		b = append(b, byte(len(x.Name)))
		b = append(b, x.Name...)
		b = binary.AppendUvarint(b, uint64(len(x.Value)))
		b = append(b, x.Value...)
	}
	if err := checkXattrs(b); err != nil {
		return nil, err
	}
	return b, nil
}

// ParseXattrs returns the xattrs of a list, sorted by name. They do not refer
// to data.
func ParseXattrs(data []byte) ([]Xattr, error) {
	if err := checkXattrs(data); err != nil {
		return nil, fmt.Errorf("%w xattrs: %w", ErrMalformed, err)
	}
	var xattrs []Xattr
	for d := (decoder{b: data}); len(d.b) > 0; {
		name, value := nextXattr(&d)
		xattrs = append(xattrs, Xattr{string(name), append([]byte{}, value...)})
	}
	return xattrs, nil
}

// checkXattrs is ParseXattrs without the result.
func checkXattrs(data []byte) error {
	if len(data) > MaxXattrs {
		return fmt.Errorf("list of %d bytes is over %d", len(data), MaxXattrs)
	}
	d := decoder{b: data}
	var last []byte
	for len(d.b) > 0 {
		name, _ := nextXattr(&d)
		if d.err != nil {
			return d.err
		}
		if err := CheckXattrName(string(name)); err != nil {
			return err
		}
		if string(name) <= string(last) {
			return fmt.Errorf("xattr %q repeats or is out of order", name)
		}
		last = name
	}
	return d.err
}

func nextXattr(d *decoder) (name, value []byte) {
	name = d.bytes(uint64(d.u8()))
	value = d.bytes(d.varint())
	return name, value
}
