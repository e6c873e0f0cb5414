package catalog

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/floefs/floe/merkle"
)

// A world is a dataset's directories in memory: tables by position.
type world struct {
	rng    *rand.Rand
	left   int // entries that may still be planned
	tables map[int64][]byte
	at     int64
	paths  map[string]uint64 // all entries below the top
}

// count returns a random number of entries: mostly few, sometimes enough for
// an index.
func (w *world) count(depth int) int {
	n := w.rng.IntN(8)
	if depth == 0 || w.rng.IntN(60) == 0 {
		n = 300 + w.rng.IntN(300)
	}
	if depth > 6 || n > w.left {
		return 0
	}
	w.left -= n
	return n
}

// A plan is a tree before it has numbers.
type plan struct {
	name     string
	children []plan
	size     uint64 // entries in it, itself included
	dir      bool
}

func (w *world) plan(name string, depth int) plan {
	p := plan{name: name, size: 1, dir: true}
	for i := range w.count(depth) {
		c := plan{name: fmt.Sprintf("%05d-%0*d", i, 1+w.rng.IntN(200), 0), size: 1}
		if w.rng.IntN(4) == 0 {
			c = w.plan(c.name, depth+1)
		}
		p.children = append(p.children, c)
		p.size += c.size
	}
	return p
}

// build makes the table of a directory and returns its entry.
func (w *world) build(t *testing.T, p plan, number uint64, path string) Entry {
	var buf bytes.Buffer
	b := NewTable(&buf, number)
	next := number + 1
	for _, c := range p.children {
		w.paths[path+"/"+c.name] = next
		e := Entry{Name: c.name, Number: next, Size: 10, Root: hashOf(c.name), At: 512}
		if c.dir {
			e = w.build(t, c, next, path+"/"+c.name)
		}
		if n, err := b.Add(e); err != nil || n != next {
			t.Fatalf("Add gives number %d, %v; want %d", n, err, next)
		}
		next += c.size
	}
	totals, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{Name: p.name, Number: number, Type: Dir, Mode: 0o755}
	totals.Fill(&e)
	if e.Size > 0 {
		w.at += merkle.Align
		e.At, e.Root = w.at, merkle.Blake3(buf.Bytes())
		w.tables[e.At] = buf.Bytes()
	}
	return e
}

func (w *world) table(dir Entry, checked *Checked) Table {
	return Table{Dir: dir, Space: testSpace, Checked: checked, Page: func(_ context.Context, i int64) (merkle.Chunk, error) {
		data := w.tables[dir.At]
		return chunkOf(data[i*PageSize : min((i+1)*PageSize, int64(len(data)))]), nil
	}}
}

// TestNumbersAndPathsAreOneToOne walks random trees: every number from the
// top's to the last leads to one path and back.
func TestNumbersAndPathsAreOneToOne(t *testing.T) {
	for seed := range uint64(20) {
		w := &world{left: 3000, rng: rand.New(rand.NewPCG(seed, 1)), tables: make(map[int64][]byte), paths: make(map[string]uint64)}
		p := w.plan("", 0)
		root := w.build(t, p, RootNumber, "")
		if root.Entries != p.size-1 || root.Entries != uint64(len(w.paths)) {
			t.Fatalf("seed %d: %d entries, want %d", seed, root.Entries, p.size-1)
		}
		checked := NewChecked(1 << 20)
		seen := make(map[string]bool)
		for n := uint64(RootNumber + 1); n <= root.Entries+1; n++ {
			dir, path := root, ""
			for dir.Number != n {
				e, err := w.table(dir, checked).ByNumber(t.Context(), n)
				if err != nil {
					t.Fatalf("seed %d: number %d: %v", seed, n, err)
				}
				back, err := w.table(dir, checked).Lookup(t.Context(), e.Name)
				if err != nil || back.Number != e.Number {
					t.Fatalf("seed %d: %q has number %d, by name %d, %v", seed, e.Name, e.Number, back.Number, err)
				}
				dir, path = e, path+"/"+e.Name
			}
			if w.paths[path] != n || seen[path] {
				t.Fatalf("seed %d: number %d leads to %q, whose number is %d", seed, n, path, w.paths[path])
			}
			seen[path] = true
		}
		w.walk(t, root, checked)
	}
}

// walk verifies all tables and resumes every listing behind every entry.
func (w *world) walk(t *testing.T, dir Entry, checked *Checked) {
	table := w.table(dir, checked)
	mustVerify(t, table)
	entries := list(t, table, 0)
	for i, e := range entries {
		k := 0
		for next, err := range table.List(t.Context(), e.Number-dir.Number+1) {
			if err != nil || next.Number != entries[i+1+k].Number {
				t.Fatalf("behind %q comes %q, %v", e.Name, next.Name, err)
			}
			if k++; k == 2 {
				break
			}
		}
		if k != min(2, len(entries)-i-1) {
			t.Fatalf("behind %q come %d entries", e.Name, k)
		}
		if e.Type == Dir {
			w.walk(t, e, checked)
		}
	}
}
