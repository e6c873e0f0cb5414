package remote

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/certificate"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/tests/world"
)

// A notary is a committee on which a dataset lies that it is to certify.
type notary struct {
	*committee
	res   publish.Result
	blobs []walrus.BlobID
}

// newNotary puts a small dataset of several blobs on nodes with so many shards
// each.
func newNotary(t *testing.T, sizes ...int) *notary {
	t.Helper()
	n := &notary{committee: newCommittee(t, sizes...)}
	source := filepath.Join(n.dir, "source")
	must(t, os.Mkdir(source, 0o755))
	must(t, os.WriteFile(filepath.Join(source, "file"), nodetest.Bytes(1, 60_000), 0o644))
	w, err := n.client().Writer()
	must(t, err)
	n.res, err = publish.Dir(t.Context(), source, w, &publish.Options{Shards: n.n, BlobSize: 16 << 10, TempDir: n.dir})
	must(t, err)
	n.blobs, err = certificate.Blobs(n.res.ID, n.res.Table)
	must(t, err)
	if len(n.blobs) < 5 {
		t.Fatalf("%d blobs", len(n.blobs))
	}
	return n
}

// signers is the committee as those who sign; those named have no key.
func (n *notary) signers(without ...int) *walrus.Committee {
	n.t.Helper()
	var members []walrus.Member
	for i, m := range n.nodes {
		s := walrus.Member{Weight: len(m.shards)}
		if !slices.Contains(without, i) {
			s.Key = m.key.Public()
		}
		members = append(members, s)
	}
	c, err := walrus.NewCommittee(0, members)
	must(n.t, err)
	return c
}

// certify collects what the nodes sign, and makes the certificate of it.
func (n *notary) certify(by *walrus.Committee) (certificate.Verdict, []blob.Refusal, error) {
	n.t.Helper()
	w, err := n.client().Writer()
	must(n.t, err)
	certs, liars, err := w.Certify(n.t.Context(), by, n.blobs, func(int) {})
	if err != nil {
		return certificate.Verdict{}, liars, err
	}
	c, _, err := certificate.New(n.t.Context(), n.res.ID, n.res.Table, by, certs)
	must(n.t, err)
	back, err := certificate.Parse(c.Append(nil))
	must(n.t, err)
	v, err := back.Verify(n.t.Context(), n.res.ID, by, nil)
	must(n.t, err)
	return v, liars, nil
}

// refusing returns who has refused according to an error.
func refusing(t *testing.T, err error) []int {
	t.Helper()
	var q *blob.QuorumError
	if !errors.As(err, &q) {
		t.Fatalf("got %v, want a QuorumError", err)
	}
	var who []int
	for _, r := range q.Refusals {
		who = append(who, r.Member)
	}
	return slices.Sorted(slices.Values(who))
}

// Seven shards: f is 2, and 5 are a quorum.
func TestAQuorumCertifiesADataset(t *testing.T) {
	n := newNotary(t, 2, 2, 2, 1)
	v, liars, err := n.certify(n.signers())
	must(t, err)
	if len(liars) > 0 || v.Blobs != len(n.blobs) || v.Weight < 5 || v.Quorum != 5 || v.Shards != 7 {
		t.Errorf("verdict %+v, liars %v", v, liars)
	}
	// Who has no key is not asked, and not missed as long as the others are a
	// quorum.
	n.reset()
	if v, _, err = n.certify(n.signers(1)); err != nil || v.Weight != 5 || v.Signed[1] != 0 || v.Signed[0] != len(n.blobs) {
		t.Errorf("without one: %+v, %v", v, err)
	}
	if asked := n.nodes[1].requests.Load(); asked > 0 {
		t.Errorf("the node without a key was asked %d times", asked)
	}
	_, _, err = n.certify(n.signers(0, 1))
	if who := refusing(t, err); len(who) > 0 {
		t.Errorf("%v have refused", who)
	}
	if want := "nodes with 3 shards confirm blob "; !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), ", 5 are needed") {
		t.Errorf("got %v", err)
	}
}

// Whatever nodes with up to f shards do, the others certify the dataset. Those
// with more are named.
func TestWhoMisbehavesChangesNothing(t *testing.T) {
	n := newNotary(t, 2, 2, 2, 1)
	for _, f := range faults {
		t.Run(string(f), func(t *testing.T) {
			n.bad(f, 1)
			defer n.bad(nodetest.None, 1, 2)
			v, _, err := n.certify(n.signers())
			must(t, err)
			signs := slices.Contains([]nodetest.Fault{ // what it does wrong is only with slivers
				nodetest.Slow, nodetest.WrongBlob, nodetest.WrongShard, nodetest.WrongRange, nodetest.WholeRange,
			}, f)
			// Where it signs, any quorum will do, and somebody may come late.
			if v.Weight < 5 || !signs && (v.Signed[0] != v.Blobs || v.Signed[1] != 0) {
				t.Errorf("verdict %+v", v)
			}
			if signs {
				return
			}
			n.bad(f, 1, 2)
			_, _, err = n.certify(n.signers())
			if who := refusing(t, err); !slices.Equal(who, []int{1, 2}) {
				t.Errorf("%v have refused", who)
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		n.nodes[1].stop()
		v, _, err := n.certify(n.signers())
		must(t, err)
		if v.Weight != 5 || v.Signed[1] != 0 {
			t.Errorf("verdict %+v", v)
		}
		n.nodes[3].stop()
		_, _, err = n.certify(n.signers())
		if who := refusing(t, err); !slices.Equal(who, []int{1, 3}) {
			t.Errorf("%v have refused", who)
		}
	})
}

// A node that signs something else is named, and not counted.
func TestFalseConfirmationsAreNotCounted(t *testing.T) {
	n := newNotary(t, 2, 2, 2, 1)
	path := func(edit func(path string) string) func(m *member) {
		return func(m *member) { m.before = func(r *http.Request) { r.URL.Path = edit(r.URL.Path) } }
	}
	serve := func(opts node.HandlerOptions) func(m *member) {
		return func(m *member) {
			opts.N, opts.Shards = n.n, m.shards
			m.Node = nodetest.Serve(t, m.store, opts)
		}
	}
	for name, c := range map[string]struct {
		lie  func(m *member)
		want string
	}{
		"another key":   {serve(node.HandlerOptions{Key: walrus.GenerateKey()}), "signature is wrong for the public key in the committee file"},
		"another epoch": {func(m *member) { serve(node.HandlerOptions{Key: m.key, Epoch: 7})(m) }, "it is of epoch 7, the committee of epoch 0"},
		"deletable": {path(func(p string) string {
			return strings.Replace(p, "/permanent", "/deletable/0x"+strings.Repeat("2a", 32), 1)
		}), "it is about a deletable blob"},
		"another blob": {path(func(p string) string {
			parts := strings.Split(p, "/")
			if parts[3] = n.blobs[0].String(); strings.Contains(p, parts[3]) {
				parts[3] = n.blobs[1].String()
			}
			return strings.Join(parts, "/")
		}), "it is about blob "},
	} {
		t.Run(name, func(t *testing.T) {
			honest := n.nodes[2].Node
			defer func() { n.nodes[2].Node, n.nodes[2].before = honest, nil }()
			c.lie(n.nodes[2])
			v, _, err := n.certify(n.signers())
			must(t, err)
			if v.Weight != 5 || v.Signed[2] != 0 {
				t.Errorf("verdict %+v", v)
			}
			// Without another one the quorum hangs on it.
			_, liars, err := n.certify(n.signers(1))
			if who := refusing(t, err); !slices.Equal(who, []int{2}) {
				t.Errorf("%v have refused", who)
			}
			if len(liars) != 1 || liars[0].Member != 2 || !errors.Is(liars[0].Err, blob.ErrConfirmation) || !strings.Contains(liars[0].Err.Error(), c.want) {
				t.Errorf("liars: %v, want %s", liars, c.want)
			}
		})
	}
}

// A node that lacks slivers does not confirm, until they are there again.
func TestWhatIsMissingIsNotConfirmed(t *testing.T) {
	n := newNotary(t, 2, 2, 2, 1)
	for _, i := range []int{0, 3} {
		_, err := n.nodes[i].store.Remove(t.Context(), n.blobs[1])
		must(t, err)
	}
	_, liars, err := n.certify(n.signers())
	if who := refusing(t, err); !slices.Equal(who, []int{0, 3}) || len(liars) > 0 {
		t.Errorf("%v have refused, %v lied", who, liars)
	}
	if want := "confirm blob " + n.blobs[1].String(); !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = n.client().Repair(t.Context(), n.blobs[1])
	must(t, err)
	_, _, err = n.certify(n.signers())
	must(t, err)
}

// What the nodes of one committee hold cannot be certified by another.
func TestOnlyTheirOwnCommitteeCertifies(t *testing.T) {
	n := newNotary(t, 2, 2, 2, 1)
	w, err := n.client().Writer()
	must(t, err)
	other, err := walrus.NewCommittee(0, []walrus.Member{{Key: n.nodes[0].key.Public(), Weight: 7}})
	must(t, err)
	if _, _, err := w.Certify(t.Context(), other, n.blobs, func(int) {}); err == nil {
		t.Error("certified")
	}
	alone, err := blob.New([]blob.Member{{Name: "store", Node: world.New(t, world.NewTree(1), world.Options{}).Store}}, nil).Writer()
	must(t, err)
	if _, _, err := alone.Certify(t.Context(), n.signers(), n.blobs, func(int) {}); err == nil {
		t.Error("certified by a store that holds blobs alone")
	}
}
