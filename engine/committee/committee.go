// Package committee is who holds which shards in an epoch, read from a file.
//
// # FORMAT: committee file
//
// TOML, or JSON with the same names if it begins with '{'. At most 4 MiB.
//
//	n_shards = 100            # shards that blobs are coded for, 4 to 1000
//	epoch = 1                 # default 0
//	keys_proven = true        # who has the private keys was proven elsewhere, as Sui does;
//	                          # default false: possession does
//
//	[[node]]
//	name = "alpha"            # default: the URL
//	url = "http://10.0.0.1:9185"   # http://, https://, s3://BUCKET/PREFIX, or dir:PATH,
//	                          # which starts where the file lies
//	shards = "0-24, 99"       # or [0, 1, 2]
//	public_key = "..."        # BLS key in base64, by which confirmations are checked; optional
//	possession = "..."        # proof in base64 that the node has the private key; optional
//	network_key = "..."       # P-256 key in base64, the only one TLS accepts; optional
//
// Every shard belongs to exactly one node, and no two have the same
// public_key. Unknown names are refused, so that a slip of the pen is not an
// option that is silently off.
//
// The proof of possession is the signature of message type 0 of package walrus,
// epoch and address being zero. Without it a node could give a public key that
// cancels those of others, and then sign for them.
package committee

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/floefs/floe/engine/walrus"
)

// A Committee is the nodes that hold blobs in an epoch. Between them they hold
// every shard once.
type Committee struct {
	Shards int
	Epoch  walrus.Epoch
	Nodes  []Node

	// Own says that it was read from a file of the user's own: only they or
	// root can have written it.
	Own bool
}

// A Node is one of a committee.
type Node struct {
	Name       string
	URL        string
	Shards     []int
	Key        *walrus.PublicKey        // nil: unknown
	Proven     bool                     // the node has the private key to Key
	NetworkKey *walrus.NetworkPublicKey // nil: unknown
}

// Names returns what the nodes are called, in their order.
func (c *Committee) Names() []string {
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// Signers returns the committee as those who sign, in the order of Nodes. A
// node whose key is unknown or not proven to be its own signs nothing.
func (c *Committee) Signers() (*walrus.Committee, error) {
	var members []walrus.Member
	for _, n := range c.Nodes {
		m := walrus.Member{Weight: len(n.Shards)}
		if n.Key != nil && n.Proven {
			m.Key = *n.Key
		}
		members = append(members, m)
	}
	return walrus.NewCommittee(c.Epoch, members)
}

const maxFile = 4 << 20

// Read reads a committee file.
func Read(path string) (*Committee, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading committee: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("longer than %d bytes", maxFile)
	}
	var c *Committee
	if err == nil {
		c, err = Parse(data)
	}
	if err != nil {
		return nil, fmt.Errorf("committee %s: %w", path, err)
	}
	c.Own = own(f)
	return c, nil
}

// file is a committee as it is written.
type file struct {
	Shards int    `toml:"n_shards" json:"n_shards"`
	Epoch  int64  `toml:"epoch" json:"epoch"`
	Proven bool   `toml:"keys_proven" json:"keys_proven"`
	Nodes  []node `toml:"node" json:"node"`
}

type node struct {
	Name       string `toml:"name" json:"name"`
	URL        string `toml:"url" json:"url"`
	Shards     any    `toml:"shards" json:"shards"`
	PublicKey  string `toml:"public_key" json:"public_key"`
	Possession string `toml:"possession" json:"possession"`
	NetworkKey string `toml:"network_key" json:"network_key"`
}

// Parse parses a committee file.
func Parse(data []byte) (*Committee, error) {
	var f file
	if err := decode(data, &f); err != nil {
		return nil, err
	}
	if f.Shards < walrus.MinShards || f.Shards > walrus.MaxShards {
		return nil, fmt.Errorf("n_shards is %d: it can be %d to %d", f.Shards, walrus.MinShards, walrus.MaxShards)
	}
	if f.Epoch < 0 || f.Epoch > 1<<32-1 {
		return nil, fmt.Errorf("epoch %d is not a number of 32 bits", f.Epoch)
	}
	c := &Committee{Shards: f.Shards, Epoch: walrus.Epoch(f.Epoch)}
	owner := make([]string, f.Shards)
	signer := make(map[walrus.PublicKey]string)
	for i, raw := range f.Nodes {
		n, err := raw.parse(f.Shards)
		if err != nil {
			return nil, fmt.Errorf("node %d (%s): %w", i+1, n.Name, err)
		}
		for _, s := range n.Shards {
			if owner[s] != "" {
				return nil, fmt.Errorf("shard %d belongs to %s and to %s", s, owner[s], n.Name)
			}
			owner[s] = n.Name
		}
		if n.Key != nil {
			if other, ok := signer[*n.Key]; ok {
				return nil, fmt.Errorf("%s and %s have the same public_key: each node needs a key of its own", other, n.Name)
			}
			signer[*n.Key] = n.Name
			n.Proven = n.Proven || f.Proven
		}
		c.Nodes = append(c.Nodes, n)
	}
	for s, name := range owner {
		if name == "" {
			return nil, fmt.Errorf("shard %d of %d belongs to no node", s, f.Shards)
		}
	}
	return c, nil
}

func decode(data []byte, f *file) error {
	if text := bytes.TrimSpace(data); len(text) > 0 && text[0] == '{' {
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(f); err != nil {
			return err
		}
		if _, err := d.Token(); err != io.EOF {
			return errors.New("something follows the JSON object")
		}
		return nil
	}
	meta, err := toml.Decode(string(data), f)
	if err != nil {
		return err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return fmt.Errorf("%s means nothing here", unknown[0])
	}
	return nil
}

func (r node) parse(shards int) (Node, error) {
	n := Node{Name: r.Name, URL: r.URL}
	if n.Name == "" {
		n.Name = r.URL
	}
	if n.URL == "" {
		return n, errors.New("has no url")
	}
	var err error
	if n.Shards, err = parseShards(r.Shards, shards); err != nil {
		return n, err
	}
	if r.PublicKey != "" {
		key, err := decodeKey(r.PublicKey)
		if err != nil {
			return n, fmt.Errorf("public_key: %w", err)
		}
		k, err := walrus.ParsePublicKey(key)
		if err != nil {
			return n, fmt.Errorf("public_key: %w", err)
		}
		n.Key = &k
	}
	if r.Possession != "" {
		if n.Key == nil {
			return n, errors.New("has a possession, but no public_key")
		}
		var s walrus.Signature
		if err := s.UnmarshalText([]byte(r.Possession)); err != nil {
			return n, fmt.Errorf("possession: %w", err)
		}
		if err := n.Key.VerifyPossession(s); err != nil {
			return n, fmt.Errorf("possession of the public_key: %w", err)
		}
		n.Proven = true
	}
	if r.NetworkKey != "" {
		key, err := decodeKey(r.NetworkKey)
		if err != nil {
			return n, fmt.Errorf("network_key: %w", err)
		}
		k, err := walrus.ParseNetworkPublicKey(key)
		if err != nil {
			return n, fmt.Errorf("network_key: %w", err)
		}
		n.NetworkKey = &k
	}
	return n, nil
}

func decodeKey(s string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(s) }

// parseShards accepts a string of numbers and ranges, or a list of numbers.
func parseShards(v any, n int) ([]int, error) {
	switch v := v.(type) {
	case nil:
		return nil, errors.New("has no shards")
	case string:
		return ParseShards(v, n)
	case []any:
		var list []string
		for _, x := range v {
			list = append(list, fmt.Sprint(x))
		}
		return ParseShards(strings.Join(list, ","), n)
	}
	return nil, fmt.Errorf("shards are %v: write \"0-24, 99\" or [0, 1, 2]", v)
}

// ParseShards parses numbers and ranges of shards of a committee of n, such as
// "0-24, 99". None may be named twice.
func ParseShards(text string, n int) ([]int, error) {
	var shards []int
	seen := make([]bool, n)
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		from, err := strconv.Atoi(strings.TrimSpace(first))
		to := from
		if err == nil && isRange {
			to, err = strconv.Atoi(strings.TrimSpace(last))
		}
		if err != nil {
			return nil, fmt.Errorf("shards %q: %q is neither a number nor a range", text, strings.TrimSpace(part))
		}
		if from < 0 || to >= n || from > to {
			return nil, fmt.Errorf("shards %q: %q is not within 0-%d", text, strings.TrimSpace(part), n-1)
		}
		for s := from; s <= to; s++ {
			if seen[s] {
				return nil, fmt.Errorf("shards %q: %d is named twice", text, s)
			}
			seen[s] = true
			shards = append(shards, s)
		}
	}
	return shards, nil
}
