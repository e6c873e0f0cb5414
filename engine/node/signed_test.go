package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// A committee of three nodes, with all slivers of one blob where they belong.
type committee struct {
	n       int
	shards  [][]int // by node
	keys    []*walrus.PrivateKey
	stores  []*dir.Store
	clients []*node.Client
	urls    []string
}

func newCommittee(t *testing.T, n int) *committee {
	t.Helper()
	c := &committee{n: n, shards: make([][]int, 3)}
	for s := range n {
		c.shards[s*3/n] = append(c.shards[s*3/n], s)
	}
	for i := range 3 {
		c.keys = append(c.keys, walrus.GenerateKey())
		c.stores = append(c.stores, newDir(t))
		c.urls = append(c.urls, start(t, c.stores[i], node.HandlerOptions{N: n, Shards: c.shards[i], Epoch: 9, Key: c.keys[i]}))
		c.clients = append(c.clients, newClient(t, c.urls[i], nil))
	}
	return c
}

// slivers returns the slivers of a blob that a node should have.
func (c *committee) slivers(b *walrus.Encoded, i int) []walrus.SliverID {
	var all []walrus.SliverID
	for _, s := range c.shards[i] {
		pair := b.ID.ShardToPair(s, c.n)
		all = append(all, walrus.Primary.OfPair(pair, c.n), walrus.Secondary.OfPair(pair, c.n))
	}
	return all
}

func (c *committee) put(t *testing.T, b *walrus.Encoded) {
	t.Helper()
	for i := range c.clients {
		nodetest.Put(t, c.clients[i], b, c.slivers(b, i)...)
	}
}

func TestConfirmationsMakeACertificate(t *testing.T) {
	c := newCommittee(t, 13)
	b := nodetest.Encode(t, 13, nodetest.Bytes(1, 5003))
	c.put(t, b)
	var members []walrus.Member
	signatures := map[int]walrus.Signature{}
	object := &walrus.ObjectID{1, 2, 3}
	want := walrus.StoredMessage{Epoch: 9, Blob: b.ID, Object: object}.Bytes()
	for i, client := range c.clients {
		members = append(members, walrus.Member{Key: c.keys[i].Public(), Weight: len(c.shards[i])})
		s, err := client.Confirm(t.Context(), b.ID, object)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Message, want) {
			t.Errorf("node %d signed %x, want %x", i, s.Message, want)
		}
		signatures[i] = s.Signature
		if s, err := client.Confirm(t.Context(), b.ID, nil); err != nil || c.keys[i].Public().Verify(s.Message, s.Signature) != nil {
			t.Errorf("node %d: permanent: %v", i, err)
		}
	}
	com, err := walrus.NewCommittee(9, members)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := com.Certify(want, signatures)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := com.VerifyStored(cert, b.ID); err != nil {
		t.Error(err)
	}
	if a := ask(t, "GET", blobURL(c.urls[0], b)+"/status", nil); a.code != 200 || !bytes.Contains(a.body, []byte(`"isCertified":true`)) || !bytes.Contains(a.body, []byte(`"initialCertifiedEpoch":9`)) {
		t.Errorf("status: %s", a.body)
	}
}

// A node confirms only what it has to the last byte.
func TestANodeConfirmsOnlyWhatItHas(t *testing.T) {
	c := newCommittee(t, 13)
	b := nodetest.Encode(t, 13, nodetest.Bytes(1, 5003))
	url := blobURL(c.urls[0], b) + "/confirmation/permanent"
	complete := false // once
	refused := func(what, want string) {
		t.Helper()
		if a := ask(t, "GET", url, nil); a.String() != want {
			t.Errorf("%s: got %s, want %s", what, a, want)
		}
		if want == "400 FAILED_PRECONDITION MISSING_SLIVERS" && !complete {
			if a := ask(t, "GET", blobURL(c.urls[0], b)+"/status", nil); !bytes.Contains(a.body, []byte(`"isCertified":false`)) || !bytes.Contains(a.body, []byte(`"initialCertifiedEpoch":null`)) {
				t.Errorf("%s: status %s", what, a.body)
			}
		}
	}
	refused("nothing", "400 FAILED_PRECONDITION NOT_REGISTERED")
	if err := c.clients[0].PutMetadata(t.Context(), b.ID, b.Metadata.Append(nil)); err != nil {
		t.Fatal(err)
	}
	for _, at := range c.slivers(b, 0) {
		refused(at.String(), "400 FAILED_PRECONDITION MISSING_SLIVERS")
		if err := c.clients[0].PutSliver(t.Context(), b.ID, b.Params, at, b.Sliver(at)); err != nil {
			t.Fatal(err)
		}
	}
	if a := ask(t, "GET", url+"?wait_for_registration=true&wait_millis=100", nil); a.code != 200 {
		t.Errorf("complete: got %s", a)
	}
	complete = true
	for _, at := range c.slivers(b, 0) {
		path := filepath.Join(c.stores[0].BlobDir(b.ID), fmt.Sprintf("%c%d", at.Axis.String()[0], at.Index))
		if err := os.Truncate(path, int64(len(b.Sliver(at))-1)); err != nil {
			t.Fatal(err)
		}
		refused(at.String()+" cut short", "400 FAILED_PRECONDITION MISSING_SLIVERS")
		if err := c.clients[0].PutSliver(t.Context(), b.ID, b.Params, at, b.Sliver(at)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.stores[0].Remove(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	refused("removed", "400 FAILED_PRECONDITION NOT_REGISTERED")
}

// Whoever lacks a sliver rebuilds it from symbols of the others.
func TestSymbolsRebuildSlivers(t *testing.T) {
	c := newCommittee(t, 13)
	b := nodetest.Encode(t, 13, nodetest.Bytes(1, 5003))
	c.put(t, b)
	for _, target := range nodetest.All(b.Params) {
		var symbols []walrus.RecoverySymbol
		for i := range c.clients {
			got, err := c.clients[i].RecoverySymbols(t.Context(), b.ID, b.Params, target)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(c.shards[i]) {
				t.Errorf("node %d: %d symbols for %s, want %d", i, len(got), target, len(c.shards[i]))
			}
			for _, g := range got {
				if err := b.Metadata.CheckSymbol(g); err != nil || g.Target != target {
					t.Errorf("node %d: symbol for %s, want %s: %v", i, g.Target, target, err)
				}
				symbols = append(symbols, g.RecoverySymbol)
			}
		}
		chunk, _, err := b.Metadata.Recover(target, symbols)
		if err != nil || !bytes.Equal(chunk.Bytes(), b.Sliver(target)) {
			t.Errorf("%s: not rebuilt: %v", target, err)
		}
	}
}

func TestSymbolsByID(t *testing.T) {
	c := newCommittee(t, 13)
	b := nodetest.Encode(t, 13, nodetest.Bytes(1, 5003))
	c.put(t, b)
	symbols := func(query string) []walrus.GeneralRecoverySymbol {
		t.Helper()
		a := ask(t, "GET", blobURL(c.urls[0], b)+"/recoverySymbols?"+query, nil)
		got, err := walrus.ParseRecoverySymbols(a.body)
		if a.code != 200 || err != nil || a.header.Get("Content-Type") != "application/octet-stream" {
			t.Fatalf("%s: got %s, %v", query, a, err)
		}
		for _, g := range got {
			if err := b.Metadata.CheckSymbol(g); err != nil {
				t.Errorf("%s: %v", query, err)
			}
		}
		return got
	}
	// All that there are: those of a row or a column of the node's.
	has := map[walrus.SliverID]bool{}
	for _, at := range c.slivers(b, 0) {
		has[at] = true
	}
	query, want, primary := "", 0, 0
	for r := range 13 {
		for col := 12; col >= 0; col-- {
			query += fmt.Sprintf("&id=%d-%d&id=%[1]d-%d", r, col, col) // twice, out of order
			inRow := has[walrus.SliverID{Axis: walrus.Primary, Index: r}]
			if inRow || has[walrus.SliverID{Axis: walrus.Secondary, Index: col}] {
				want++
			}
			if inRow {
				primary++
			}
		}
	}
	got := symbols(query[1:])
	if len(got) != want {
		t.Errorf("%d symbols, want %d", len(got), want)
	}
	for i := range got[1:] {
		if got[i].ID().Compare(got[i+1].ID()) >= 0 {
			t.Errorf("%s before %s", got[i].ID(), got[i+1].ID())
		}
	}
	got = symbols("proofAxis=primary" + query)
	if len(got) != primary {
		t.Errorf("%d symbols proven by rows, want %d", len(got), primary)
	}
	for _, g := range got {
		if g.SourceID().Axis != walrus.Primary {
			t.Errorf("%s is proven by a %s", g.ID(), g.SourceID())
		}
	}
}

func TestDecodingSymbolsJoin(t *testing.T) {
	c := newCommittee(t, 13)
	b := nodetest.Encode(t, 13, nodetest.Bytes(1, 5003))
	c.put(t, b)
	for _, axis := range []walrus.Axis{walrus.Primary, walrus.Secondary} {
		all := map[int][]walrus.DecodingSymbol{}
		query := "targetType=" + axis.String()
		for i := range b.Params.Needed(axis) {
			query += fmt.Sprint("&targetSlivers=", i)
		}
		for _, url := range c.urls {
			a := ask(t, "GET", blobURL(url, b)+"/decodingSymbols?"+query, nil)
			got, err := walrus.ParseDecodingSymbols(a.body)
			if a.code != 200 || err != nil {
				t.Fatalf("got %s, %v", a, err)
			}
			for target, symbols := range got {
				for _, s := range symbols {
					if s.Target != axis {
						t.Errorf("symbol for a %s sliver", s.Target)
					}
					all[target] = append(all[target], s.DecodingSymbol)
				}
			}
		}
		for i := range b.Params.Needed(axis) {
			at := walrus.SliverID{Axis: axis, Index: i}
			got, err := b.Params.Join(at, all[i])
			if err != nil || !bytes.Equal(got, b.Sliver(at)) {
				t.Errorf("%s: not rebuilt: %v", at, err)
			}
		}
	}
}

// A blob whose writer named a hash that no sliver of it has: nodes sign that
// it is inconsistent, and only then.
func TestInconsistencyIsSigned(t *testing.T) {
	c := newCommittee(t, 13)
	good := nodetest.Encode(t, 13, nodetest.Bytes(1, 5003))
	c.put(t, good)
	meta, err := walrus.ParseMetadata(good.Metadata.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	target := walrus.SliverID{Axis: walrus.Secondary, Index: 2}
	meta.Hashes[target.Pair(13)].Secondary[0] ^= 1
	bad := &walrus.Encoded{ID: meta.BlobID(), Params: good.Params, Metadata: meta}
	if err := c.clients[0].PutMetadata(t.Context(), bad.ID, meta.Append(nil)); err != nil {
		t.Fatal(err)
	}
	var symbols []walrus.RecoverySymbol
	for row := range good.Params.K1 { // as many as rebuild a secondary sliver
		at := walrus.SliverID{Axis: walrus.Primary, Index: row}
		x, err := good.Metadata.Expand(at, good.Sliver(at))
		if err != nil {
			t.Fatal(err)
		}
		symbols = append(symbols, x.Recovery(target.Index).RecoverySymbol)
	}
	proof := &walrus.InconsistencyProof{Target: target, Symbols: symbols}
	s, err := c.clients[0].ReportInconsistency(t.Context(), bad.ID, proof)
	if err != nil {
		t.Fatal(err)
	}
	if want := (walrus.InvalidMessage{Epoch: 9, Blob: bad.ID}).Bytes(); !bytes.Equal(s.Message, want) || c.keys[0].Public().Verify(want, s.Signature) != nil {
		t.Errorf("signed %x, want %x", s.Message, want)
	}
	var status *node.StatusError
	if _, err := c.clients[0].ReportInconsistency(t.Context(), good.ID, proof); !errors.As(err, &status) || status.Reason != "INVALID_PROOF" {
		t.Errorf("of a good blob: got error %v", err)
	}
	proof.Symbols = symbols[1:]
	if _, err := c.clients[0].ReportInconsistency(t.Context(), bad.ID, proof); !errors.As(err, &status) || status.Reason != "INVALID_PROOF" {
		t.Errorf("with too few symbols: got error %v", err)
	}
	if _, err := c.clients[1].ReportInconsistency(t.Context(), bad.ID, proof); !errors.As(err, &status) || status.Reason != "METADATA_NOT_FOUND" {
		t.Errorf("at a node that does not know the blob: got error %v", err)
	}
}
