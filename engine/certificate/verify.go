package certificate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/floefs/floe/engine/walrus"
)

// A Verdict is what a true certificate proves.
type Verdict struct {
	Epoch  walrus.Epoch
	Blobs  int // of the dataset, different ones
	Weight int // shards that signed for each blob at least
	Quorum int // shards that were needed
	Shards int // of the committee

	Signed []int // by member of the committee: for how many blobs it signed
}

// New returns the certificate of dataset id. table is the bytes of its header
// blob and then those of its lists; signed has, by blob, what committee signed.
// All of it is verified.
func New(ctx context.Context, id walrus.BlobID, table [][]byte, committee *walrus.Committee, signed map[walrus.BlobID]*walrus.Certificate) (*Certificate, Verdict, error) {
	t, err := parseTable(id, table)
	if err != nil {
		return nil, Verdict{}, fmt.Errorf("certificate: %w", err)
	}
	c := &Certificate{
		Dataset: id, Epoch: committee.Epoch(), committee: Committee(committee),
		header: table[0], lists: table[1:], table: t,
	}
	for _, blob := range t.blobs {
		if signed[blob] == nil {
			return nil, Verdict{}, fmt.Errorf("certificate: blob %s is not certified", blob)
		}
		c.signed = append(c.signed, signed[blob])
	}
	v, err := c.Verify(ctx, id, committee, nil)
	return c, v, err
}

// Verify reports if c does not prove that a quorum of committee stores every
// blob of dataset id, for good: no blob is left out, and none is deletable.
// It needs nothing but its arguments. From time to time it calls progress, if
// that is not nil, from one goroutine at a time, with how many blobs it has
// done.
func (c *Certificate) Verify(ctx context.Context, id walrus.BlobID, committee *walrus.Committee, progress func(done int)) (Verdict, error) {
	v, err := c.verify(ctx, id, committee, progress)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("certificate: %w", err)
	}
	return v, err
}

func (c *Certificate) verify(ctx context.Context, id walrus.BlobID, committee *walrus.Committee, progress func(int)) (Verdict, error) {
	switch {
	case c.Dataset != id:
		return Verdict{}, fmt.Errorf("it is that of dataset %s, not of %s", c.Dataset, id)
	case c.committee != Committee(committee):
		return Verdict{}, errors.New("it is that of another committee, with other keys, other numbers of shards, or in another order")
	case c.Epoch != committee.Epoch():
		return Verdict{}, fmt.Errorf("it is of epoch %d, the committee of epoch %d", c.Epoch, committee.Epoch())
	case c.table.shards != committee.Shards():
		return Verdict{}, fmt.Errorf("the dataset is coded for %d shards, the committee has %d", c.table.shards, committee.Shards())
	}
	if err := c.prove(ctx); err != nil {
		return Verdict{}, err
	}
	v := Verdict{
		Epoch: c.Epoch, Blobs: len(c.table.blobs), Weight: committee.Shards(), Quorum: committee.Quorum(),
		Shards: committee.Shards(), Signed: make([]int, len(committee.Members())),
	}
	var mu sync.Mutex // guards v
	done := 0
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, blob := range c.table.blobs {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			signers, err := verifyBlob(committee, c.signed[i], blob)
			if err != nil {
				return fmt.Errorf("blob %s: %w", blob, err)
			}
			mu.Lock()
			defer mu.Unlock()
			weight := 0
			for _, m := range signers {
				weight += committee.Members()[m].Weight
				v.Signed[m]++
			}
			v.Weight = min(v.Weight, weight)
			if done++; progress != nil {
				progress(done)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return Verdict{}, err
	}
	return v, context.Cause(ctx)
}

// verifyBlob returns who signed that a blob is stored for good.
func verifyBlob(committee *walrus.Committee, signed *walrus.Certificate, id walrus.BlobID) ([]int, error) {
	m, signers, err := committee.VerifyStored(signed, id)
	if err == nil && m.Object != nil {
		err = fmt.Errorf("it is certified as deletable, by the owner of object %s", m.Object)
	}
	return signers, err
}
