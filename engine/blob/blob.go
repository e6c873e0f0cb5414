// Package blob reads and writes one blob on many nodes: it picks nodes,
// decodes around those that fail, and names those that lie.
//
// A range of a blob is had in one of three ways, tried in this order:
//
//  1. as a range of a primary sliver: they are systematic, nothing is decoded;
//  2. as the same bytes of the secondary slivers of the columns it covers,
//     where nodes keep both axes: systematic too;
//  3. decoded from the same range of enough other primary slivers.
//
// None of this is proven here: the reader proves what it gets by content
// hashes, and calls Recheck if that fails. Then whole slivers are proven
// against the blob's metadata, and who served the false ones is remembered,
// with evidence.
package blob

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

// ErrUnavailable says that too few good slivers could be read.
var ErrUnavailable = errors.New("not enough slivers")

// A Member is one node to read from and write to: a store that holds blobs
// alone, or one node of a committee.
type Member struct {
	Name string // what errors and logs call it
	Node node.Store

	// Shards are those the node holds of its committee: of every blob that is
	// coded for as many shards, both slivers of their pairs. Nil: it holds
	// blobs alone, of each the first Kept primary slivers.
	Shards *Shards

	// Rows says that it has the systematic primary slivers of blobs and nothing
	// else, not even metadata, as an aggregator does; Shards is nil. It is only
	// read from: what it lacks is no damage.
	Rows bool

	// Near says that reading from the node costs no more than reading from a
	// cache would, so that caching what it returns gains nothing.
	Near bool

	// Remote says that the node may take long to answer: it gets deadlines,
	// and another way is tried beside it when it is slower than usual.
	Remote bool
}

// Shards is a set of the shards of a committee.
type Shards struct {
	of  int
	set []bool
}

// NewShards returns the set of the given shards of a committee of n.
func NewShards(n int, shards []int) (*Shards, error) {
	if n < walrus.MinShards || n > walrus.MaxShards {
		return nil, fmt.Errorf("a committee of %d shards: there are %d to %d", n, walrus.MinShards, walrus.MaxShards)
	}
	s := &Shards{n, make([]bool, n)}
	for _, i := range shards {
		if i < 0 || i >= n {
			return nil, fmt.Errorf("shard %d of %d", i, n)
		}
		if s.set[i] {
			return nil, fmt.Errorf("shard %d is named twice", i)
		}
		s.set[i] = true
	}
	return s, nil
}

// Of returns how many shards the committee has.
func (s *Shards) Of() int { return s.of }

// Len returns how many shards are in the set.
func (s *Shards) Len() int {
	n := 0
	for _, in := range s.set {
		if in {
			n++
		}
	}
	return n
}

// mayHave reports whether m may be asked for a sliver of blob id. A store that
// holds blobs alone may have more primary slivers than it needs to.
func (m *Member) mayHave(id walrus.BlobID, params walrus.Params, at walrus.SliverID) bool {
	if m.Shards == nil {
		return at.Axis == walrus.Primary && (!m.Rows || at.Index < params.K1)
	}
	return m.Shards.of == params.N && m.Shards.set[id.PairToShard(at.Pair(params.N), params.N)]
}

// Slivers returns which slivers of blob id m should have, primary ones first.
func (m *Member) Slivers(id walrus.BlobID, params walrus.Params) []walrus.SliverID {
	var all []walrus.SliverID
	if m.Rows {
		return nil
	}
	for _, axis := range []walrus.Axis{walrus.Primary, walrus.Secondary} {
		for i := range params.N {
			at := walrus.SliverID{Axis: axis, Index: i}
			if m.mayHave(id, params, at) && (m.Shards != nil || i < Kept(params)) {
				all = append(all, at)
			}
		}
	}
	return all
}

// Options are a Client's settings; nil and zero mean the defaults.
type Options struct {
	Logger   *slog.Logger // default: silent
	Evidence string       // directory for false slivers and who served them; empty: none is kept

	// Attempt is how long one request to a remote node may take: default 10 s.
	// A read makes several before its own deadline.
	Attempt time.Duration
}

// Client reads and writes blobs on its members. It is safe for concurrent
// use.
type Client struct {
	peers    []*peer
	log      *slog.Logger
	evidence string
	stash    stash
	wholes   wholes
	hedged   atomic.Int64 // bytes asked for beside a slow node
	detours  atomic.Int64 // reads whose first holder lags behind the others

	encoding sync.Mutex // guards encoder and what it returns
	encoder  *walrus.Encoder

	mu     sync.Mutex // guards health
	health map[walrus.BlobID]*health
}

// New returns a client of members, in order of preference. With none, every
// read fails: that is what being offline is.
func New(members []Member, opts *Options) *Client {
	c := &Client{log: slog.New(slog.DiscardHandler), health: make(map[walrus.BlobID]*health)}
	wait := attempt
	if opts != nil {
		if opts.Attempt > 0 {
			wait = opts.Attempt
		}
		c.evidence = opts.Evidence
		if opts.Logger != nil {
			c.log = opts.Logger
		}
	}
	for _, m := range members {
		c.peers = append(c.peers, newPeer(m, wait))
	}
	return c
}
