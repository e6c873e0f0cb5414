package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/floefs/floe/engine/walrus"
)

// PutMetadata implements node.Store. Two that put different bytes at the same
// time leave those of one of them, whole.
func (s *Store) PutMetadata(ctx context.Context, id walrus.BlobID, data []byte) error {
	key := s.key(id, metadataName)
	same, err := s.equal(ctx, key, data)
	if same {
		return nil
	}
	if err == nil {
		err = s.send(ctx, key, bytes.NewReader(data), int64(len(data)))
	}
	if err != nil {
		return s.failed(ctx, "storing", key, err)
	}
	return nil
}

// equal reports whether an object holds just data. It compares the bytes, not
// what the service says of them: so storing again heals what was damaged. An
// error means that there is no use in storing either.
func (s *Store) equal(ctx context.Context, key *string, data []byte) (bool, error) {
	out, err := s.api.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: key})
	if err != nil {
		return false, s.useless(ctx, err)
	}
	defer out.Body.Close()
	if out.ContentLength == nil || *out.ContentLength != int64(len(data)) {
		return false, nil
	}
	return holds(out.Body, data), nil
}

// useless returns the error of a read that says that there is no use in storing
// either; nil if err does not say that.
func (s *Store) useless(ctx context.Context, err error) error {
	err = s.clarify(ctx, err)
	// Who may write need not be allowed to read.
	if gone(err) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// holds reports whether data is what comes next from r. If r fails it is not:
// perhaps what is there is damaged.
func holds(r io.Reader, data []byte) bool {
	buf := make([]byte, min(len(data), 256<<10))
	for len(data) > 0 {
		n := min(len(buf), len(data))
		if _, err := io.ReadFull(r, buf[:n]); err != nil || !bytes.Equal(buf[:n], data[:n]) {
			return false
		}
		data = data[n:]
	}
	return true
}

// PutSliver implements node.Store. The sliver becomes an object of its own,
// unless there is one that holds it.
func (s *Store) PutSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, data []byte) error {
	return s.PutSlivers(ctx, id, params, []walrus.SliverID{at}, func(walrus.SliverID) []byte { return data })
}

// PutSlivers stores slivers of a blob as one object, or as few as can be.
// sliver returns the bytes of one, which need to be valid until it is called
// again; it is called several times for each, by one goroutine at a time, and
// not after the return. As with PutSliver all is durable then, what is there
// already and equal is left untouched, and what differs is replaced.
func (s *Store) PutSlivers(ctx context.Context, id walrus.BlobID, params walrus.Params, slivers []walrus.SliverID, sliver func(walrus.SliverID) []byte) error {
	v := s.view(id, params)
	objects, begun, listed := v.now()
	if !listed {
		var err error
		objects, err = s.list(ctx, id, v, begun)
		if err != nil && !errors.Is(err, fs.ErrPermission) { // as above
			return err
		}
	}
	var absent []walrus.SliverID
	var held []object
	in := make(map[string][]walrus.SliverID) // by name of the object that holds them
	for _, at := range slivers {
		o, _, ok := find(objects, params, at)
		if !ok {
			absent = append(absent, at)
			continue
		}
		name := o.String()
		if in[name] == nil {
			held = append(held, o)
		}
		in[name] = append(in[name], at)
	}
	// What differs in an object goes into one of fewer slivers, which is then
	// the one that counts; or into the same again, if all of it differs.
	var lacking []pack
	for _, o := range held {
		name := o.String()
		wrong, err := s.wrong(ctx, id, params, o, in[name], sliver)
		if err != nil {
			return s.failed(ctx, "storing", s.key(id, name), err)
		}
		lacking = append(lacking, packs(params, wrong)...)
	}
	lacking = append(lacking, packs(params, absent)...)
	for _, k := range lacking {
		key, b := s.key(id, k.String()), newBody(params, k, sliver)
		if err := s.send(ctx, key, b, b.size()); err != nil {
			return s.failed(ctx, "storing", key, err)
		}
		s.stored(id, v, newObject(k, b.size()))
	}
	return nil
}

// wrong returns which of the wanted slivers an object does not hold as they
// are. It is one request, and the error as that of equal.
func (s *Store) wrong(ctx context.Context, id walrus.BlobID, params walrus.Params, o object, wanted []walrus.SliverID, sliver func(walrus.SliverID) []byte) ([]walrus.SliverID, error) {
	wanted = sorted(wanted)
	from, _ := o.offset(params, wanted[0])
	last := wanted[len(wanted)-1]
	to, _ := o.offset(params, last)
	to += int64(params.SliverLen(last.Axis))
	body, err := s.get(ctx, s.key(id, o.String()), from, to-from)
	if err != nil {
		return wanted, s.useless(ctx, err)
	}
	defer body.Close()
	var wrong []walrus.SliverID
	var broken bool
	at := from
	for _, w := range wanted {
		off, _ := o.offset(params, w)
		if !broken && off > at {
			_, err := io.CopyN(io.Discard, body, off-at)
			broken = err != nil
		}
		rest := io.LimitedReader{R: body, N: int64(params.SliverLen(w.Axis))}
		if broken || !holds(&rest, sliver(w)) {
			wrong = append(wrong, w)
		}
		at = off + int64(params.SliverLen(w.Axis)) - rest.N // behind what was read of it
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return wrong, nil
}
