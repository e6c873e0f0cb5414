package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/committee"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
)

// openCommittee opens the nodes that the file at path names. Paths in it start
// where it lies. A node that is not there is no error: a committee does without
// some.
func openCommittee(path string, how *reach, create bool, near func(path string) bool) (*place, error) {
	c, err := committee.Read(path)
	if err != nil {
		return nil, err
	}
	p := &place{
		url: committeeScheme + ":" + path, committee: c,
		network: how.network(path, c.Own),
	}
	for _, n := range c.Nodes {
		m, err := p.member(n, filepath.Dir(path), create, near)
		if err != nil {
			return nil, fmt.Errorf("committee %s: node %s: %w", path, n.Name, err)
		}
		p.members = append(p.members, m)
	}
	return p, nil
}

func (p *place) member(n committee.Node, base string, create bool, near func(path string) bool) (member, error) {
	shards, err := blob.NewShards(p.committee.Shards, n.Shards)
	if err != nil {
		return member{}, err
	}
	m := member{Member: blob.Member{Name: n.Name, Shards: shards}, url: n.URL, shards: n.Shards}
	scheme, rest, _ := strings.Cut(n.URL, ":")
	switch {
	case scheme == "http" || scheme == "https":
		m.client, err = node.NewClient(p.network, n.URL, &node.ClientOptions{Key: n.NetworkKey})
		m.Node, m.Remote = m.client, true
		return m, err
	case scheme == s3Scheme:
		m.Remote = true
		err = p.bucket(&m)
		return m, err
	case scheme != dirScheme || rest == "":
		return m, fmt.Errorf("url %q: it can be http://HOST:PORT, https://HOST:PORT, s3://BUCKET/PREFIX or dir:PATH", n.URL)
	}
	path := rest
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	if m.store, err = dir.Open(path, create); err != nil {
		m.store, m.Node = nil, gone{fmt.Errorf("it cannot be opened: %v", err)}
		return m, nil
	}
	m.Node, m.Near = m.store, near(path)
	return m, nil
}

// gone is a node that is not there: all it says is why.
type gone struct{ err error }

func (g gone) Metadata(context.Context, walrus.BlobID) ([]byte, error) { return nil, g.err }

func (g gone) ReadSliver(context.Context, walrus.BlobID, walrus.Params, walrus.SliverID, []byte, int64) error {
	return g.err
}

func (g gone) PutMetadata(context.Context, walrus.BlobID, []byte) error { return g.err }

func (g gone) PutSliver(context.Context, walrus.BlobID, walrus.Params, walrus.SliverID, []byte) error {
	return g.err
}
