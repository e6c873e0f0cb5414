package walrus

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/floefs/floe/merkle"
)

func TestOfficialRecoverySymbols(t *testing.T) {
	for _, v := range mustVectors(t).RecoverySymbols {
		t.Run(fmt.Sprintf("%s on %d shards", v.ID, v.N), func(t *testing.T) {
			enc, err := mustEncoder(t, v.N).Encode(t.Context(), vectorBlob(v.Blob.Seed, v.Blob.Size), 0)
			if err != nil {
				t.Fatal(err)
			}
			axis, err := ParseAxis(v.Axis)
			if err != nil {
				t.Fatal(err)
			}
			source := SliverID{axis, v.Source}
			x, err := enc.Metadata.Expand(source, enc.Sliver(source))
			if err != nil {
				t.Fatal(err)
			}
			g := x.Recovery(v.Target)
			equal(t, "symbol", hex.EncodeToString(g.Data), v.Symbol)
			equal(t, "target", g.Target, SliverID{axis.Other(), v.Target})
			equal(t, "source", g.SourceID(), source)
			equal(t, "id", g.ID().String(), v.ID)
			equal(t, "root", enc.Metadata.Hash(source).String(), v.Root)
			equal(t, "nodes of the path", len(g.Proof), len(v.Path))
			for i, node := range v.Path {
				if node == "empty" {
					node = hex.EncodeToString(make([]byte, merkle.HashSize))
				}
				equal(t, "node", g.Proof[i], mustHash(t, node))
			}
			equal(t, "bytes", hex.EncodeToString(g.Append(nil)), v.General)
			equal(t, "bytes in a proof", hex.EncodeToString(g.RecoverySymbol.Append(nil)), v.InProof)
			if most := enc.Params.RecoverySymbolLen(); len(v.General)/2 > most {
				t.Errorf("%d bytes, at most %d", len(v.General)/2, most)
			}
			parsed, err := ParseRecoverySymbols(append([]byte{1}, mustHex(t, v.General)...))
			if err != nil || len(parsed) != 1 {
				t.Fatalf("parsed %d symbols, %v", len(parsed), err)
			}
			if err := enc.Metadata.CheckSymbol(parsed[0]); err != nil {
				t.Error(err)
			}
			inProof := append([]byte{byte(v.Target), byte(v.Target >> 8), 1}, mustHex(t, v.InProof)...)
			proof, err := ParseInconsistencyProof(axis.Other(), inProof)
			if err != nil || !reflect.DeepEqual(proof.Symbols[0], g.RecoverySymbol) || proof.Target != g.Target {
				t.Errorf("in a proof: %+v, %v", proof, err)
			}
		})
	}
}

// symbolsFor returns the symbols that all slivers of the other axis have for
// target.
func symbolsFor(t testing.TB, m *Metadata, all [2][][]byte, target SliverID) []RecoverySymbol {
	t.Helper()
	var symbols []RecoverySymbol
	source := target.Axis.Other()
	for i, data := range all[source] {
		x, err := m.Expand(SliverID{source, i}, data)
		if err != nil {
			t.Fatal(err)
		}
		symbols = append(symbols, x.Recovery(target.Index).RecoverySymbol)
	}
	return symbols
}

func TestEverySliverIsRecoveredFromEnoughSymbols(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, x := range []struct{ n, size int }{{4, 10}, {7, 3001}, {10, 1}, {13, 5000}, {100, 1000}} {
		_, enc, all := encodeAll(t, x.n, x.size)
		for a := range all {
			for range 5 {
				target := SliverID{Axis(a), r.IntN(x.n)}
				symbols := symbolsFor(t, enc.Metadata, all, target)
				r.Shuffle(len(symbols), func(i, j int) { symbols[i], symbols[j] = symbols[j], symbols[i] })
				k := enc.Params.Symbols(target.Axis)
				false1 := symbols[0]
				false1.Data = slices.Clone(false1.Data)
				false1.Data[0] ^= 1
				got, proof, err := enc.Metadata.Recover(target, append(symbols[1:1+k:1+k], false1, symbols[1]))
				if err != nil || proof != nil || !bytes.Equal(got.Bytes(), all[a][target.Index]) {
					t.Fatalf("%d bytes on %d shards: %s wrong, %v", x.size, x.n, target, err)
				}
				if _, _, err := enc.Metadata.Recover(target, append(symbols[1:k:k], false1, symbols[1])); err == nil {
					t.Fatalf("%s recovered from %d of %d symbols", target, k-1, k)
				}
			}
		}
	}
}

func TestNoAlteredRecoverySymbolIsAccepted(t *testing.T) {
	_, enc, all := encodeAll(t, 13, 1000)
	m := enc.Metadata
	for a := range all {
		source := SliverID{Axis(a), 3}
		x, err := m.Expand(source, all[a][3])
		if err != nil {
			t.Fatal(err)
		}
		for target := range 13 {
			g := x.Recovery(target)
			if err := m.CheckSymbol(g); err != nil {
				t.Fatal(err)
			}
			for name, alter := range map[string]func(*GeneralRecoverySymbol){
				"data":        func(g *GeneralRecoverySymbol) { g.Data[1] ^= 4 },
				"length":      func(g *GeneralRecoverySymbol) { g.Data = g.Data[2:] },
				"source":      func(g *GeneralRecoverySymbol) { g.Source = 4 },
				"no source":   func(g *GeneralRecoverySymbol) { g.Source = 13 },
				"target":      func(g *GeneralRecoverySymbol) { g.Target.Index = (g.Target.Index + 1) % 13 },
				"no target":   func(g *GeneralRecoverySymbol) { g.Target.Index = 13 },
				"below 0":     func(g *GeneralRecoverySymbol) { g.Target.Index = -1 },
				"axis":        func(g *GeneralRecoverySymbol) { g.Target.Axis = g.Target.Axis.Other() },
				"no axis":     func(g *GeneralRecoverySymbol) { g.Target.Axis = 2 },
				"shorter":     func(g *GeneralRecoverySymbol) { g.Proof = g.Proof[1:] },
				"longer":      func(g *GeneralRecoverySymbol) { g.Proof = append(g.Proof, merkle.Hash{}) },
				"node":        func(g *GeneralRecoverySymbol) { g.Proof[2][0] ^= 1 },
				"no siblings": func(g *GeneralRecoverySymbol) { clear(g.Proof) },
			} {
				bad := g
				bad.Data, bad.Proof = slices.Clone(g.Data), slices.Clone(g.Proof)
				alter(&bad)
				if err := m.CheckSymbol(bad); !errors.Is(err, merkle.ErrMismatch) {
					t.Errorf("%s of %s altered: %v", name, g.ID(), err)
				}
			}
		}
		bad := slices.Clone(all[a][3])
		bad[7] ^= 1
		for _, data := range [][]byte{bad, bad[1:], nil} {
			if _, err := m.Expand(source, data); !errors.Is(err, merkle.ErrMismatch) {
				t.Errorf("%d false bytes expanded: %v", len(data), err)
			}
		}
		if _, err := m.Expand(SliverID{Axis(a), 13}, bad); err == nil {
			t.Error("sliver 13 of 13 expanded")
		}
	}
}

func TestInconsistencyIsProvenExactlyWhenThereIsOne(t *testing.T) {
	for _, n := range []int{4, 10, 31} {
		_, enc, all := encodeAll(t, n, 700)
		honest := enc.Metadata
		for a := range all {
			for _, index := range []int{0, n - 1} {
				target := SliverID{Axis(a), index}
				symbols := symbolsFor(t, honest, all, target)
				k := enc.Params.Symbols(target.Axis)

				// A writer who commits to another sliver than the other axis has.
				lying := &Metadata{Size: honest.Size, Hashes: slices.Clone(honest.Hashes)}
				pair := &lying.Hashes[target.Pair(n)]
				*map[Axis]*merkle.Hash{Primary: &pair.Primary, Secondary: &pair.Secondary}[target.Axis] = merkle.Blake2b([]byte("another"))

				_, proof, err := lying.Recover(target, symbols[n-k:])
				if !errors.Is(err, ErrInconsistent) || proof == nil {
					t.Fatalf("%s on %d shards: %v", target, n, err)
				}
				proof, err = ParseInconsistencyProof(target.Axis, proof.Append(nil))
				if err != nil {
					t.Fatal(err)
				}
				if err := lying.CheckInconsistency(proof); err != nil {
					t.Errorf("%s on %d shards: %v", target, n, err)
				}
				if honest.CheckInconsistency(proof) == nil {
					t.Errorf("%s on %d shards: honest blob called inconsistent", target, n)
				}
				for name, s := range map[string][]RecoverySymbol{
					"too few":  proof.Symbols[1:],
					"too many": append(slices.Clone(proof.Symbols), symbols[0]),
					"twice":    append(slices.Clone(proof.Symbols[1:]), proof.Symbols[1]),
					"none":     nil,
				} {
					if lying.CheckInconsistency(&InconsistencyProof{target, s}) == nil {
						t.Errorf("%s accepted", name)
					}
				}
				for _, other := range []SliverID{{target.Axis, (index + 1) % n}, {target.Axis.Other(), index}, {target.Axis, n}} {
					if lying.CheckInconsistency(&InconsistencyProof{other, proof.Symbols}) == nil {
						t.Errorf("proof for %s accepted for %s", target, other)
					}
				}
				bad := slices.Clone(proof.Symbols)
				bad[0].Data = slices.Clone(bad[0].Data)
				bad[0].Data[0] ^= 1
				if lying.CheckInconsistency(&InconsistencyProof{target, bad}) == nil || honest.CheckInconsistency(&InconsistencyProof{target, bad}) == nil {
					t.Error("proof with a false symbol accepted")
				}
			}
		}
	}
}

func TestDecodingSymbolsAreSortedByTheBytesOfTheirTargets(t *testing.T) {
	want := map[int][]EitherDecodingSymbol{
		1:   {{Primary, DecodingSymbol{7, []byte{1, 2}}}, {Primary, DecodingSymbol{9, []byte{3, 4}}}},
		256: {{Secondary, DecodingSymbol{0, []byte{5, 6}}}},
		2:   {},
	}
	b := AppendDecodingSymbols(nil, want)
	equal(t, "bytes", hex.EncodeToString(b), "03"+"0001"+"01"+"010000020506"+"0100"+"02"+"000700020102"+"000900020304"+"0200"+"00")
	got, err := ParseDecodingSymbols(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"02" + "0100" + "00" + "0001" + "00", "02" + "0100" + "00" + "0100" + "00", "01" + "0100", "01" + "0100" + "00" + "00"} {
		if got, err := ParseDecodingSymbols(mustHex(t, bad)); err == nil {
			t.Errorf("%s parsed as %v", bad, got)
		}
	}
}

func TestSymbolIDsHaveOneSpelling(t *testing.T) {
	ids := map[string]SymbolID{"0-0": {}, "12-345": {12, 345}, "65535-0": {65535, 0}}
	for s, want := range ids {
		if got, err := ParseSymbolID(s); err != nil || got != want || got.String() != s {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "-", "1", "1-", "-1", "01-1", "1-01", "+1-1", "1--1", "65536-0", "1-2-3", " 1-2", "1_0-2"} {
		if got, err := ParseSymbolID(bad); err == nil {
			t.Errorf("%q parsed as %v", bad, got)
		}
	}
	sorted := slices.SortedFunc(maps.Values(ids), SymbolID.Compare)
	equal(t, "order", fmt.Sprint(sorted), "[0-0 12-345 65535-0]")
}

func FuzzParseRecoverySymbols(f *testing.F) {
	_, enc, all := encodeAll(f, 7, 100)
	x, err := enc.Metadata.Expand(SliverID{Secondary, 6}, all[Secondary][6])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(AppendRecoverySymbols(nil, nil))
	f.Add(AppendRecoverySymbols(nil, []GeneralRecoverySymbol{x.Recovery(6), x.Recovery(0)}))
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 0xFF, 0xFF, 3, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		symbols, err := ParseRecoverySymbols(b)
		if err != nil {
			return
		}
		if again := AppendRecoverySymbols(nil, symbols); !bytes.Equal(again, b) {
			t.Fatalf("%x parsed, but is written as %x", b, again)
		}
		for _, g := range symbols {
			if enc.Metadata.CheckSymbol(g) == nil {
				source := g.SourceID()
				y, err := enc.Metadata.Expand(source, all[source.Axis][source.Index])
				if err != nil || !bytes.Equal(y.Symbol(g.Target.Index), g.Data) {
					t.Fatalf("%s accepted: %x", g.ID(), g.Data)
				}
			}
		}
	})
}

func FuzzParseDecodingSymbols(f *testing.F) {
	s := EitherDecodingSymbol{Secondary, DecodingSymbol{3, []byte{1, 2, 3, 4}}}
	f.Add(AppendDecodingSymbols(nil, nil))
	f.Add(AppendDecodingSymbols(nil, map[int][]EitherDecodingSymbol{1: {s, s}, 256: {s}, 2: {}}))
	f.Add([]byte{0xFF, 0xFF, 3, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F})
	f.Fuzz(func(t *testing.T, b []byte) {
		symbols, err := ParseDecodingSymbols(b)
		if err != nil {
			return
		}
		if again := AppendDecodingSymbols(nil, symbols); !bytes.Equal(again, b) {
			t.Fatalf("%x parsed, but is written as %x", b, again)
		}
	})
}

func FuzzParseInconsistencyProof(f *testing.F) {
	_, enc, all := encodeAll(f, 4, 50)
	for a := range all {
		target := SliverID{Axis(a), 3}
		symbols := symbolsFor(f, enc.Metadata, all, target)[:enc.Params.Symbols(Axis(a))]
		f.Add(uint8(a), (&InconsistencyProof{target, symbols}).Append(nil))
	}
	f.Add(uint8(0), []byte{0, 0, 0})
	f.Add(uint8(1), []byte{0, 0, 0xE8, 7, 0, 0})
	f.Fuzz(func(t *testing.T, a uint8, b []byte) {
		proof, err := ParseInconsistencyProof(Axis(a&1), b)
		if err != nil {
			return
		}
		if again := proof.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x parsed, but is written as %x", b, again)
		}
		if enc.Metadata.CheckInconsistency(proof) == nil {
			t.Fatalf("%x proves that an honest blob is inconsistent", b)
		}
	})
}
