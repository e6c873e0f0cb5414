package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/committee"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/aggregator"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/s3"
)

// storeVariable is the variable that sets --from and --to.
const storeVariable = "FLOE_STORE"

// The kinds of places, by how their URLs begin.
const (
	dirScheme       = "dir"
	committeeScheme = "committee"
	s3Scheme        = "s3"
	relayScheme     = "relay"
	httpScheme      = "http" // and https: an aggregator, a CDN or a publisher
)

// A place is where blobs are: a store in a directory or in a bucket, a
// committee of nodes, or an aggregator. Or it is what they are put through.
type place struct {
	url       string               // as names remember it
	store     *dir.Store           // nil: it is not in a directory
	committee *committee.Committee // nil: it is a store
	members   []member
	through   *through      // nil: it can be read from
	network   *node.Network // of nodes over HTTP
	buckets   []*s3.Store
}

// A member is one node of a place.
type member struct {
	blob.Member
	url    string
	shards []int        // of its committee; nil: it holds blobs alone
	store  *dir.Store   // nil: it is elsewhere, or cannot be opened
	client *node.Client // nil: it is no storage node over HTTP

	aggregator *aggregator.Store // nil: it is none
}

// String returns what the user calls the node, and where it is.
func (m member) String() string {
	if m.Name == m.url {
		return m.url
	}
	return fmt.Sprintf("%s (%s)", m.Name, m.url)
}

// placeOf returns the kind and the path of the place that url names:
// committee:PATH, or a path that ends as committee files do; s3://BUCKET/PREFIX,
// whose path is all of it, as it is of http:// and https://; relay:URL; dir:PATH,
// or any other path. Empty means the default store.
func (e *env) placeOf(url string) (kind, path string, err error) {
	if url == "" {
		return dirScheme, e.defaultStore(), nil
	}
	scheme, path, ok := strings.Cut(url, ":")
	switch {
	case !ok || strings.Contains(scheme, "/"):
		if strings.HasSuffix(url, ".toml") || strings.HasSuffix(url, ".json") {
			return committeeScheme, e.abs(url), nil
		}
		return dirScheme, e.abs(url), nil
	case (scheme == dirScheme || scheme == committeeScheme) && path != "":
		return scheme, e.abs(path), nil
	case scheme == s3Scheme:
		return scheme, url, nil
	case scheme == httpScheme || scheme == "https":
		return httpScheme, url, nil
	case scheme == relayScheme && (strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://")):
		return scheme, path, nil
	}
	return "", "", usagef("%s: places of the kind %q are not supported: write dir:PATH, s3://BUCKET/PREFIX, the path of a committee file, or the URL of an aggregator", url, scheme)
}

// openPlace opens the place at url to read from it. near says which
// directories lie beside the cache.
func (e *env) openPlace(url string, how *reach, near func(path string) bool) (*place, error) {
	kind, path, err := e.placeOf(url)
	if err != nil {
		return nil, err
	}
	switch kind {
	case committeeScheme:
		return openCommittee(path, how, false, near)
	case s3Scheme:
		return bucketPlace(path)
	case httpScheme:
		return aggregatorPlace(path, how)
	case relayScheme:
		return nil, usagef("%s: an upload relay can only be written to: --from names a committee file or another place", url)
	}
	s, err := dir.Open(path, false)
	if errors.Is(err, fs.ErrNotExist) && url == "" {
		return nil, fmt.Errorf("there is no store yet at %s: %w: floe put DIR makes it, --from names another", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return storePlace(s, near), nil
}

// createPlace opens the place at url to put into it, and makes directories
// that are not there yet.
func (e *env) createPlace(url string, how *reach) (*place, error) {
	kind, path, err := e.placeOf(url)
	if err != nil {
		return nil, err
	}
	far := func(string) bool { return false }
	switch kind {
	case committeeScheme:
		return openCommittee(path, how, true, far)
	case s3Scheme:
		return bucketPlace(path)
	case httpScheme, relayScheme:
		return nil, usagef("%s: only floe put writes through publishers and relays: --to names a store or a committee file", url)
	}
	s, err := dir.Open(path, true)
	if err != nil {
		return nil, err
	}
	return storePlace(s, far), nil
}

func storePlace(s *dir.Store, near func(path string) bool) *place {
	url := storeURL(s.Path())
	m := member{Member: blob.Member{Name: url, Node: s, Near: near(s.Path())}, url: url, store: s}
	return &place{url: url, store: s, members: []member{m}}
}

// bucketPlace returns the store in a bucket, which holds blobs alone. It asks
// the service nothing yet; bucket and credentials are those of AWS' own
// variables and files.
func bucketPlace(url string) (*place, error) {
	p := &place{url: url}
	m := member{Member: blob.Member{Name: url, Remote: true}, url: url}
	if err := p.bucket(&m); err != nil {
		return nil, err
	}
	p.members = []member{m}
	return p, nil
}

// bucket opens the store in a bucket that is a member's node; close gives it
// back.
func (p *place) bucket(m *member) error {
	holds := m.Member
	s, err := s3.Open(context.Background(), m.url, &s3.Options{Expect: holds.Slivers})
	if err == nil {
		m.Node, p.buckets = s, append(p.buckets, s)
	}
	return err
}

// onlyStore returns the store in a directory that p is; an error if p is
// something else, which has no list of datasets.
func (p *place) onlyStore(what string) (*dir.Store, error) {
	if p.store == nil {
		return nil, usagef("floe %s needs a store in a directory; committees and buckets keep no list of datasets (%s): there the id is what counts", what, p.url)
	}
	return p.store, nil
}

// blobMembers returns the nodes as readers and writers of blobs take them.
func blobMembers(members []member) []blob.Member {
	var all []blob.Member
	for _, m := range members {
		all = append(all, m.Member)
	}
	return all
}

// lock keeps rm away from the stores of a place. The function ends that.
func (p *place) lock() (release func(), err error) {
	var locks []storeLock
	release = func() {
		for _, l := range locks {
			l.release()
		}
	}
	for _, m := range p.members {
		if m.store == nil {
			continue
		}
		l, err := lockStore(m.store, false)
		if err != nil {
			release()
			return nil, err
		}
		locks = append(locks, l)
	}
	return release, nil
}

// close gives back connections.
func (p *place) close() {
	if p.network != nil {
		p.network.Close()
	}
	for _, b := range p.buckets {
		b.Close()
	}
	for _, m := range p.members {
		if m.aggregator != nil {
			m.aggregator.Close()
		}
	}
}
