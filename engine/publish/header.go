package publish

import (
	"bytes"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
)

// header is the fourth step: it stores the blob table and the header, and
// sets the result.
func (r *run) header(top *catalog.Entry, p *pipeline) error {
	r.progress.Step = Heading
	if err := p.wait(); err != nil {
		return err
	}
	records := p.records
	h := catalog.Header{BlobSize: r.BlobSize, Shards: r.Shards, Blobs: int64(len(records)), Root: *top}
	lists, err := catalog.ListsFor(h.Blobs, h.BlobSize)
	if err != nil {
		return err
	}
	if lists > 0 {
		if records, err = p.lists(records); err != nil {
			return err
		}
	}
	buf, err := p.buffer()
	if err != nil {
		return err
	}
	if buf, err = catalog.AppendHeader(buf, h); err != nil {
		return err
	}
	for _, rec := range records {
		buf = catalog.AppendRecord(buf, *rec)
	}
	if r.res.Header, err = catalog.ParseHeader(buf, int64(len(buf))); err != nil {
		return err
	}
	r.res.Table = append([][]byte{bytes.Clone(buf)}, r.res.Table...)
	id, err := p.putBlob(buf)
	if err == nil {
		err = p.wait()
	}
	if err != nil {
		return err
	}
	r.res.ID = walrus.BlobID(id.ID)
	r.res.Blobs += r.res.BlobsBase
	r.res.BlobsReused, r.res.Stored = r.reused.Load(), r.stored.Load()
	return nil
}

// lists stores a blob table that is too long for the header blob, and returns
// the records of the blobs that hold it.
func (p *pipeline) lists(records []*catalog.BlobRecord) (lists []*catalog.BlobRecord, err error) {
	each := int(p.blobSize / catalog.RecordSize)
	for len(records) > 0 {
		buf, err := p.buffer()
		if err != nil {
			return nil, err
		}
		n := min(each, len(records))
		for _, rec := range records[:n] {
			buf = catalog.AppendRecord(buf, *rec)
		}
		p.run.res.Table = append(p.run.res.Table, bytes.Clone(buf))
		rec, err := p.putBlob(buf)
		if err != nil {
			return nil, err
		}
		lists, records = append(lists, rec), records[n:]
	}
	return lists, p.wait()
}
