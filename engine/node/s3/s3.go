// Package s3 is a node in a bucket of an S3-compatible object store.
//
// # FORMAT: bucket store, version 1
//
// Below the prefix of s3://BUCKET/PREFIX, keys are the paths of a directory
// store (package dir), so that either can be copied to the other:
//
//	blobs/XX/ID/meta           the blob's metadata, as a Walrus PUT body
//	blobs/XX/ID/p0 p1 ...      primary slivers by index, bytes only
//	blobs/XX/ID/s0 s1 ...      secondary slivers by index, bytes only
//
// ID is a blob id in base64url, XX its first two characters. Other keys are
// not looked at. An object appears whole or not at all, and is durable, when
// the PUT of it has been answered: that is S3's own promise.
//
// A sliver is an object of its own rather than a part of one for all slivers
// of a blob. Objects cannot be appended to, so slivers that arrive one by one,
// each durable when it is stored, could be packed only by writing again what
// is there. To a reader it is the same: primary slivers are consecutive slices
// of the blob, so a chunk is one ranged GET, and one more where it crosses
// into the next sliver.
//
// # What it asks of the service
//
// GetObject, with a Range of one span, and PutObject. The credentials need
// s3:GetObject, s3:PutObject and s3:ListBucket: without the last, AWS calls
// forbidden what is absent.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

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
	close  func()
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
	err := s.read(ctx, key, make([]byte, 1), 0)
	if err == nil {
		return nil
	}
	err = s.clarify(ctx, err)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) {
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

func sliverName(at walrus.SliverID) string {
	if at.Axis == walrus.Primary {
		return "p" + strconv.Itoa(at.Index)
	}
	return "s" + strconv.Itoa(at.Index)
}

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

// ReadSliver implements node.Store.
func (s *Store) ReadSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	key := s.key(id, sliverName(at))
	if err := s.read(ctx, key, p, off); err != nil {
		return s.failed(ctx, fmt.Sprintf("reading %d bytes at %d of", len(p), off), key, err)
	}
	return nil
}

// read fills p with the bytes of an object from off on.
func (s *Store) read(ctx context.Context, key *string, p []byte, off int64) error {
	span := fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)
	out, err := s.api.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: key, Range: &span})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if got := aws.ToString(out.ContentRange); got != "" || off > 0 {
		if !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", off)) {
			return fmt.Errorf("%w: sent %q, asked for %q", node.ErrProtocol, clip(got), span)
		}
	}
	_, err = io.ReadFull(out.Body, p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// PutMetadata implements node.Store.
func (s *Store) PutMetadata(ctx context.Context, id walrus.BlobID, data []byte) error {
	return s.put(ctx, s.key(id, metadataName), data)
}

// PutSliver implements node.Store.
func (s *Store) PutSliver(ctx context.Context, id walrus.BlobID, params walrus.Params, at walrus.SliverID, data []byte) error {
	return s.put(ctx, s.key(id, sliverName(at)), data)
}

// put makes an object of data, unless it is one. Two that put different bytes
// at the same time leave those of one of them, whole.
func (s *Store) put(ctx context.Context, key *string, data []byte) error {
	same, err := s.equal(ctx, key, data)
	if same {
		return nil
	}
	if err == nil {
		_, err = s.api.PutObject(ctx, &s3.PutObjectInput{
			Bucket:        &s.bucket,
			Key:           key,
			Body:          bytes.NewReader(data),
			ContentLength: aws.Int64(int64(len(data))),
			ContentType:   aws.String("application/octet-stream"),
		})
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
		err = s.clarify(ctx, err)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			err = nil // who may write need not be allowed to read
		}
		return false, err
	}
	defer out.Body.Close()
	if out.ContentLength == nil || *out.ContentLength != int64(len(data)) {
		return false, nil
	}
	buf := make([]byte, min(len(data), 256<<10))
	for len(data) > 0 {
		n := min(len(buf), len(data))
		if _, err := io.ReadFull(out.Body, buf[:n]); err != nil {
			return false, nil // perhaps what is there is damaged
		}
		if !bytes.Equal(buf[:n], data[:n]) {
			return false, nil
		}
		data = data[n:]
	}
	return true, nil
}
