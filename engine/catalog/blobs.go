package catalog

import (
	"encoding/binary"
	"fmt"
)

// RecordSize is the size of a record of the blob table.
const RecordSize = 40

// A BlobRecord names a blob of the dataset, or a list that holds such records.
type BlobRecord struct {
	ID   [32]byte // a walrus.BlobID
	Size int64    // bytes of the blob; a blob of the table has at most Header.BlobSize
}

// AppendRecord appends r to a blob table or list.
func AppendRecord(b []byte, r BlobRecord) []byte {
	b = append(b, r.ID[:]...)
	return binary.LittleEndian.AppendUint64(b, uint64(r.Size))
}

// ParseRecord returns the record in data, which is RecordSize bytes long. See
// CheckBlob and CheckList for what its place demands. Errors are ErrMalformed.
func ParseRecord(data []byte) (BlobRecord, error) {
	if len(data) != RecordSize {
		return BlobRecord{}, fmt.Errorf("%w blob record: %d bytes", ErrMalformed, len(data))
	}
	size := binary.LittleEndian.Uint64(data[32:])
	if size == 0 || size > MaxBlobSize {
		return BlobRecord{}, fmt.Errorf("%w blob record: blob of %d bytes", ErrMalformed, size)
	}
	return BlobRecord{[32]byte(data[:32]), int64(size)}, nil
}

// RecordAt returns where the record of blob i lies: in which list, -1 for the
// header blob, and at which byte of it.
func (h Header) RecordAt(i int64) (list, off int64) {
	if h.Lists == 0 {
		return -1, HeaderSize + i*RecordSize
	}
	each := h.BlobSize / RecordSize
	return i / each, i % each * RecordSize
}

// ListAt returns at which byte of the header blob the record of list i lies.
func (h Header) ListAt(i int64) int64 { return HeaderSize + i*RecordSize }

// ListSize returns the bytes of list i.
func (h Header) ListSize(i int64) int64 {
	each := h.BlobSize / RecordSize
	return min(each, h.Blobs-i*each) * RecordSize
}

// CheckBlob checks a record of the blob table, CheckList the record of list i.
func (h Header) CheckBlob(r BlobRecord) error {
	if r.Size < 1 || r.Size > h.BlobSize {
		return fmt.Errorf("%w blob table: blob of %d bytes, must have 1 to %d", ErrMalformed, r.Size, h.BlobSize)
	}
	return nil
}

// CheckList: see CheckBlob.
func (h Header) CheckList(i int64, r BlobRecord) error {
	if want := h.ListSize(i); r.Size != want {
		return fmt.Errorf("%w blob table: list %d has %d bytes, must have %d", ErrMalformed, i, r.Size, want)
	}
	return nil
}
