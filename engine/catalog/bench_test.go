package catalog

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/floefs/floe/merkle"
)

// Pages are proven beforehand, as the engine's cache has them.
func benchTable(b *testing.B, n int) *memTable {
	m := bigTable(b, n)
	pages := make([]merkle.Chunk, Pages(m.Dir.Size))
	for i := range pages {
		pages[i], _ = m.Page(b.Context(), int64(i))
	}
	m.Page = func(_ context.Context, i int64) (merkle.Chunk, error) { return pages[i], nil }
	return m
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		m := benchTable(b, n)
		names := make([]string, n)
		for i := range names {
			names[i] = numbered(i).Name
		}
		for _, kind := range []string{"checked", "unchecked"} {
			m.Checked = nil
			if kind == "checked" {
				m.Checked = NewChecked(64 << 20)
			}
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					if _, err := m.Lookup(context.Background(), names[i*7919%n]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkByNumber(b *testing.B) {
	const n = 100_000
	m := benchTable(b, n)
	m.Checked = NewChecked(64 << 20)
	b.ReportAllocs()
	for i := range b.N {
		if _, err := m.ByNumber(context.Background(), uint64(i*7919%n)+2); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkList takes one entry per operation.
func BenchmarkList(b *testing.B) {
	m := benchTable(b, 100_000)
	b.ReportAllocs()
	for i := 0; i < b.N; {
		for _, err := range m.List(context.Background(), 0) {
			if i++; err != nil {
				b.Fatal(err)
			} else if i >= b.N {
				break
			}
		}
	}
}

func BenchmarkCheckPage(b *testing.B) {
	m := benchTable(b, 1000)
	root, err := ParsePage(chunkOf(m.data[(Pages(m.Dir.Size)-1)*PageSize:]), &m.Dir, testSpace, RootBound(&m.Dir))
	if err != nil {
		b.Fatal(err)
	}
	c, bound := chunkOf(m.data[:PageSize]), root.Child(0)
	b.SetBytes(PageSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePage(c, &m.Dir, testSpace, bound); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	t := NewTable(io.Discard, 1)
	e := numbered(0)
	name := []byte(e.Name)
	b.ReportAllocs()
	for i := range b.N {
		name = fmt.Appendf(name[:0], "file%010d", i)
		e.Name = string(name)
		if _, err := t.Add(e); err != nil {
			b.Fatal(err)
		}
	}
}
