package publish

import (
	"io"

	"github.com/floefs/floe/merkle"
)

// A packer lays content trees side by side into an address space and hands
// over each blob of it when it is full.
type packer struct {
	blobs *pipeline
	pos   int64  // of the next byte
	buf   []byte // the blob being filled; nil: none
	begin bool   // the next byte written begins a tree
	at    int64  // where the latest tree begins
}

// newPacker returns a packer that begins with a new blob.
func newPacker(p *pipeline) *packer {
	return &packer{blobs: p, pos: int64(len(p.records)) * p.blobSize}
}

// tree stores the content tree of what r reads and returns it with its
// position, which is 0 if nothing of it needs to be stored.
func (k *packer) tree(r io.Reader, tmp string) (merkle.Tree, int64, error) {
	k.begin, k.at = true, 0
	t, err := merkle.Build(k, r, tmp)
	return t, k.at, err
}

// Write appends to the address space.
func (k *packer) Write(b []byte) (int, error) {
	n := len(b)
	if n > 0 && k.begin {
		k.begin = false
		if err := k.put(make([]byte, -k.pos&(merkle.Align-1))); err != nil {
			return 0, err
		}
		k.at = k.pos
	}
	return n, k.put(b)
}

func (k *packer) put(b []byte) error {
	for len(b) > 0 {
		if k.buf == nil {
			var err error
			if k.buf, err = k.blobs.buffer(); err != nil {
				return err
			}
		}
		n := min(len(b), cap(k.buf)-len(k.buf))
		k.buf = append(k.buf, b[:n]...)
		k.pos += int64(n)
		b = b[n:]
		if len(k.buf) == cap(k.buf) {
			if err := k.close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// close ends the blob that is being filled. What is written next begins in
// the gap behind it, so nothing may be.
func (k *packer) close() error {
	if k.buf == nil {
		return nil
	}
	buf := k.buf
	k.buf = nil
	return k.blobs.putNext(buf)
}
