package walrus

import (
	"bytes"
	"testing"
)

func FuzzParseMetadata(f *testing.F) {
	for _, n := range []int{4, 10, 130} {
		m := &Metadata{Size: 1000, Hashes: make([]PairHashes, n)}
		f.Add(m.Append(nil))
		for i := range m.Hashes {
			m.Hashes[i].Primary[i%32], m.Hashes[i].Secondary[31] = 1, 7
		}
		f.Add(m.Append(nil))
	}
	f.Add([]byte{0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0xE8, 0x07})             // 1000 pairs, none there
	f.Add([]byte{0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0x0F}) // more than there may be
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMetadata(b)
		if err != nil {
			return
		}
		if again := m.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x parsed, but is written as %x", b, again)
		}
		if m.N() > MaxShards {
			t.Fatalf("%d shards", m.N())
		}
		if err := m.Verify(m.BlobID(), m.N()); err != nil {
			t.Fatal(err)
		}
		id, again, err := ParseMetadataWithID(m.AppendWithID(nil, m.BlobID()))
		if err != nil || id != m.BlobID() || again.BlobID() != id {
			t.Fatalf("with its id: %v", err)
		}
	})
}

func FuzzParseBlobID(f *testing.F) {
	f.Add("M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseBlobID(s)
		if err == nil && (id.String() != s || len(s) != 43) {
			t.Fatalf("%q parsed, but is written as %q", s, id)
		}
		if err == nil {
			for _, n := range []int{4, 1000} {
				if pair := id.ShardToPair(id.PairToShard(3, n), n); pair != 3 {
					t.Fatalf("pair 3 became %d of %d", pair, n)
				}
			}
		}
	})
}

func FuzzParseSliver(f *testing.F) {
	for _, size := range []uint64{0, 1000, 100_000} {
		p, err := NewParams(7, size)
		if err != nil {
			f.Fatal(err)
		}
		for _, a := range []Axis{Primary, Secondary} {
			f.Add(p.AppendSliver(nil, SliverID{a, 6}, make([]byte, p.SliverLen(a))))
		}
	}
	f.Add([]byte{0x80, 0x00, 0, 0, 0, 0})
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseSliver(b)
		if err != nil {
			return
		}
		again := append(uleb(nil, uint32(len(d.Data))), d.Data...)
		again = append(again, byte(d.Symbol), byte(d.Symbol>>8), byte(d.Index), byte(d.Index>>8))
		if !bytes.Equal(again, b) {
			t.Fatalf("%x parsed, but is written as %x", b, again)
		}
	})
}
