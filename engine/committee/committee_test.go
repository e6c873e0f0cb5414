package committee

import (
	"fmt"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/walrus"
)

const two = `
n_shards = 7
epoch = 3

[[node]]
name = "a"
url = "http://127.0.0.1:1"
shards = "0-3, 6"

[[node]]
url = "dir:/srv/b"
shards = [4, 5]
`

func TestCommitteesAreReadFromTOMLAndJSON(t *testing.T) {
	for _, text := range []string{two, `{"n_shards":7,"epoch":3,"node":[
		{"name":"a","url":"http://127.0.0.1:1","shards":"0-3,6"},{"url":"dir:/srv/b","shards":[4,5]}]}`} {
		c, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if c.Shards != 7 || c.Epoch != 3 || len(c.Nodes) != 2 || len(c.Nodes[0].Shards) != 5 || c.Nodes[1].Name != "dir:/srv/b" || c.Nodes[1].Shards[1] != 5 {
			t.Errorf("read as %+v", c)
		}
	}
}

func TestSlipsOfThePenAreRefused(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"0-3, 6", "0-3", "shard 6 of 7 belongs to no node"},
		{"[4, 5]", "[4, 5, 6]", "shard 6 belongs to a and to dir:/srv/b"},
		{"[4, 5]", "[4, 5, 7]", "not within 0-6"},
		{"[4, 5]", "\"4-5-6\"", "neither a number nor a range"},
		{"[4, 5]", "true", "write \"0-24, 99\""},
		{"0-3, 6", "0-3, 6, 2", "named twice"},
		{"n_shards = 7", "n_shards = 3", "it can be 4 to 1000"},
		{"n_shards = 7", "n_shards = 1001", "it can be 4 to 1000"},
		{"epoch = 3", "epoch = -1", "32 bits"},
		{"epoch = 3", "epoc = 3", "epoc means nothing here"},
		{"url = \"dir:/srv/b\"", "", "has no url"},
		{"shards = [4, 5]", "", "has no shards"},
		{"shards = [4, 5]", "shards = [4, 5]\npublic_key = \"AAAA\"", "public_key"},
		{"shards = [4, 5]", "shards = [4, 5]\nnetwork_key = \"!\"", "network_key"},
	} {
		text := strings.Replace(two, c.from, c.to, 1)
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q instead of %q: %v", c.to, c.from, err)
		}
	}
	if _, err := Parse([]byte(`{"n_shards":4,"node":[{"url":"dir:x","shards":"0-3"}]} x`)); err == nil {
		t.Error("text after the JSON was accepted")
	}
}

// Who is known to have the private key to its public one can sign; the others
// count by their shards alone.
func TestSignersHaveProvenTheirKeys(t *testing.T) {
	key, other := walrus.GenerateKey(), walrus.GenerateKey()
	public := func(k *walrus.PrivateKey) string { return fmt.Sprintf("public_key = %q\n", k.Public()) }
	possession := func(k *walrus.PrivateKey) string { return fmt.Sprintf("possession = %q\n", k.Possession()) }
	signers := func(text string) []walrus.Member {
		t.Helper()
		c, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Signers()
		if err != nil {
			t.Fatal(err)
		}
		if s.Epoch() != 3 || s.Shards() != 7 || s.Members()[0].Weight != 5 || s.Members()[0].Key != (walrus.PublicKey{}) {
			t.Errorf("epoch %d, %d shards, members %v", s.Epoch(), s.Shards(), s.Members())
		}
		return s.Members()
	}
	none := walrus.Member{Weight: 2}
	mine := walrus.Member{Key: key.Public(), Weight: 2}
	if got := signers(two + public(key))[1]; got != none {
		t.Errorf("not proven: %v", got)
	}
	if got := signers(two + public(key) + possession(key))[1]; got != mine {
		t.Errorf("proven: %v", got)
	}
	if got := signers("keys_proven = true\n" + two + public(key))[1]; got != mine {
		t.Errorf("proven elsewhere: %v", got)
	}
	for text, want := range map[string]string{
		two + public(key) + possession(other):                                       "possession of the public_key: signature is wrong",
		two + possession(key):                                                       "has a possession, but no public_key",
		two + public(key) + "possession = \"AAAA\"\n":                               "possession: signature: want 96 bytes",
		strings.Replace(two, "[[node]]", "[[node]]\n"+public(key), 1) + public(key): "a and dir:/srv/b have the same public_key",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(two))
	f.Add([]byte(`{"n_shards":4,"node":[{"url":"dir:x","shards":"0-3"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		held := 0
		for _, n := range c.Nodes {
			held += len(n.Shards)
		}
		if held != c.Shards {
			t.Errorf("%d of %d shards are held", held, c.Shards)
		}
	})
}
