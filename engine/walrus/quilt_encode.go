package walrus

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// A QuiltFile is what becomes a patch.
type QuiltFile struct {
	Identifier string
	Tags       map[string]string
	Data       []byte
}

// EncodeQuilt returns the blob that holds files for n shards, and where they
// lie in it, sorted by identifier.
func EncodeQuilt(n int, files []QuiltFile) ([]byte, []Patch, error) {
	p, err := NewParams(n, 0)
	if err != nil {
		return nil, nil, err
	}
	files = slices.SortedFunc(slices.Values(files), func(x, y QuiltFile) int { return cmp.Compare(x.Identifier, y.Identifier) })
	if len(files) == 0 || len(files) > p.K2-1 {
		return nil, nil, fmt.Errorf("quilt of %d files: %d shards hold 1 to %d", len(files), n, p.K2-1)
	}
	patches := make([]Patch, len(files))
	headers := make([][]byte, len(files))
	sizes := make([]int, 1+len(files)) // of the index and of the patches
	for i, f := range files {
		if err := checkQuiltFile(f); err != nil {
			return nil, nil, err
		}
		if i > 0 && f.Identifier == files[i-1].Identifier {
			return nil, nil, fmt.Errorf("quilt: two files are called %q", f.Identifier)
		}
		patches[i] = Patch{Identifier: f.Identifier, Tags: f.Tags}
		headers[i] = patches[i].header(len(f.Data))
		sizes[1+i] = len(headers[i]) + len(f.Data)
		if sizes[1+i]-patchPrefix > math.MaxUint32 {
			return nil, nil, fmt.Errorf("quilt: %q of %d bytes is too large", f.Identifier, len(f.Data))
		}
	}
	// The columns in it do not change its length.
	sizes[0] = len(appendQuiltIndex(nil, patches))
	symbol := p.quiltSymbol(sizes)
	if symbol > MaxSymbol {
		return nil, nil, fmt.Errorf("quilt: its files do not fit into columns of %d bytes", MaxSymbol*p.K1)
	}
	if p, err = NewParams(n, p.capacity(symbol)); err != nil {
		return nil, nil, err
	}

	blob := make([]byte, p.Size)
	column := ceilDiv(sizes[0], p.SliverLen(Secondary))
	for i, f := range files {
		patches[i].Start = column
		p.putColumns(blob, column, 0, headers[i])
		p.putColumns(blob, column, len(headers[i]), f.Data)
		column += ceilDiv(sizes[1+i], p.SliverLen(Secondary))
		patches[i].End = column
	}
	p.putColumns(blob, 0, 0, appendQuiltIndex(nil, patches))
	return blob, patches, nil
}

func checkQuiltFile(f QuiltFile) error {
	if err := CheckIdentifier(f.Identifier); err != nil {
		return fmt.Errorf("quilt: %w", err)
	}
	tags := appendTags(nil, f.Tags)
	if len(tags) > math.MaxUint16 {
		return fmt.Errorf("quilt: %q has %d bytes of tags, at most %d", f.Identifier, len(tags), math.MaxUint16)
	}
	d := decoder{rest: tags}
	if d.tags(); d.end() != nil {
		return fmt.Errorf("quilt: tags of %q: %w", f.Identifier, d.err)
	}
	return nil
}

// quiltSymbol returns the bytes of a symbol for which the index, of sizes[0]
// bytes, and the patches fit, each in columns of its own. It searches as the
// official encoders do, between the same bounds.
func (p Params) quiltSymbol(sizes []int) int {
	sum, largest := 0, 0
	for _, n := range sizes {
		sum += n
		largest = max(largest, n)
	}
	low := max(ceilDiv(sum, p.K1*p.K2), ceilDiv(sizes[0], quiltMaxIndex*p.K1), ceilDiv(quiltPrefix, p.K1))
	high := ceilDiv(largest, p.K2/len(sizes)*p.K1)
	for low < high {
		middle, columns := (low+high)/2, 0
		for _, n := range sizes {
			columns += ceilDiv(n, middle*p.K1)
		}
		if columns <= p.K2 {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low + low%2
}

// putColumns writes data to byte at and on of column c and those that follow.
func (p Params) putColumns(blob []byte, c, at int, data []byte) {
	for length := p.SliverLen(Secondary); len(data) > 0; {
		off, count := p.InColumn(c+at/length, at%length)
		n := copy(blob[off:off+uint64(count)], data)
		data, at = data[n:], at+n
	}
}
