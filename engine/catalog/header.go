package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/floefs/floe/merkle"
)

const (
	HeaderSize  = 4096
	MaxBlobSize = 1 << 40

	version   = 1
	rootStart = 50
)

var magic = []byte("FLOEDATA")

// A Header is the first HeaderSize bytes of a dataset's header blob. Behind
// it follow Records records of the blob table or of the lists that hold it.
type Header struct {
	BlobSize int64 // bytes of address space of each blob
	Shards   int   // of the committee the blobs are encoded for
	Blobs    int64 // records of the blob table
	Lists    int64 // blobs that hold the blob table; 0: it follows the header
	Root     Entry // the top directory
}

// ListsFor returns how many lists a table of so many blobs takes: 0 if it
// fits behind the header.
func ListsFor(blobs, blobSize int64) (int64, error) {
	switch {
	case blobSize < merkle.ChunkSize || blobSize > MaxBlobSize || blobSize%merkle.ChunkSize != 0:
		return 0, fmt.Errorf("blob size %d is not a multiple of %d up to 2^40", blobSize, merkle.ChunkSize)
	case blobs < 0 || blobs > math.MaxInt64/blobSize:
		return 0, fmt.Errorf("%d blobs of %d bytes are too many", blobs, blobSize)
	}
	direct, each := (blobSize-HeaderSize)/RecordSize, blobSize/RecordSize
	if blobs <= direct {
		return 0, nil
	}
	lists := (blobs-1)/each + 1
	if lists > direct {
		return 0, fmt.Errorf("%d blobs are too many for blobs of %d bytes", blobs, blobSize)
	}
	return lists, nil
}

// ParseHeader checks the first HeaderSize bytes of a header blob of blobLen
// bytes. Errors are ErrMalformed.
func ParseHeader(data []byte, blobLen int64) (Header, error) {
	h, err := parseHeader(data)
	if err == nil {
		if want := HeaderSize + h.Records()*RecordSize; blobLen != want {
			err = fmt.Errorf("blob of %d bytes, must be %d for %d records", blobLen, want, h.Records())
		}
	}
	if err != nil {
		return Header{}, fmt.Errorf("%w dataset header: %w", ErrMalformed, err)
	}
	return h, nil
}

// IsHeader reports whether a blob that begins with data claims to be a header
// blob of any version.
func IsHeader(data []byte) bool { return bytes.HasPrefix(data, magic) }

func parseHeader(data []byte) (Header, error) {
	if len(data) < HeaderSize {
		return Header{}, errShort
	}
	d := decoder{b: data[:HeaderSize]}
	if !bytes.Equal(d.bytes(8), magic) {
		return Header{}, errors.New("not a dataset")
	}
	if v := d.u32(); v != version {
		return Header{}, fmt.Errorf("version %d; this program reads version %d", v, version)
	}
	if v := d.u32(); v != HeaderSize {
		d.fail("header of %d bytes, must be %d", v, HeaderSize)
	}
	if v := d.u32(); v != merkle.ChunkSize {
		d.fail("chunks of %d bytes, must be %d", v, merkle.ChunkSize)
	}
	h := Header{Shards: int(d.u16())}
	if h.Shards == 0 {
		d.fail("no shards")
	}
	if v := d.u16(); v != 0 {
		d.fail("reserved field is %d", v)
	}
	size, blobs, lists := d.u64(), d.u64(), d.u64()
	h.BlobSize, h.Blobs, h.Lists = int64(size), int64(blobs), int64(lists)
	want, err := ListsFor(h.Blobs, h.BlobSize)
	d.check(err)
	if d.err == nil && h.Lists != want {
		d.fail("%d lists for %d blobs, must be %d", h.Lists, h.Blobs, want)
	}
	n := int(d.u16())
	root := decoder{b: d.bytes(uint64(n))}
	d.zeros()
	if d.err != nil {
		return Header{}, d.err
	}
	var r record
	r.scan(&root, true)
	root.end()
	root.check(checkRoot(&r.Entry))
	if root.err == nil {
		root.check(r.checkSpace(h.Space()))
	}
	if root.err != nil {
		return Header{}, fmt.Errorf("top directory: %w", root.err)
	}
	h.Root = r.entry(RootNumber)
	return h, nil
}

func checkRoot(e *Entry) error {
	if e.Type != Dir {
		return errors.New("not a directory")
	}
	return nil
}

// AppendHeader appends h as HeaderSize bytes, with Lists as ListsFor has it.
// It refuses what ParseHeader would.
func AppendHeader(b []byte, h Header) ([]byte, error) {
	lists, err := ListsFor(h.Blobs, h.BlobSize)
	if err != nil {
		return nil, err
	}
	if h.Shards < 1 || h.Shards > math.MaxUint16 {
		return nil, fmt.Errorf("%d shards", h.Shards)
	}
	if h.Root.Name != "" || h.Root.Number > RootNumber {
		return nil, errors.New("the top directory has a name or another number")
	}
	h.Root.Number = RootNumber
	root, err := appendRecord(nil, &h.Root, 0, true)
	if err != nil {
		return nil, fmt.Errorf("top directory: %w", err)
	}
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, HeaderSize)
	b = binary.LittleEndian.AppendUint32(b, merkle.ChunkSize)
	b = binary.LittleEndian.AppendUint16(b, uint16(h.Shards))
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.BlobSize))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Blobs))
	b = binary.LittleEndian.AppendUint64(b, uint64(lists))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(root)))
	b = append(b, root...)
	b = append(b, make([]byte, start+HeaderSize-len(b))...)
	if _, err := parseHeader(b[start:]); err != nil {
		return nil, err
	}
	return b, nil
}

// Records returns how many records follow the header in its blob.
func (h Header) Records() int64 {
	if h.Lists > 0 {
		return h.Lists
	}
	return h.Blobs
}

// Space returns the end of the address space.
func (h Header) Space() int64 { return h.Blobs * h.BlobSize }

// CheckExtent checks that size bytes from position at on lie within the
// address space and begin where a tree may. Whether a blob ends before them
// is known once their records are read.
func (h Header) CheckExtent(at, size int64) error {
	if at%merkle.Align != 0 {
		return fmt.Errorf("%w extent: position %d is not a multiple of %d", ErrMalformed, at, merkle.Align)
	}
	if err := checkExtent("extent", at, size, h.Space()); err != nil {
		return fmt.Errorf("%w extent: %w", ErrMalformed, err)
	}
	return nil
}
