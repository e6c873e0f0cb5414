package engine

import (
	"context"
	"fmt"
	"io"
	"iter"
	"path"

	"github.com/zeebo/blake3"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// A Problem is something that Verify found wrong, at a path of the dataset.
type Problem struct {
	Path string
	Err  error
}

// Verify walks the whole dataset. It checks every table against the format
// and every directory's totals; if deep, it also reads every byte of every
// file and compares it with the file's BLAKE3 sum. Of a Walrus blob as it is,
// which has no sums, it proves all rows instead, which is the default
// consistency check. What is wrong goes to
// report, and the walk goes on where it can. progress, which may be nil, is
// told of every entry and of bytes read. The error is the context's.
func (d *Dataset) Verify(ctx context.Context, deep bool, report func(Problem), progress func(entries, bytes int64)) error {
	v := verifier{d: d, deep: deep, report: report, progress: progress}
	if err := v.dir(ctx, d.Root(), "", 0); err != nil || !deep || d.bare == nil || len(d.bare.patches) == 0 {
		return err
	}
	// Patches lie in columns: the rows have not been read.
	if err := d.bare.blob.CheckConsistency(ctx, nil); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		report(Problem{"", err})
	}
	return nil
}

type verifier struct {
	d        *Dataset
	deep     bool
	report   func(Problem)
	progress func(entries, bytes int64)
}

func (v *verifier) told(entries, bytes int64) {
	if v.progress != nil {
		v.progress(entries, bytes)
	}
}

func (v *verifier) dir(ctx context.Context, dir catalog.Entry, at string, depth int) error {
	if depth > maxDepth {
		v.report(Problem{at, fmt.Errorf("%w: more than %d directories below one another", catalog.ErrMalformed, maxDepth)})
		return nil
	}
	t, err := v.d.table(dir)
	if err != nil {
		v.report(Problem{at, err})
		return nil
	}
	for e, err := range t.Verify(ctx) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name := path.Join(at, e.Name)
		if err == nil {
			err = v.d.admit(ctx, e)
		} else {
			name = at
		}
		if err != nil {
			v.report(Problem{name, err})
			continue
		}
		v.told(1, 0)
		switch e.Type {
		case catalog.Dir:
			err = v.dir(ctx, e, name, depth+1)
		case catalog.File:
			err = v.file(ctx, e, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file verifies a file. Of a hard-link group only the first link is read.
func (v *verifier) file(ctx context.Context, e catalog.Entry, at string) error {
	f, err := v.d.File(ctx, e)
	if err == nil && len(e.Xattrs.Inline) == 0 {
		_, err = v.d.Xattrs(ctx, e)
	}
	if err != nil {
		v.report(Problem{at, err})
		return context.Cause(ctx)
	}
	if !v.deep || e.First != e.Number {
		return nil
	}
	if err := v.read(ctx, f); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		v.report(Problem{at, err})
	}
	return nil
}

// read reads f whole and compares its sum.
func (v *verifier) read(ctx context.Context, f *File) error {
	sum := blake3.New()
	for off := int64(0); off < f.entry.Size; {
		s, err := f.Read(ctx, off, MaxRead)
		if err != nil {
			return err
		}
		for _, c := range s.Parts() {
			sum.Write(c.Bytes())
		}
		off += int64(s.Len())
		v.told(0, int64(s.Len()))
		s.Release()
	}
	var got merkle.Hash
	if _, err := io.ReadFull(sum.Digest(), got[:]); err != nil {
		return err
	}
	if got != f.entry.Sum && v.d.bare == nil {
		return fmt.Errorf("%w: BLAKE3 of the file is %s, its publisher claims %s", merkle.ErrMismatch, got, f.entry.Sum)
	}
	return nil
}

// Blobs yields every blob of the dataset: the header blob, then those of the
// address space, then the lists of the blob table if it has any.
func (d *Dataset) Blobs(ctx context.Context) iter.Seq2[walrus.BlobID, error] {
	return func(yield func(walrus.BlobID, error) bool) {
		if !yield(d.id, nil) {
			return
		}
		for i := range d.header.Blobs {
			ref, err := d.blobs.ref(ctx, i)
			if !yield(ref.id, err) || err != nil {
				return
			}
		}
		for i := range d.header.Lists {
			hb, err := d.blobs.list(ctx, i)
			if err != nil {
				yield(walrus.BlobID{}, err)
				return
			}
			if !yield(hb.id, nil) {
				return
			}
		}
	}
}
