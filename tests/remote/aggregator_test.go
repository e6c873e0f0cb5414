package remote

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/aggregator"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/engine/web"
	"github.com/floefs/floe/tests/world"
)

const aggregatorName = "aggregator"

// A mirror is an aggregator of ours, with faults, that reads from a committee
// of its own.
type mirror struct {
	*nodetest.Node
	client *aggregator.Store
}

// mirror starts an aggregator in front of the committee's nodes as they are
// now. Change makes it another kind of server; nil leaves it as it is.
func (c *committee) mirror(t *testing.T, change func(http.Handler) http.Handler) *mirror {
	t.Helper()
	inner := c.client()
	eng := engine.New(inner, nil, nil)
	t.Cleanup(func() { eng.Close() })
	var h http.Handler = web.New(eng, nil)
	if change != nil {
		h = change(h)
	}
	m := &mirror{Node: nodetest.Wrap(t, h)}
	var err error
	m.client, err = aggregator.New(c.net, m.URL)
	must(t, err)
	t.Cleanup(m.client.Close)
	return m
}

// onlyWhole makes an aggregator a server of files.
func onlyWhole(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/byte-range") {
			http.NotFound(w, r)
			return
		}
		r.Header.Del("Range")
		h.ServeHTTP(w, r)
	})
}

// before returns a client that prefers the mirror to the committee's nodes.
func (m *mirror) before(c *committee) *blob.Client {
	members := []blob.Member{{Name: aggregatorName, Node: m.client, Rows: true, Remote: true}}
	return blob.New(append(members, c.members()...), c.options())
}

// empty takes all slivers from the nodes and leaves them the metadata.
func (f *forest) empty(t *testing.T) {
	t.Helper()
	for _, m := range f.nodes {
		slivers, err := filepath.Glob(filepath.Join(m.store.Path(), "blobs/*/*/[ps]*"))
		must(t, err)
		if len(slivers) == 0 {
			t.Fatalf("%s has no slivers", m.name)
		}
		for _, path := range slivers {
			must(t, os.Remove(path))
		}
	}
}

// The metadata comes from one place and the bytes from another, of whichever
// kind.
func TestADatasetIsReadFromAnAggregatorAndMetadata(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(http.Handler) http.Handler{"an aggregator": nil, "a server of files": onlyWhole} {
		t.Run(name, func(t *testing.T) {
			f := plant(t, 4, 3, 3, 2, 1)
			source := *f.committee
			m := f.mirror(t, change)
			// The mirror's own nodes are others, which hold all.
			f.committee = newCommittee(t, 13)
			for _, n := range source.nodes {
				blobs, err := filepath.Glob(filepath.Join(n.store.Path(), "blobs/*/*"))
				must(t, err)
				for _, b := range blobs {
					id, err := walrus.ParseBlobID(filepath.Base(b))
					must(t, err)
					data, err := n.store.Metadata(t.Context(), id)
					must(t, err)
					must(t, f.nodes[0].store.PutMetadata(t.Context(), id, data))
				}
			}
			client := m.before(f.committee)
			f.readAll(t, client)
			if n := stats(client, aggregatorName); n.Bytes == 0 || n.Errors > 0 || n.Lies > 0 {
				t.Errorf("%+v", n)
			}
			reports, err := client.Check(t.Context(), f.id, true)
			must(t, err)
			if r := reports[0]; r.Member != aggregatorName || !r.Whole() || r.Slivers > 0 {
				t.Errorf("the aggregator is reported as a store: %+v", r)
			}
			// What an aggregator sends is enough to fill a committee.
			if _, err := client.Repair(t.Context(), f.id); err != nil {
				t.Fatal(err)
			}
			reports, err = client.Check(t.Context(), f.id, true)
			must(t, err)
			if r := reports[1]; !r.Whole() || r.Slivers != 26 {
				t.Errorf("the committee is not repaired: %+v", r)
			}
		})
	}
}

// Whatever an aggregator does, the nodes make up for it.
func TestEveryByteIsRightWhateverAnAggregatorDoes(t *testing.T) {
	t.Parallel()
	f := plant(t, 4, 3, 3, 2, 1)
	m := f.mirror(t, nil)
	for _, fault := range append(faults, nodetest.GzipBomb, nodetest.Losing) {
		if fault == nodetest.WrongShard {
			continue
		}
		t.Run(string(fault), func(t *testing.T) {
			defer m.Set(nodetest.None, 0)
			must(t, os.RemoveAll(f.evidence()))
			m.Set(fault, attempt/2)
			client := m.before(f.committee)
			f.readAll(t, client)
			s, accused := stats(client, aggregatorName), f.checkEvidence(t)
			for _, n := range f.nodes {
				if accused[n.name] {
					t.Errorf("%s, which is honest, is accused", n.name)
				}
			}
			if lying := fault == nodetest.Lying; lying != accused[aggregatorName] || lying != (s.Lies > 0) {
				// Of another blob it sends what has the wrong length.
				if fault != nodetest.WrongBlob {
					t.Errorf("%d lies; accused: %v", s.Lies, accused)
				}
			}
		})
	}
}

// A lying aggregator is not asked any more, as a lying node is not.
func TestALyingAggregatorIsQuarantined(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(http.Handler) http.Handler{"an aggregator": nil, "a server of files": onlyWhole} {
		t.Run(name, func(t *testing.T) {
			f := plant(t, 4, 3, 3, 2, 1)
			m := f.mirror(t, change)
			m.Set(nodetest.Lying, 0)
			client := m.before(f.committee)
			for range 20 {
				if f.readAll(t, client); stats(client, aggregatorName).Lies >= 3 {
					break
				}
			}
			s := stats(client, aggregatorName)
			if s.Lies < 3 || s.Quarantined == 0 {
				t.Fatalf("%d lies, in quarantine for %v", s.Lies, s.Quarantined)
			}
			before := m.Asked()
			f.readAll(t, client)
			if more := m.Asked() - before; more > 0 {
				t.Errorf("it was asked %d times after that", more)
			}
			if !f.checkEvidence(t)[aggregatorName] {
				t.Error("there is no evidence")
			}
		})
	}
}

// Where nobody else has the bytes, a read fails in time and names who failed.
func TestAnAggregatorThatFailsIsNamed(t *testing.T) {
	for _, fault := range []nodetest.Fault{
		nodetest.Dead, nodetest.Hung, nodetest.Truncating, nodetest.Lying, nodetest.WrongBlob, nodetest.Busy, nodetest.Redirecting,
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			f := plant(t, 4, 3, 3, 2, 1)
			m := f.mirror(t, nil)
			ds := mustOpen(t, m.before(f.committee), f.id)
			f.empty(t)
			m.Set(fault, attempt/2)
			failed := 0
			for _, it := range f.sizable() {
				if len(it.Data) < 50_000 || failed > 0 {
					continue
				}
				err := f.tree.Compare(t.Context(), ds, it, 0, len(it.Data))
				switch {
				case errors.Is(err, world.ErrWrong):
					t.Errorf("%q: %v", it.Path, err)
				case err != nil:
					failed++
					if !strings.Contains(err.Error(), aggregatorName) {
						t.Errorf("the error does not name the aggregator: %v", err)
					}
				}
			}
			if failed == 0 {
				t.Error("all could be read")
			}
		})
	}
}

// Alone an aggregator is no place to read from: nothing it sends could be
// proven.
func TestWithoutMetadataNothingIsRead(t *testing.T) {
	f := plant(t, 13)
	m := f.mirror(t, nil)
	client := blob.New([]blob.Member{{Name: aggregatorName, Node: m.client, Rows: true, Remote: true}}, nil)
	_, err := open(t, t.Context(), client, f.id)
	if !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "metadata") {
		t.Errorf("got error %v", err)
	}
	if m.Asked() > 0 {
		t.Errorf("it was asked %d times", m.Asked())
	}
	if _, err := client.Writer(); err == nil {
		t.Error("it can be written to")
	}
}
