package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/floefs/floe/merkle"
)

// EncodeHoles returns the list of a file's holes as it is stored: in the
// entry up to MaxInline bytes, longer in a tree of its own. It refuses holes
// that merkle.NewLayout refuses and lists over MaxHoles.
func EncodeHoles(holes []merkle.Hole, size int64) ([]byte, error) {
	if len(holes) > MaxHoles/2 {
		return nil, fmt.Errorf("list of %d holes is too long", len(holes))
	}
	var b []byte
	var end int64
	for _, h := range holes {
		b = binary.AppendUvarint(b, uint64(h.Start-end))
		b = binary.AppendUvarint(b, uint64(h.Count))
		end = h.Start + h.Count
	}
	if err := checkHoles(b, size); err != nil {
		return nil, err
	}
	return b, nil
}

// ParseHoles returns the holes of a file of size bytes. The result is at most
// eight times as large as data.
func ParseHoles(data []byte, size int64) ([]merkle.Hole, error) {
	if err := checkHoles(data, size); err != nil {
		return nil, fmt.Errorf("%w holes: %w", ErrMalformed, err)
	}
	var n int // two varints each, which end in a byte below 0x80
	for _, c := range data {
		if c < 0x80 {
			n++
		}
	}
	holes := make([]merkle.Hole, 0, n/2)
	d := decoder{b: data}
	var end int64
	for len(d.b) > 0 {
		h := nextHole(&d, end, size)
		holes = append(holes, h)
		end = h.Start + h.Count
	}
	return holes, nil
}

// checkHoles is ParseHoles without the result.
func checkHoles(data []byte, size int64) error {
	if len(data) > MaxHoles {
		return fmt.Errorf("list of %d bytes is over %d", len(data), MaxHoles)
	}
	if size < 0 {
		return errors.New("negative file size")
	}
	d := decoder{b: data}
	var end int64
	for first := true; len(d.b) > 0; first = false {
		h := nextHole(&d, end, size)
		if !first && h.Start == end {
			d.fail("hole at MiB %d touches the one before", h.Start)
		}
		end = h.Start + h.Count
	}
	return d.err
}

// nextHole takes a hole that begins at unit end or behind and lies within size.
func nextHole(d *decoder, end, size int64) merkle.Hole {
	units := size / merkle.HoleSize
	start := end + int64(d.limited("distance to hole", 0, uint64(units-end)))
	return merkle.Hole{Start: start, Count: int64(d.limited("length of hole", 1, uint64(units-start)))}
}
