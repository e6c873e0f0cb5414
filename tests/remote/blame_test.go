package remote

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// checkBlame checks that no node is accused but those that may be, that each
// of them is if they must, and that all evidence holds.
func (c *committee) checkBlame(t *testing.T, client *blob.Client, bad []int, must bool) {
	t.Helper()
	// A node with one shard has no wrong one to send.
	accused := c.checkEvidence(t)
	for i, m := range c.nodes {
		s := stats(client, m.name)
		switch {
		case s.Lies > 0 && !slices.Contains(bad, i):
			t.Errorf("%s, which is honest, is said to have lied %d times: %s", m.name, s.Lies, s.LastError)
		case s.Lies > 0 && !accused[m.name]:
			t.Errorf("%s lied %d times, of which there is no evidence", m.name, s.Lies)
		case s.Lies == 0 && must && slices.Contains(bad, i) && len(m.shards) > 1 && s.Bytes > 0:
			t.Errorf("%s lied and was not found out", m.name)
		case s.Lies == 0 && accused[m.name]:
			t.Errorf("there is evidence against %s, of whom no lie is counted", m.name)
		}
	}
}

// checkEvidence proves every accusation as a stranger would, and returns who
// is accused.
func (c *committee) checkEvidence(t *testing.T) map[string]bool {
	t.Helper()
	accused := make(map[string]bool)
	files, err := filepath.Glob(filepath.Join(c.evidence(), "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var a struct {
			Node     string
			Blob     walrus.BlobID
			Axis     string
			Index    int
			Metadata []byte
			Bytes    string
		}
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		sent, err := os.ReadFile(filepath.Join(c.evidence(), a.Bytes))
		if err != nil {
			t.Fatal(err)
		}
		accused[a.Node] = true
		if a.Axis == "metadata" {
			if _, err := walrus.ProveMetadata(a.Blob, sent); err == nil {
				t.Errorf("%s: %s is accused of metadata that is true", path, a.Node)
			}
			continue
		}
		meta, err := walrus.ProveMetadata(a.Blob, a.Metadata)
		if err != nil {
			t.Errorf("%s: the metadata does not prove: %v", path, err)
			continue
		}
		at := walrus.SliverID{Axis: walrus.Primary, Index: a.Index}
		if a.Axis != at.Axis.String() {
			at.Axis = walrus.Secondary
		}
		if _, err := meta.ProveSliver(at, sent); err == nil {
			t.Errorf("%s: %s is accused of %s, which is true", path, a.Node, at)
		}
	}
	return accused
}

// A node that answers at once, and falsely, would win every race.
func TestALiarGetsNoTrafficAfterItsThirdLie(t *testing.T) {
	t.Parallel()
	for _, fault := range []nodetest.Fault{nodetest.Lying, nodetest.WrongShard} {
		t.Run(string(fault), func(t *testing.T) {
			f := plant(t, 4, 3, 3, 2, 1)
			client := f.client()
			f.bad(fault, 0)
			liar := f.nodes[0]
			var before int64
			rounds := 0
			for ; stats(client, liar.name).Lies < 3 && rounds < 20; rounds++ {
				f.readAll(t, client)
			}
			s := stats(client, liar.name)
			t.Logf("%d lies in %d rounds, %d requests; in quarantine for %v", s.Lies, rounds, s.Requests, s.Quarantined)
			if s.Lies < 3 || s.Quarantined == 0 {
				t.Fatal("the liar is not in quarantine")
			}
			before = liar.requests.Load()
			f.readAll(t, client)
			f.readAll(t, client)
			if more := liar.requests.Load() - before; more > 0 {
				t.Errorf("it was asked %d times after that", more)
			}
		})
	}
}

// Without a place for evidence a liar is counted all the same.
func TestNobodyNeedsToKeepEvidence(t *testing.T) {
	t.Parallel()
	f := plant(t, 4, 3, 3, 2, 1)
	f.bad(nodetest.Lying, 0)
	client := blob.New(f.members(), &blob.Options{Attempt: attempt})
	f.readAll(t, client)
	if stats(client, f.nodes[0].name).Lies == 0 {
		t.Error("no lie was counted")
	}
	if _, err := os.Stat(f.evidence()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("evidence was kept: %v", err)
	}
}
