package walrus

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/floefs/floe/merkle"
)

// What the official packages make of 90 blobs. See tests/vectors/README.md.
type vectorFile struct {
	DocumentedBlobIDs []struct {
		N    int    `json:"n_shards"`
		Text string `json:"text"`
		ID   string `json:"blob_id_base64url"`
	} `json:"documented_blob_ids"`
	Blobs           []blobVector
	RecoverySymbols []struct {
		Axis string `json:"proof_axis"`
		N    int    `json:"n_shards"`
		Blob struct {
			Seed uint32
			Size int
		}
		Source  int      `json:"source_sliver_index"`
		Target  int      `json:"target_sliver_index"`
		ID      string   `json:"symbol_id"`
		Symbol  string   `json:"symbol_hex"`
		Path    []string `json:"path"`
		Root    string   `json:"root"`
		General string   `json:"general_recovery_symbol_bcs_hex"`
		InProof string   `json:"recovery_symbol_in_inconsistency_proof_bcs_hex"`
	} `json:"recovery_symbols"`
	Confirmations []confirmationVector
	Quilts        []quiltVector
}

type blobVector struct {
	N    int `json:"n_shards"`
	F    int `json:"f"`
	K1   int `json:"primary_source_symbols"`
	K2   int `json:"secondary_source_symbols"`
	Blob struct {
		Seed   uint32
		Size   int
		SHA256 string
	}
	Size         uint64         `json:"unencoded_length"`
	Symbol       int            `json:"symbol_size"`
	PrimaryLen   int            `json:"primary_sliver_len"`
	SecondaryLen int            `json:"secondary_sliver_len"`
	IDHex        string         `json:"blob_id_hex"`
	ID           string         `json:"blob_id_base64url"`
	IDDecimal    string         `json:"blob_id_u256_decimal"`
	Rotation     int            `json:"rotation_offset"`
	PairToShard  map[string]int `json:"pair_to_shard"`
	PairHashes   []struct {
		Pair               int
		Primary, Secondary string
	} `json:"pair_hashes"`
	AllPairHashes  string         `json:"all_pair_hashes_sha256"`
	PutBody        bodyVector     `json:"metadata_put_body"`
	GetBody        bodyVector     `json:"metadata_get_body"`
	Primaries      []sliverVector `json:"primary_slivers"`
	Secondaries    []sliverVector `json:"secondary_slivers"`
	AllPrimaries   string         `json:"all_primary_sha256"`
	AllSecondaries string         `json:"all_secondary_by_sliver_index_sha256"`
}

type bodyVector struct {
	Len    int
	SHA256 string
}

type sliverVector struct {
	Index     int `json:"sliver_index"`
	Pair      int `json:"pair_index"`
	Shard     int `json:"shard_index"`
	Len       int
	SHA256    string
	Data      *string `json:"data_hex"`
	BCSLen    int     `json:"bcs_len"`
	BCSSHA256 string  `json:"bcs_sha256"`
}

func mustVectors(t testing.TB) *vectorFile {
	t.Helper()
	b, err := os.ReadFile("../../tests/vectors/walrus.json")
	if err != nil {
		t.Fatal(err)
	}
	v := new(vectorFile)
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// vectorBlob is the generator that the vector file describes.
func vectorBlob(seed uint32, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		seed ^= seed << 13
		seed ^= seed >> 17
		seed ^= seed << 5
		b[i] = byte(seed >> 24)
	}
	return b
}

func sha(b ...[]byte) string {
	h := sha256.New()
	for _, p := range b {
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestOfficialVectors(t *testing.T) {
	encoders := map[int]*Encoder{}
	for _, v := range mustVectors(t).Blobs {
		t.Run(fmt.Sprintf("%d bytes on %d shards", v.Blob.Size, v.N), func(t *testing.T) {
			data := vectorBlob(v.Blob.Seed, v.Blob.Size)
			equal(t, "generated blob", sha(data), v.Blob.SHA256)
			e := encoders[v.N]
			if e == nil {
				e = mustEncoder(t, v.N)
				encoders[v.N] = e
			}
			enc, err := e.Encode(t.Context(), data, v.N)
			if err != nil {
				t.Fatal(err)
			}
			compareGeometry(t, v, enc.Params)
			compareID(t, v, enc.ID)
			compareMetadata(t, v, enc)
			compareSlivers(t, v, enc)
		})
	}
}

func compareGeometry(t *testing.T, v blobVector, p Params) {
	equal(t, "f", p.F, v.F)
	equal(t, "K1", p.K1, v.K1)
	equal(t, "K2", p.K2, v.K2)
	equal(t, "size", p.Size, v.Size)
	equal(t, "symbol size", p.Symbol, v.Symbol)
	equal(t, "primary sliver length", p.SliverLen(Primary), v.PrimaryLen)
	equal(t, "secondary sliver length", p.SliverLen(Secondary), v.SecondaryLen)
}

func compareID(t *testing.T, v blobVector, id BlobID) {
	equal(t, "id", hex.EncodeToString(id[:]), v.IDHex)
	equal(t, "id", id.String(), v.ID)
	little := slices.Clone(id[:])
	slices.Reverse(little)
	equal(t, "id on Sui", new(big.Int).SetBytes(little).String(), v.IDDecimal)
	equal(t, "rotation", id.rotation(v.N), v.Rotation)
	if parsed, err := ParseBlobID(v.ID); err != nil || parsed != id {
		t.Errorf("parsing %s: got %v, %v", v.ID, parsed, err)
	}
	for s, shard := range v.PairToShard {
		pair, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "shard of pair "+s, id.PairToShard(pair, v.N), shard)
		equal(t, "pair of shard", id.ShardToPair(shard, v.N), pair)
	}
}

func compareMetadata(t *testing.T, v blobVector, enc *Encoded) {
	m := enc.Metadata
	var all []byte
	for _, h := range m.Hashes {
		all = append(append(all, h.Primary[:]...), h.Secondary[:]...)
	}
	equal(t, "hashes of all slivers", sha(all), v.AllPairHashes)
	for _, h := range v.PairHashes {
		equal(t, "primary hash", m.Hash(Primary.OfPair(h.Pair, v.N)).String(), h.Primary)
		equal(t, "secondary hash", m.Hash(Secondary.OfPair(h.Pair, v.N)).String(), h.Secondary)
	}
	put, get := m.Append(nil), m.AppendWithID(nil, enc.ID)
	equal(t, "bytes of PUT", len(put), v.PutBody.Len)
	equal(t, "bytes of PUT", MetadataLen(v.N), v.PutBody.Len)
	equal(t, "PUT", sha(put), v.PutBody.SHA256)
	equal(t, "bytes of GET", len(get), v.GetBody.Len)
	equal(t, "GET", sha(get), v.GetBody.SHA256)
	id, parsed, err := ParseMetadataWithID(get)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "id in GET", id, enc.ID)
	if err := parsed.Verify(enc.ID, v.N); err != nil {
		t.Error(err)
	}
	if err := parsed.CheckZeroRows(); err != nil {
		t.Error(err)
	}
}

func compareSlivers(t *testing.T, v blobVector, enc *Encoded) {
	all := map[Axis][][]byte{}
	for _, a := range []Axis{Primary, Secondary} {
		for i := range v.N {
			all[a] = append(all[a], enc.Sliver(SliverID{a, i}))
		}
		for _, sv := range map[Axis][]sliverVector{Primary: v.Primaries, Secondary: v.Secondaries}[a] {
			s := SliverID{a, sv.Index}
			data := enc.Sliver(s)
			equal(t, "pair", s.Pair(v.N), sv.Pair)
			equal(t, "sliver of pair", a.OfPair(sv.Pair, v.N), s)
			equal(t, "shard", enc.ID.PairToShard(sv.Pair, v.N), sv.Shard)
			equal(t, "length", len(data), sv.Len)
			equal(t, s.String(), sha(data), sv.SHA256)
			if sv.Data != nil {
				equal(t, s.String(), hex.EncodeToString(data), *sv.Data)
			}
			body := enc.Params.AppendSliver(nil, s, data)
			equal(t, "bytes of body", len(body), sv.BCSLen)
			equal(t, "bytes of body", enc.Params.BodyLen(a), sv.BCSLen)
			equal(t, "body of "+s.String(), sha(body), sv.BCSSHA256)
			parsed, err := ParseSliver(body)
			if err != nil || !bytes.Equal(parsed.Data, data) {
				t.Errorf("%s: parsed %d bytes, %v", s, len(parsed.Data), err)
			}
			if err := parsed.Check(enc.Params, s); err != nil {
				t.Error(err)
			}
			if _, err := enc.Metadata.ProveSliver(s, data); err != nil {
				t.Error(err)
			}
		}
	}
	equal(t, "all primary slivers", sha(all[Primary]...), v.AllPrimaries)
	equal(t, "all secondary slivers", sha(all[Secondary]...), v.AllSecondaries)
}

func TestDocumentedBlobIDs(t *testing.T) {
	for _, v := range mustVectors(t).DocumentedBlobIDs {
		enc, err := mustEncoder(t, v.N).Encode(t.Context(), []byte(v.Text), 0)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, v.Text, enc.ID.String(), v.ID)
	}
}

func mustHash(t *testing.T, s string) merkle.Hash {
	t.Helper()
	b := mustHex(t, s)
	if len(b) != merkle.HashSize {
		t.Fatalf("%q is no hash", s)
	}
	return merkle.Hash(b)
}

func mustHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustEncoder(t testing.TB, n int) *Encoder {
	t.Helper()
	e, err := NewEncoder(n)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
