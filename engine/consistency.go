package engine

import (
	"context"
	"fmt"

	"github.com/floefs/floe/engine/walrus"
)

const strictMemory = 64 << 20 // of a strict check, beside the encoder's own

// CheckConsistency is Walrus' default check of the whole blob: it proves every
// row that holds data and compares the others with zeros. Then all who read it
// get the same bytes. progress, which may be nil, is told of bytes read. An
// error wraps walrus.ErrInconsistent if the check fails.
func (b *Blob) CheckConsistency(ctx context.Context, progress func(bytes int64)) error {
	if err := b.meta.CheckZeroRows(); err != nil {
		return err
	}
	f, err := b.File()
	if err != nil {
		return err
	}
	for off := int64(0); off < f.entry.Size; {
		s, err := f.Read(ctx, off, MaxRead)
		if err != nil {
			return err
		}
		off += int64(s.Len())
		if progress != nil {
			progress(int64(s.Len()))
		}
		s.Release()
	}
	return nil
}

// CheckStrictly is Walrus' strict check: it encodes the blob anew and compares
// the ids, so it also finds parity that does not fit, by which others might
// read other bytes or none. The verdict is remembered. One blob of an Engine is
// checked at a time, within 64 MiB and the memory of an encoder. An error wraps
// walrus.ErrInconsistent if the check fails.
func (b *Blob) CheckStrictly(ctx context.Context) error {
	if err := b.e.strict.Acquire(ctx, 1); err != nil {
		return err
	}
	defer b.e.strict.Release(1)
	b.mu.Lock()
	verdict := b.verdict
	b.mu.Unlock()
	if verdict != nil {
		return *verdict
	}
	enc, err := walrus.NewEncoder(b.params.N)
	if err != nil {
		return err
	}
	f, err := b.File()
	if err != nil {
		return err
	}
	meta, err := enc.Hash(ctx, readerAt{ctx, f}, b.params.Size, strictMemory)
	if err != nil {
		return err
	}
	if got := meta.BlobID(); got != b.id {
		err = fmt.Errorf("%w: encoded anew it is %s", walrus.ErrInconsistent, got)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.verdict = &err
	return err
}
