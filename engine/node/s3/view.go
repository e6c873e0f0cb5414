package s3

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

const (
	// maxPages is how many answers a list of a blob's objects has at most: one
	// names 1000, and there are no more than two slivers for each shard.
	maxPages = 8

	// maxKept is how many runs of slivers are remembered of all blobs.
	maxKept = 128 << 10
)

// An object is one that holds slivers of a blob.
type object struct {
	pack
	slivers int   // in the pack
	bytes   int64 // that the object has
}

func newObject(k pack, bytes int64) object { return object{k, k.len(), bytes} }

// A view is what is believed of the objects of one blob. It may be out of
// date, or false.
type view struct {
	turn chan struct{} // one in it: somebody lists

	mu      sync.Mutex // guards what follows
	objects []object
	begun   int // lists asked for
	latest  int // the one that objects are from; 0: they are expected, no list was seen
}

// view returns what is believed of a blob.
func (s *Store) view(id walrus.BlobID, params walrus.Params) *view {
	s.mu.Lock()
	v := s.views[id]
	s.mu.Unlock()
	if v != nil {
		return v
	}
	v = &view{turn: make(chan struct{}, 1)}
	if s.expect != nil {
		for _, k := range packs(params, s.expect(id, params)) {
			v.objects = append(v.objects, newObject(k, k.size(params)))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.views[id]; other != nil {
		return other
	}
	s.keep(runs(v.objects) + 1)
	s.views[id] = v
	return v
}

// keep counts n more runs, or less. Too many are all forgotten. mu is held.
func (s *Store) keep(n int) {
	if s.kept += n; s.kept > maxKept {
		clear(s.views)
		s.kept = 0
	}
}

func runs(objects []object) int {
	n := 0
	for _, o := range objects {
		n += len(o.pack)
	}
	return n
}

// now returns what is believed, how many lists have been asked for, and whether
// one was seen.
func (v *view) now() (objects []object, begun int, listed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.objects, v.begun, v.latest > 0
}

// update changes what is believed.
func (s *Store) update(id walrus.BlobID, v *view, change func([]object) []object) []object {
	v.mu.Lock()
	old := runs(v.objects)
	v.objects = change(v.objects)
	objects := v.objects
	v.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.views[id] == v {
		s.keep(runs(objects) - old)
	}
	return objects
}

// stored notes that an object is there.
func (s *Store) stored(id walrus.BlobID, v *view, o object) {
	s.update(id, v, func(objects []object) []object {
		objects = slices.DeleteFunc(slices.Clone(objects), func(other object) bool { return slices.Equal(other.pack, o.pack) })
		return append(objects, o)
	})
}

// list returns which objects there are by a list that was asked for after begun
// others had been. Of those who wait for one, one asks.
func (s *Store) list(ctx context.Context, id walrus.BlobID, v *view, begun int) ([]object, error) {
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-v.turn }()
	v.mu.Lock()
	if v.latest > begun {
		defer v.mu.Unlock()
		return v.objects, nil
	}
	v.begun++
	mine := v.begun
	v.mu.Unlock()
	objects, err := s.ask(ctx, id)
	if err != nil {
		return nil, s.failed(ctx, "listing", s.key(id, ""), err)
	}
	return s.update(id, v, func([]object) []object {
		v.latest = mine
		return objects
	}), nil
}

// ask asks the service which objects a blob has.
func (s *Store) ask(ctx context.Context, id walrus.BlobID) ([]object, error) {
	prefix := s.key(id, "")
	var objects []object
	var next *string
	for range maxPages {
		out, err := s.api.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: prefix, ContinuationToken: next})
		if err != nil {
			return nil, err
		}
		for _, o := range out.Contents {
			name, below := strings.CutPrefix(aws.ToString(o.Key), *prefix)
			if k, ok := parsePack(name); ok && below && o.Size != nil && *o.Size >= 0 {
				objects = append(objects, newObject(k, *o.Size))
			}
		}
		if next = out.NextContinuationToken; !aws.ToBool(out.IsTruncated) || next == nil {
			return objects, nil
		}
	}
	return nil, fmt.Errorf("%w: the list of a blob's objects has more than %d parts", node.ErrProtocol, maxPages)
}

// find returns which object to read a sliver from and where it begins: of those
// that hold all of it, the one with the fewest slivers, of these the first by
// name.
func find(objects []object, params walrus.Params, at walrus.SliverID) (best object, off int64, ok bool) {
	for _, o := range objects {
		start, in := o.offset(params, at)
		if !in || o.bytes-start < int64(params.SliverLen(at.Axis)) {
			continue
		}
		if !ok || o.slivers < best.slivers || o.slivers == best.slivers && o.String() < best.String() {
			best, off, ok = o, start, true
		}
	}
	return best, off, ok
}

// cut reports whether an object holds the beginning of a sliver.
func cut(objects []object, params walrus.Params, at walrus.SliverID) bool {
	for _, o := range objects {
		if _, in := o.offset(params, at); in {
			return true
		}
	}
	return false
}

// Slivers asks which slivers of a blob the store holds by their lengths, and
// from then on reads go by what it says. Nothing of it is proven.
func (s *Store) Slivers(ctx context.Context, id walrus.BlobID, params walrus.Params) ([]walrus.SliverID, error) {
	v := s.view(id, params)
	_, begun, _ := v.now()
	objects, err := s.list(ctx, id, v, begun)
	if err != nil {
		return nil, err
	}
	var held []walrus.SliverID
	for _, axis := range []walrus.Axis{walrus.Primary, walrus.Secondary} {
		for i := range params.N {
			at := walrus.SliverID{Axis: axis, Index: i}
			if _, _, ok := find(objects, params, at); ok {
				held = append(held, at)
			}
		}
	}
	return held, nil
}
