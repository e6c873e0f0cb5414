package merkle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/blake3"
)

// naiveRoot follows the format's text, one list of hashes per level.
func naiveRoot(data []byte) Hash {
	if len(data) == 0 {
		return Blake3(nil)
	}
	for {
		var next []byte
		for c := data; len(c) > 0; c = c[min(ChunkSize, len(c)):] {
			h := Blake3(c[:min(ChunkSize, len(c))])
			next = append(next, h[:]...)
		}
		if len(next) == HashSize {
			return Hash(next)
		}
		data = next
	}
}

// file returns size bytes, random but for the hole units in holes.
func file(rng *rand.Rand, size int, holes ...int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rng.Uint32()) | 1
	}
	for _, u := range holes {
		clear(data[u*HoleSize : (u+1)*HoleSize])
	}
	return data
}

// readBack reads a stored tree as a reader does: by Layout alone, proving
// every chunk from the root.
func readBack(t *testing.T, tr Tree, stored []byte) []byte {
	t.Helper()
	l, err := NewLayout(tr.Size, tr.Holes)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(stored)) != l.StoredSize() {
		t.Fatalf("%d bytes stored, layout says %d", len(stored), l.StoredSize())
	}
	var chunk func(level int, i int64) Chunk
	chunk = func(level int, i int64) Chunk {
		want := tr.Root
		if level < l.Top() {
			want = chunk(level+1, i/Fanout).Child(int(i % Fanout))
		}
		data := make([]byte, l.Len(level, i))
		if off, ok := l.At(level, i); ok {
			data = stored[off : off+int64(len(data))]
		} else if level > 0 {
			data = l.HoleChunk(level, i).Bytes()
		}
		c, err := Prove(want, data, Blake3)
		if err != nil {
			t.Fatalf("chunk %d of level %d: %v", i, level, err)
		}
		return c
	}
	var out []byte
	for i := range l.Chunks(0) {
		out = append(out, chunk(0, i).Bytes()...)
	}
	return out
}

func TestTreesReadBackAsTheyWereBuilt(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const m = HoleSize
	cases := []struct {
		size  int
		holes []int
	}{
		{0, nil}, {1, nil}, {ChunkSize - 1, nil}, {ChunkSize, nil}, {ChunkSize + 1, nil},
		{m - 1, nil}, {m, nil}, {m + 1, nil}, {8*m - 1, nil}, {8 * m, nil}, {8*m + 1, nil},
		{m, []int{0}}, {2 * m, []int{0, 1}}, {2*m + 1, []int{0, 1}}, {20 * m, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}},
		{17*m + 5, []int{0, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15}}, {24 * m, []int{8, 9, 10, 11, 12, 13, 14, 15}},
		{16 * m, []int{8, 9, 10, 11, 12, 13, 14, 15}}, {20 * m, []int{16, 17, 18, 19}}, {20*m + 77, []int{16, 17, 18, 19}},
		{9 * m, []int{0, 2, 4, 6, 8}},
	}
	for _, c := range cases {
		data := file(rng, c.size, c.holes...)
		var stored bytes.Buffer
		tr, err := Build(&stored, bytes.NewReader(data), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if want := naiveRoot(data); tr.Root != want {
			t.Errorf("size %d holes %v: root %s, want %s", c.size, c.holes, tr.Root, want)
		}
		if want := Hash(blake3.Sum256(data)); tr.Sum != want {
			t.Errorf("size %d: sum %s, b3sum says %s", c.size, tr.Sum, want)
		}
		if got := readBack(t, tr, stored.Bytes()); !bytes.Equal(got, data) {
			t.Errorf("size %d holes %v: reads back differently", c.size, c.holes)
		}
		only, err := HashTree(bytes.NewReader(data), t.TempDir())
		if err != nil || only.Root != tr.Root || fmt.Sprint(only.Holes) != fmt.Sprint(tr.Holes) {
			t.Errorf("size %d: hashing alone gives %v, %v", c.size, only, err)
		}
	}
}

// A file of 20 GiB that holds a single MiB stores that MiB and the interior
// chunks above it, no more.
func TestHolesAreNotStored(t *testing.T) {
	const size, data = 20 << 30, 5 << 30
	l, err := NewLayout(size, []Hole{{0, data / HoleSize}, {data/HoleSize + 1, (size-data)/HoleSize - 1}})
	if err != nil {
		t.Fatal(err)
	}
	if got, most := l.StoredSize(), int64(HoleSize+3*ChunkSize); got > most {
		t.Errorf("%d bytes stored, at most %d expected", got, most)
	}
	if off, ok := l.At(0, data/ChunkSize); !ok || off != 0 {
		t.Errorf("the data is at %d, %v", off, ok)
	}
	for _, c := range []struct{ off, data, hole int64 }{{0, data, 0}, {data, data, data + HoleSize}, {data - 1, data, data - 1}, {data + 5, data + 5, data + HoleSize}} {
		if got, ok := l.NextData(c.off); !ok || got != c.data {
			t.Errorf("data after %d: %d, %v, want %d", c.off, got, ok, c.data)
		}
		if got, ok := l.NextHole(c.off); !ok || got != c.hole {
			t.Errorf("hole after %d: %d, %v, want %d", c.off, got, ok, c.hole)
		}
	}
	if _, ok := l.NextData(data + HoleSize); ok {
		t.Error("data found behind the last")
	}
}

func TestLayoutRefusesWhatIsNotAListOfHoles(t *testing.T) {
	for _, holes := range [][]Hole{{{0, 0}}, {{-1, 1}}, {{0, 4}}, {{3, 1}}, {{1, 1}, {0, 1}}, {{0, 1}, {1, 1}}, {{0, -1}}, {{0, 1 << 62}}, {{1 << 62, 1 << 62}}} {
		if _, err := NewLayout(3*HoleSize+5, holes); err == nil {
			t.Errorf("accepted %v", holes)
		}
	}
	if _, err := NewLayout(-1, nil); err == nil {
		t.Error("accepted a negative size")
	}
}

func TestInclusionProofs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	data := file(rng, 9*HoleSize+123)
	var stored bytes.Buffer
	tr, err := Build(&stored, bytes.NewReader(data), "")
	if err != nil {
		t.Fatal(err)
	}
	l, _ := NewLayout(tr.Size, nil)
	part := func(level int, i int64) []byte {
		off, _ := l.At(level, i)
		return stored.Bytes()[off : off+int64(l.Len(level, i))]
	}
	for _, i := range []int64{0, 1, 511, 512, l.Chunks(0) - 1} {
		proof := [][]byte{part(2, 0), part(1, i/Fanout)}
		if _, err := CheckProof(tr.Root, tr.Size, i, proof, part(0, i)); err != nil {
			t.Errorf("chunk %d: %v", i, err)
		}
		for _, wrong := range []func() error{
			func() error { _, err := CheckProof(tr.Root, tr.Size, (i+1)%512, proof, part(0, i)); return err },
			func() error { _, err := CheckProof(tr.Root, tr.Size, i, proof[:1], part(0, i)); return err },
			func() error { _, err := CheckProof(tr.Root, tr.Size+1, i, proof, part(0, i)[:9]); return err },
			func() error {
				_, err := CheckProof(tr.Root, tr.Size, i, [][]byte{proof[1], proof[0]}, part(0, i))
				return err
			},
			func() error { _, err := CheckProof(tr.Root, tr.Size, -1, proof, part(0, i)); return err },
			func() error { _, err := CheckProof(tr.Root, tr.Size, 1<<40, proof, part(0, i)); return err },
		} {
			if err := wrong(); !errors.Is(err, ErrMismatch) {
				t.Errorf("chunk %d: a wrong proof gives %v", i, err)
			}
		}
	}
}

func TestRunsProveFromTheFront(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	data := file(rng, 3*ChunkSize+7)
	hash := func(i int) Hash { return Blake3(data[i*ChunkSize : min(len(data), (i+1)*ChunkSize)]) }
	run := NewRun(bytes.Clone(data))
	if err := run.Prove(hash(0), ChunkSize); err != nil {
		t.Fatal(err)
	}
	if err := run.Prove(hash(2), ChunkSize); !errors.Is(err, ErrMismatch) {
		t.Fatalf("a chunk proved under another's hash: %v", err)
	}
	if run.Len() != ChunkSize || len(run.Rest()) != len(data)-ChunkSize {
		t.Fatalf("%d bytes proven after a failure", run.Len())
	}
	defer func() {
		if recover() == nil {
			t.Error("unproven bytes were handed out")
		}
	}()
	run.Chunk(0, ChunkSize+1)
}

func TestInteriorHashesSpillToAFile(t *testing.T) {
	var s spool
	defer s.close()
	const n = spillAt/HashSize + 1000
	dir := t.TempDir()
	for i := range n {
		if err := s.add(dir, Hash{byte(i), byte(i >> 8), byte(i >> 16)}); err != nil {
			t.Fatal(err)
		}
	}
	if s.file == nil {
		t.Fatal("nothing spilled")
	}
	r, err := s.reader()
	if err != nil {
		t.Fatal(err)
	}
	var h Hash
	for i := range n {
		if _, err := io.ReadFull(r, h[:]); err != nil || h != (Hash{byte(i), byte(i >> 8), byte(i >> 16)}) {
			t.Fatalf("hash %d: %v %v", i, h, err)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	data := file(rand.New(rand.NewPCG(7, 8)), 16<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Build(io.Discard, bytes.NewReader(data), ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProveRun(b *testing.B) {
	data := file(rand.New(rand.NewPCG(9, 10)), 1<<20)
	var want []Hash
	for i := 0; i < len(data); i += ChunkSize {
		want = append(want, Blake3(data[i:i+ChunkSize]))
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		run := NewRun(data)
		for _, h := range want {
			if err := run.Prove(h, ChunkSize); err != nil {
				b.Fatal(err)
			}
		}
	}
}
