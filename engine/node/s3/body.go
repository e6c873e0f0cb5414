package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

// send makes an object of a body of size bytes. It does not go on when none of
// them is taken for long, nor read any after it has returned.
func (s *Store) send(ctx context.Context, key *string, body io.ReadSeeker, size int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(s.answer, func() {
		cancel(fmt.Errorf("%w: nothing of what is sent was taken for %v", node.ErrSlow, s.answer))
	})
	defer stalled.Stop()
	g := &guarded{body: body, moved: func() { stalled.Reset(s.answer) }}
	defer g.end()
	_, err := s.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket:        &s.bucket,
		Key:           key,
		Body:          g,
		ContentLength: aws.Int64(size),
		ContentType:   aws.String("application/octet-stream"),
	})
	if err != nil {
		return s.clarify(ctx, err)
	}
	return nil
}

// guarded is a body that tells when some of it is taken, and can be ended: a
// request that was given up may be read from for a while.
type guarded struct {
	moved func()

	mu   sync.Mutex    // guards what follows, while it is read too
	body io.ReadSeeker // nil: it has ended
}

func (g *guarded) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.body = nil
}

func (g *guarded) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.body == nil {
		return 0, fs.ErrClosed
	}
	g.moved()
	return g.body.Read(p)
}

func (g *guarded) Seek(off int64, whence int) (int64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.body == nil {
		return 0, fs.ErrClosed
	}
	return g.body.Seek(off, whence)
}

// A body is the bytes of a pack, which it gets sliver by sliver.
type body struct {
	slivers []walrus.SliverID
	ends    []int64 // of slivers, in the pack
	sliver  func(walrus.SliverID) []byte

	off  int64
	at   int // the sliver that data is of; -1: none
	data []byte
}

func newBody(params walrus.Params, k pack, sliver func(walrus.SliverID) []byte) *body {
	b := &body{slivers: k.slivers(), sliver: sliver, at: -1}
	var end int64
	for _, at := range b.slivers {
		end += int64(params.SliverLen(at.Axis))
		b.ends = append(b.ends, end)
	}
	return b
}

func (b *body) size() int64 { return b.ends[len(b.ends)-1] }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.off >= b.size() {
		return 0, io.EOF
	}
	i := sort.Search(len(b.ends), func(i int) bool { return b.ends[i] > b.off })
	if i != b.at {
		b.at, b.data = i, b.sliver(b.slivers[i])
	}
	n := copy(p, b.data[len(b.data)-int(b.ends[i]-b.off):])
	b.off += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (b *body) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += b.off
	case io.SeekEnd:
		off += b.size()
	}
	if off < 0 {
		return 0, errors.New("internal error: a body is sought before its beginning")
	}
	b.off = off
	return off, nil
}
