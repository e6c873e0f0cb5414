package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/floefs/floe/merkle"
)

const testSpace = 1 << 50

// A memTable is a table in memory that counts the pages asked for.
type memTable struct {
	Table
	data  []byte
	asked map[int64]int
}

func chunkOf(data []byte) merkle.Chunk {
	c, err := merkle.Prove(merkle.Blake3(data), data, merkle.Blake3)
	if err != nil {
		panic(err)
	}
	return c
}

// newMemTable serves data as the table of dir, whose totals are set.
func newMemTable(dir Entry, data []byte) *memTable {
	m := &memTable{data: data, asked: make(map[int64]int)}
	dir.Type, dir.Root = Dir, merkle.Blake3(data)
	m.Table = Table{Dir: dir, Space: testSpace, Page: func(_ context.Context, i int64) (merkle.Chunk, error) {
		m.asked[i]++
		return chunkOf(data[i*PageSize : min((i+1)*PageSize, int64(len(data)))]), nil
	}}
	return m
}

// mustBuild returns the table of entries in the directory with that number.
func mustBuild(t testing.TB, number uint64, entries ...Entry) *memTable {
	t.Helper()
	var w bytes.Buffer
	b := NewTable(&w, number)
	for _, e := range entries {
		if _, err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	totals, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if totals.Size != int64(w.Len()) {
		t.Fatalf("Finish says %d bytes, wrote %d", totals.Size, w.Len())
	}
	dir := Entry{Number: number, Type: Dir}
	totals.Fill(&dir)
	return newMemTable(dir, w.Bytes())
}

func hashOf(s string) merkle.Hash { return merkle.Blake3([]byte(s)) }

// someEntries has an entry of every shape, in order, for directory 10.
func someEntries() []Entry {
	long := Extent{Size: 2000, Root: hashOf("list"), At: 51200}
	return []Entry{
		{Name: "\x01\xff\n", Mode: 0, Sec: -5},
		{Name: "big", Mode: 0o644, Sec: 1700000000, Nsec: 999999999, Size: 5 << 20, Root: hashOf("big"), At: 512, Sum: hashOf("BIG"),
			Holes: Holes{Inline: []merkle.Hole{{Start: 0, Count: 1}, {Start: 3, Count: 2}}}},
		{Name: "dir", Type: Dir, Mode: 0o755, Sec: 1, Size: 20000, Root: hashOf("dir"), At: 1 << 20, Entries: 7, Files: 5, Bytes: 1 << 40},
		{Name: "empty", Mode: 0o600},
		{Name: "emptydir", Type: Dir, Mode: 0o777},
		{Name: "link1", Mode: 0o644, Size: 3, Root: hashOf("l"), At: 1024, First: 22, Links: 3},
		{Name: "link2", Mode: 0o644, Size: 3, Root: hashOf("l"), At: 1024, First: 5, Links: 2},
		{Name: "sparse", Mode: 0o644, Size: 1 << 40, Root: hashOf("s"), At: 4096, Sum: hashOf("S"), Holes: Holes{Out: long}},
		{Name: "symlink", Type: Symlink, Mode: 0o777, Target: strings.Repeat("x", MaxTarget)},
		{Name: "xattrs", Mode: 0o644, Size: 16384, Root: hashOf("x"), At: 2048,
			Xattrs: Xattrs{Inline: []Xattr{{"user.a", []byte("1")}, {"user.b", []byte{}}}}},
		{Name: "xattrsout", Type: Dir, Mode: 0o755, Xattrs: Xattrs{Out: long}},
		{Name: "\xff", Mode: 0o644, Size: 1, Root: hashOf("f"), At: 0},
	}
}

// filled returns what a reader gets for e: numbers and defaults set.
func filled(e Entry, number uint64) Entry {
	e.Number = number
	if e.Links == 0 {
		e.Links, e.First = 1, number
	}
	if e.Type != Symlink && e.Size == 0 {
		e.Root = merkle.EmptyRoot
	}
	if e.Type == File && e.Size <= merkle.ChunkSize {
		e.Sum = e.Root
	}
	return e
}

func list(t testing.TB, table Table, from uint64) []Entry {
	t.Helper()
	var got []Entry
	for e, err := range table.List(t.Context(), from) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	return got
}

func TestWhatIsAddedIsFound(t *testing.T) {
	entries := someEntries()
	m := mustBuild(t, 10, entries...)
	number := uint64(11)
	for i, e := range entries {
		want := filled(e, number)
		got, err := m.Lookup(t.Context(), e.Name)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Lookup(%q) = %+v, %v; want %+v", e.Name, got, err, want)
		}
		for n := number; n < number+want.span(); n++ {
			if got, err := m.ByNumber(t.Context(), n); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("ByNumber(%d) = %+v, %v; want %+v", n, got, err, want)
			}
			if got := list(t, m.Table, n-10); len(got) != len(entries)-i-min(1, int(n-number)) {
				t.Errorf("List(%d) has %d entries", n-10, len(got))
			}
		}
		number += want.span()
	}
	for _, name := range []string{"", "a", "bigg", "zzz", "\x00", "\xff\xff"} {
		if _, err := m.Lookup(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Lookup(%q): %v, want not exist", name, err)
		}
	}
	for _, n := range []uint64{0, 9, 10, number, 1<<64 - 1} {
		if _, err := m.ByNumber(t.Context(), n); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ByNumber(%d): %v, want not exist", n, err)
		}
	}
	for _, from := range []uint64{0, 1} {
		if got := list(t, m.Table, from); len(got) != len(entries) {
			t.Errorf("List(%d) has %d entries, want %d", from, len(got), len(entries))
		}
	}
	if got := list(t, m.Table, 1<<64-1); len(got) != 0 {
		t.Errorf("List behind the end has %d entries", len(got))
	}
	mustVerify(t, m.Table)
}

func mustVerify(t testing.TB, table Table) {
	t.Helper()
	for _, err := range table.Verify(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestEmptyDirectoryNeedsNoPage(t *testing.T) {
	m := mustBuild(t, 1)
	if len(m.data) != 0 {
		t.Fatalf("table of %d bytes", len(m.data))
	}
	if _, err := m.Lookup(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lookup: %v", err)
	}
	if _, err := m.ByNumber(t.Context(), 2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ByNumber: %v", err)
	}
	if got := list(t, m.Table, 0); len(got) != 0 {
		t.Errorf("List: %v", got)
	}
	mustVerify(t, m.Table)
}

func numbered(i int) Entry {
	return Entry{Name: fmt.Sprintf("file%07d", i), Mode: 0o644, Sec: 1700000000, Nsec: 5, Size: 100, Root: hashOf(fmt.Sprint(i)), At: int64(i) * 512}
}

// bigTable has n entries like most, longTable n with names so long that an
// index of few has many levels.
func bigTable(t testing.TB, n int) *memTable {
	return tableOf(t, n, numbered)
}

func longTable(t testing.TB, n int) *memTable {
	return tableOf(t, n, func(i int) Entry {
		e := numbered(i)
		e.Name = fmt.Sprintf("name%07d%s", i, strings.Repeat("x", MaxName-11))
		return e
	})
}

func tableOf(t testing.TB, n int, entry func(i int) Entry) *memTable {
	var w bytes.Buffer
	b := NewTable(&w, 1)
	for i := range n {
		if _, err := b.Add(entry(i)); err != nil {
			t.Fatal(err)
		}
	}
	totals, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	dir := Entry{Number: 1, Type: Dir}
	totals.Fill(&dir)
	return newMemTable(dir, w.Bytes())
}

func TestMillionEntriesAreFoundInFewPages(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	m := bigTable(t, n)
	p, err := ParsePage(chunkOf(m.data[(Pages(m.Dir.Size)-1)*PageSize:]), &m.Dir, testSpace, RootBound(&m.Dir))
	if err != nil {
		t.Fatal(err)
	}
	depth := p.level + 1
	if depth > 3 {
		t.Errorf("%d levels of pages", depth)
	}
	t.Logf("%d entries: %d bytes, %.1f each, %d pages, %d levels", n, m.Dir.Size, float64(m.Dir.Size)/float64(n), Pages(m.Dir.Size), depth)
	pages := func(what string, most int) {
		t.Helper()
		asked := 0
		for _, k := range m.asked {
			asked += k
		}
		if asked > most {
			t.Errorf("%s took %d pages, want at most %d", what, asked, most)
		}
		clear(m.asked)
	}
	for i := 0; i < n; i += n / 97 {
		want := filled(numbered(i), uint64(i)+2)
		if e, err := m.Lookup(t.Context(), want.Name); err != nil || !reflect.DeepEqual(e, want) {
			t.Fatalf("Lookup %d: %+v, %v", i, e, err)
		}
		pages("Lookup", depth)
		if e, err := m.ByNumber(t.Context(), want.Number); err != nil || !reflect.DeepEqual(e, want) {
			t.Fatalf("ByNumber %d: %+v, %v", i, e, err)
		}
		pages("ByNumber", depth)
		k := 0
		for e, err := range m.List(t.Context(), uint64(i)+1) {
			if err != nil || e.Number != uint64(i+k)+2 {
				t.Fatalf("List(%d) at %d: %d, %v", i+1, k, e.Number, err)
			}
			if k++; k == 10 {
				break
			}
		}
		pages("the first of a List", depth+2)
	}
	k := 0
	for e, err := range m.List(t.Context(), 0) {
		if err != nil || e.Number != uint64(k)+2 {
			t.Fatalf("List at %d: %d, %v", k, e.Number, err)
		}
		k++
	}
	if k != n {
		t.Errorf("List has %d entries, want %d", k, n)
	}
	pages("a whole List", int(Pages(m.Dir.Size)))
	mustVerify(t, m.Table)
}

func TestListStopsAtAnError(t *testing.T) {
	m := bigTable(t, 10_000)
	page, broken := m.Page, errors.New("broken")
	m.Page = func(ctx context.Context, i int64) (merkle.Chunk, error) {
		if i == 3 {
			return merkle.Chunk{}, broken
		}
		return page(ctx, i)
	}
	n, failed := 0, 0
	for _, err := range m.List(t.Context(), 0) {
		if err != nil {
			failed++
			if !errors.Is(err, broken) {
				t.Error(err)
			}
		} else {
			n++
		}
	}
	if failed != 1 || n == 0 || n > 1000 {
		t.Errorf("%d entries, %d errors", n, failed)
	}
}

func TestCheckedPagesAreNotAskedForAgain(t *testing.T) {
	m := bigTable(t, 10_000)
	m.Checked = NewChecked(1 << 20)
	for range 3 {
		if _, err := m.Lookup(t.Context(), numbered(5000).Name); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.asked) != 2 {
		t.Errorf("asked for pages %v", m.asked)
	}
	for _, k := range m.asked {
		if k != 1 {
			t.Errorf("asked for pages %v", m.asked)
		}
	}
	m.Checked = NewChecked(100_000)
	for range 2 {
		list(t, m.Table, 0)
		if u := m.Checked.Used(); u > 100_000 || u < 50_000 {
			t.Errorf("%d bytes used of 100000", u)
		}
	}
	if n := testing.AllocsPerRun(100, func() { m.Lookup(context.Background(), "file0009999") }); n > 0 {
		t.Errorf("a lookup in checked pages makes %v allocations", n)
	}
}

// TestCheckedIsSafeForConcurrentUse has lookups in several directories fight
// for a Checked that holds less than they need.
func TestCheckedIsSafeForConcurrentUse(t *testing.T) {
	m := bigTable(t, 5000)
	pages := make([]merkle.Chunk, Pages(m.Dir.Size))
	for i := range pages {
		pages[i], _ = m.Page(t.Context(), int64(i))
	}
	m.Page = func(_ context.Context, i int64) (merkle.Chunk, error) { return pages[i], nil }
	m.Checked = NewChecked(10 * PageSize)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			table := m.Table
			table.Dir.Number = uint64(g%3) + 1
			for i := range 500 {
				k := (i*131 + g*977) % 5000
				e, err := table.Lookup(t.Context(), numbered(k).Name)
				if err != nil || e.Number != table.Dir.Number+uint64(k)+1 {
					t.Errorf("Lookup %d in directory %d: number %d, %v", k, table.Dir.Number, e.Number, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if u := m.Checked.Used(); u > 10*PageSize {
		t.Errorf("%d bytes used of %d", u, 10*PageSize)
	}
}
