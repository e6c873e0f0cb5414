// Package s3 is a node in a bucket of an S3-compatible object store.
//
// # FORMAT: bucket store, version 2
//
// Below the prefix of s3://BUCKET/PREFIX there are, for each blob:
//
//	blobs/XX/ID/meta       the blob's metadata, as a Walrus PUT body
//	blobs/XX/ID/SLIVERS    slivers, bytes only, end to end
//
// ID is a blob id in base64url, XX its first two characters. SLIVERS says
// which slivers the object holds, and so where each begins: their lengths
// follow from the blob's size and number of shards.
//
//	SLIVERS = RUN *23("_" RUN)         at most 24 runs
//	RUN     = AXIS FIRST ["-" LAST]    indices FIRST to LAST; without LAST, just FIRST
//	AXIS    = "p" / "s"                primary or secondary
//
// Indices are decimal, without leading zeros, below 1000. Runs are in the
// order of the slivers: primary before secondary, then by index. They do not
// overlap, and two that touch are written as one. Other keys are not looked at.
// So p0-39 holds primary slivers 0 to 39 (what a blob of 100 shards is when a
// store holds it alone), and p0_p88-99_s0-11_s99 what a node has of a blob
// whose shards are such that its own wrap around.
//
// A sliver may lie in several objects. Of those long enough to hold all of it
// the one with the fewest slivers counts, of these the first by name. So a
// false sliver is replaced by an object of its own beside the one it was in.
//
// An object appears whole or not at all, and is durable, when the PUT of it
// has been answered: that is S3's own promise. What is stored together is one
// object up to 1 GiB and 24 runs, then another.
//
// Version 1 had an object for each sliver, with the names these have here: such
// stores are read, and added to, as they are. Below the prefix, keys are also
// the paths of a directory store (package dir), so a copy of one is a bucket
// store. A copy of a bucket is a directory store only as far as its objects
// hold one sliver each.
//
// TestNamesOfPacks and TestABlobOfABucketByteForByte prove it.
//
// # How many requests
//
// Nothing is asked before a read: names follow from what a store is expected to
// hold (Options.Expect). A chunk is one ranged GET, since primary slivers are
// consecutive slices of the blob, and so are the GETs of a decoder. If the
// object is not there the blob's objects are listed, once, and reads go by the
// list as long as it is right. Who finds false what was read asks for a new
// list with Slivers: perhaps it was replaced elsewhere.
//
// Neither names nor lists are trusted. If they are false so is what is read,
// and whoever reads proves.
//
// # What it asks of the service
//
// GetObject, with a Range of one span, PutObject and ListObjectsV2 that shows
// what was put before. The credentials need s3:GetObject, s3:PutObject and
// s3:ListBucket: without the last, AWS calls forbidden what is absent.
package s3

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

var _ node.Store = (*Store)(nil)

// Store is a node.Store in a bucket.
type Store struct {
	api    *s3.Client
	bucket string
	prefix string // of keys: empty, or ends in a slash
	at     string // endpoint, for errors; empty: that of AWS
	answer time.Duration
	expect func(walrus.BlobID, walrus.Params) []walrus.SliverID
	close  func()

	mu    sync.Mutex // guards what follows
	views map[walrus.BlobID]*view
	kept  int // runs in views
}

// String returns the store's address.
func (s *Store) String() string {
	return "s3://" + s.bucket + "/" + strings.TrimSuffix(s.prefix, "/")
}

// Close closes the connections that are not in use.
func (s *Store) Close() { s.close() }

// Check reports if the service cannot be reached, has no such bucket, or
// refuses the credentials.
func (s *Store) Check(ctx context.Context) error {
	// Not HeadBucket: answers to it do not say why. Whether there is such an
	// object does not matter.
	key := aws.String(s.prefix + "floe-store")
	body, err := s.get(ctx, key, 0, 1)
	if err == nil {
		body.Close()
		return nil
	}
	if err = s.clarify(ctx, err); gone(err) {
		return nil
	}
	return fmt.Errorf("%s: %w", s, err)
}

// key returns the name of an object of a blob.
func (s *Store) key(id walrus.BlobID, name string) *string {
	dir := id.String()
	return aws.String(s.prefix + "blobs/" + dir[:2] + "/" + dir + "/" + name)
}

const metadataName = "meta"

// Metadata implements node.Store.
func (s *Store) Metadata(ctx context.Context, id walrus.BlobID) ([]byte, error) {
	key := s.key(id, metadataName)
	out, err := s.api.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: key})
	if err != nil {
		return nil, s.failed(ctx, "reading", key, err)
	}
	defer out.Body.Close()
	data, err := io.ReadAll(io.LimitReader(out.Body, walrus.MaxMetadata+1))
	if err == nil && int64(len(data)) > walrus.MaxMetadata {
		err = fmt.Errorf("%w: metadata of more than %d bytes", node.ErrProtocol, walrus.MaxMetadata)
	}
	if err != nil {
		return nil, s.failed(ctx, "reading", key, err)
	}
	return data, nil
}

// ReadSliver implements node.Store. It is one request if the sliver lies where
// it is believed to.
func (s *Store) ReadSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	err := node.CheckRange(params, at, len(p), off)
	if err == nil && len(p) > 0 {
		err = s.readSliver(ctx, id, params, at, p, off)
	}
	if err != nil {
		return fmt.Errorf("%s of blob %s: %w", at, id, err)
	}
	return nil
}

func (s *Store) readSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	v := s.view(id, params)
	objects, begun, _ := v.now()
	believed, start, ok := find(objects, params, at)
	var err error
	if ok {
		if err = s.read(ctx, s.key(id, believed.String()), p, start+off); !gone(err) {
			return err
		}
	}
	// It is elsewhere, or nowhere.
	objects, failed := s.list(ctx, id, v, begun)
	if failed != nil {
		return failed
	}
	found, start, ok := find(objects, params, at)
	switch {
	case !ok && cut(objects, params, at):
		return errCut
	case !ok:
		return fmt.Errorf("no object of %s holds it: %w", s, fs.ErrNotExist)
	case err != nil && found.String() == believed.String():
		return err
	}
	return s.read(ctx, s.key(id, found.String()), p, start+off)
}

// read fills p with the bytes of an object from off on.
func (s *Store) read(ctx context.Context, key *string, p []byte, off int64) error {
	body, err := s.get(ctx, key, off, int64(len(p)))
	if err == nil {
		defer body.Close()
		if _, err = io.ReadFull(body, p); err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return s.failed(ctx, fmt.Sprintf("reading %d bytes at %d of", len(p), off), key, err)
	}
	return nil
}

// get returns n bytes of an object from off on, to read. An object that ends
// before that is errCut.
func (s *Store) get(ctx context.Context, key *string, off, n int64) (io.ReadCloser, error) {
	span := fmt.Sprintf("bytes=%d-%d", off, off+n-1)
	out, err := s.api.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: key, Range: &span})
	if err != nil {
		return nil, err
	}
	got := aws.ToString(out.ContentRange)
	switch {
	case (got != "" || off > 0) && !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", off)):
		err = fmt.Errorf("%w: sent %q, asked for %q", node.ErrProtocol, clip(got), span)
	case out.ContentLength != nil && *out.ContentLength < n:
		err = errCut
	}
	if err != nil {
		out.Body.Close()
		return nil, err
	}
	return out.Body, nil
}
