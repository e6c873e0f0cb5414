package certificate

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
)

// A table is which blobs a dataset consists of.
type table struct {
	shards int
	blobs  []walrus.BlobID // different ones, the header blob first
	lists  []walrus.BlobID // of blobs, those that hold the blob table
}

// Blobs returns the different blobs of dataset id: the header blob and those
// that it and the lists name, of which table has the bytes, in this order. It
// proves nothing.
func Blobs(id walrus.BlobID, table [][]byte) ([]walrus.BlobID, error) {
	t, err := parseTable(id, table)
	return t.blobs, err
}

func parseTable(id walrus.BlobID, raw [][]byte) (table, error) {
	if len(raw) == 0 {
		return table{}, errors.New("no header blob")
	}
	h, err := catalog.ParseHeader(raw[0], int64(len(raw[0])))
	if err != nil {
		return table{}, err
	}
	return readTable(id, h, raw[0], raw[1:])
}

// readTable reads the blob table behind header h of dataset id.
func readTable(id walrus.BlobID, h catalog.Header, header []byte, lists [][]byte) (table, error) {
	t := table{shards: h.Shards}
	if int64(len(lists)) != h.Lists {
		return t, fmt.Errorf("%d lists of blobs where there are %d", len(lists), h.Lists)
	}
	for i := range h.Lists {
		rec, err := catalog.ParseRecord(header[h.ListAt(i):][:catalog.RecordSize])
		if err == nil {
			err = h.CheckList(i, rec)
		}
		if err == nil && rec.Size != int64(len(lists[i])) {
			err = fmt.Errorf("list %d of %d bytes, want %d", i, len(lists[i]), rec.Size)
		}
		if err != nil {
			return t, err
		}
		t.lists = append(t.lists, rec.ID)
	}
	seen := make(map[walrus.BlobID]bool)
	add := func(id walrus.BlobID) {
		if !seen[id] {
			seen[id] = true
			t.blobs = append(t.blobs, id)
		}
	}
	add(id)
	for i := range h.Blobs {
		from := header
		list, off := h.RecordAt(i)
		if list >= 0 {
			from = lists[list]
		}
		rec, err := catalog.ParseRecord(from[off:][:catalog.RecordSize])
		if err == nil {
			err = h.CheckBlob(rec)
		}
		if err != nil {
			return t, fmt.Errorf("blob %d: %w", i, err)
		}
		add(rec.ID)
	}
	for _, id := range t.lists {
		add(id)
	}
	return t, nil
}

// hashMemory is what hashing a list may take beside the list.
const hashMemory = 16 << 20

// prove reports if the bytes of the header blob and of the lists do not have
// the ids that they should have.
func (c *Certificate) prove(ctx context.Context) error {
	enc, err := walrus.NewEncoder(c.table.shards)
	if err != nil {
		return err
	}
	check := func(what string, data []byte, want walrus.BlobID) error {
		meta, err := enc.Hash(ctx, bytes.NewReader(data), uint64(len(data)), hashMemory)
		if err != nil {
			return err
		}
		if got := meta.BlobID(); got != want {
			return fmt.Errorf("its %s is not that of dataset %s: it has id %s, not %s", what, c.Dataset, got, want)
		}
		return nil
	}
	if err := check("header blob", c.header, c.Dataset); err != nil {
		return err
	}
	for i, list := range c.lists {
		if err := check(fmt.Sprintf("list %d of blobs", i), list, c.table.lists[i]); err != nil {
			return err
		}
	}
	return nil
}
