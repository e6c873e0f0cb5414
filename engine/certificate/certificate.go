// Package certificate is what a committee has signed of a dataset: that it
// stores all its blobs.
//
// # FORMAT: certificate of availability, version 1
//
// Fixed integers are little-endian. Every value has one encoding; anything
// else is refused. TestGolden keeps the format where it is.
//
//	 0  [8]  "FLOECERT"
//	 8  u32  version, 1
//	12  u32  epoch in which the committee signed
//	16  [32] which committee: BLAKE3 of u16 shards and [48] public key of each
//	         member, in its order; zeros for the key of one that signs nothing
//	48  [32] dataset id
//	80  u32  length of the header blob
//	84       the header blob (package catalog)
//	         the lists that hold the blob table, if the header says that there
//	         are any; it says how long they are
//	         certificates, one for each different blob: first that of the
//	         header blob, then those of the blob table as it names them, then
//	         those of the lists:
//	           u16  length of the certificate
//	                the certificate (package walrus)
//
// The header blob and the lists are there to prove that no blob is left out:
// coded for as many shards as the header says they have the dataset's id, and
// those that the header gives to the lists.
package certificate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

const (
	version     = 1
	headerStart = 84

	// MaxSize bounds the bytes of a certificate. It is enough for six million
	// blobs.
	MaxSize = 1 << 30
)

var magic = []byte("FLOECERT")

// A Certificate says that a committee stores all blobs of a dataset; Verify
// tells whether that is true. It does not change, and may be used
// concurrently.
type Certificate struct {
	Dataset   walrus.BlobID
	Epoch     walrus.Epoch
	committee merkle.Hash // as Committee returns it

	header []byte                // bytes of the header blob
	lists  [][]byte              // bytes of the lists
	table  table                 // what both say
	signed []*walrus.Certificate // by blob, as table has them
}

// Committee tells committees apart, whatever the epoch: it is the hash that
// certificates have.
func Committee(c *walrus.Committee) merkle.Hash {
	var b []byte
	for _, m := range c.Members() {
		b = binary.LittleEndian.AppendUint16(b, uint16(m.Weight))
		b = append(b, m.Key[:]...)
	}
	return merkle.Blake3(b)
}

// Append appends the certificate as a file has it.
func (c *Certificate) Append(b []byte) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, uint32(c.Epoch))
	b = append(b, c.committee[:]...)
	b = append(b, c.Dataset[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.header)))
	b = append(b, c.header...)
	for _, list := range c.lists {
		b = append(b, list...)
	}
	for _, cert := range c.signed {
		one := cert.Append(nil)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(one)))
		b = append(b, one...)
	}
	return b
}

// Parse parses what Append writes. It proves nothing: see Verify. The
// certificate keeps data.
func Parse(data []byte) (*Certificate, error) {
	c, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

func parse(data []byte) (*Certificate, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%d bytes, at most %d can be", len(data), MaxSize)
	}
	if !bytes.HasPrefix(data, magic) {
		return nil, errors.New("it does not begin as certificates do")
	}
	if len(data) < headerStart {
		return nil, errCut
	}
	if v := binary.LittleEndian.Uint32(data[8:]); v != version {
		return nil, fmt.Errorf("version %d; this program reads version %d", v, version)
	}
	c := &Certificate{
		Epoch:     walrus.Epoch(binary.LittleEndian.Uint32(data[12:])),
		committee: merkle.Hash(data[16:48]), Dataset: walrus.BlobID(data[48:80]),
	}
	rest := data[headerStart:]
	var err error
	if c.header, rest, err = cut(rest, uint64(binary.LittleEndian.Uint32(data[80:]))); err != nil {
		return nil, err
	}
	h, err := catalog.ParseHeader(c.header, int64(len(c.header)))
	if err != nil {
		return nil, err
	}
	for i := range h.Lists {
		var list []byte
		if list, rest, err = cut(rest, uint64(h.ListSize(i))); err != nil {
			return nil, err
		}
		c.lists = append(c.lists, list)
	}
	if c.table, err = readTable(c.Dataset, h, c.header, c.lists); err != nil {
		return nil, err
	}
	for _, id := range c.table.blobs {
		var size, one []byte
		if size, rest, err = cut(rest, 2); err == nil {
			one, rest, err = cut(rest, uint64(binary.LittleEndian.Uint16(size)))
		}
		var signed *walrus.Certificate
		if err == nil {
			signed, err = walrus.ParseCertificate(one)
		}
		if err != nil {
			return nil, fmt.Errorf("blob %s: %w", id, err)
		}
		c.signed = append(c.signed, signed)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow its end", len(rest))
	}
	return c, nil
}

var errCut = errors.New("it is cut off")

// cut takes the first n bytes from b.
func cut(b []byte, n uint64) (first, rest []byte, err error) {
	if n > uint64(len(b)) {
		return nil, nil, errCut
	}
	return b[:n:n], b[n:], nil
}
