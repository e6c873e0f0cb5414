package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/aggregator"
)

// aggregatorPlace returns the aggregator or CDN at url, which has the bytes of
// blobs and no metadata. The URL is the user's own, so it may be anywhere, on
// this machine too.
func aggregatorPlace(url string, how *reach) (*place, error) {
	p := &place{url: url, network: how.network(url, true)}
	a, err := aggregator.New(p.network, url)
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	p.members = []member{{Member: blob.Member{Name: url, Node: a, Rows: true, Remote: true}, url: url, aggregator: a}}
	return p, nil
}

// rows reports whether the place is an aggregator.
func (p *place) rows() bool { return len(p.members) == 1 && p.members[0].Rows }

// noMetadata is what to say of s when nobody could be asked for its metadata.
func (rd *reader) noMetadata(s subject) error {
	return usagef("the metadata of %s is not in the cache, and %s is an aggregator or a CDN, which has none to prove its bytes by: "+
		"give --from a second time, with a place that has it, such as a committee file", s, rd.nodes[0].url)
}

// health asks a server how it is: what it calls that, and for how many seconds
// it has been up, if it says so.
func (m member) health(ctx context.Context) (state string, uptime float64, err error) {
	if m.aggregator != nil {
		state, err = m.aggregator.Status(ctx)
		var status *node.StatusError
		if errors.As(err, &status) && status.Code < 500 {
			return "answers, but does not say how it is", 0, nil // a CDN does not
		}
		return "aggregator: " + printable(state), 0, err
	}
	h, err := m.client.Health(ctx)
	if err != nil {
		return "", 0, err
	}
	if owned := h.Summary.Owned; owned != len(m.shards) {
		h.Status = fmt.Sprintf("%s, but says it has %s, not %d", h.Status, count(owned, "shard", "shards"), len(m.shards))
	}
	return h.Status, float64(h.Uptime.Secs), nil
}
