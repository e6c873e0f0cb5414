package erasure

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

func randomSymbols(seed uint64, n, size int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 1))
	s := make([][]byte, n)
	for i := range s {
		s[i] = make([]byte, size)
		for j := range s[i] {
			s[i][j] = byte(r.Uint32())
		}
	}
	return s
}

func mustCode(t testing.TB, k, m int) *Code {
	t.Helper()
	c, err := New(k, m)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// encodeAll returns all k+m symbols of each codeword, given its originals.
func encodeAll(t testing.TB, k, m int, codewords [][][]byte) [][][]byte {
	t.Helper()
	size := len(codewords[0][0])
	all := make([][][]byte, len(codewords))
	for j := range all {
		all[j] = make([][]byte, k+m)
		copy(all[j], codewords[j])
		for i := k; i < k+m; i++ {
			all[j][i] = make([]byte, size)
		}
	}
	mustCode(t, k, m).Encode(size, len(all),
		func(i, j int) []byte { return all[j][i] },
		func(i, j int) []byte { return all[j][k+i] })
	return all
}

func TestEncodeDoesNotDependOnHowManyCodewordsGoTogether(t *testing.T) {
	const k, m = 7, 12
	for _, size := range []int{2, 6, 62, 64, 100, 256, 1022, 1024, 1026, 2048, 5000} {
		var codewords [][][]byte
		for j := range 40 {
			codewords = append(codewords, randomSymbols(uint64(j), k, size))
		}
		together := encodeAll(t, k, m, codewords)
		for j, cw := range codewords {
			alone := encodeAll(t, k, m, [][][]byte{cw})[0]
			for i := range alone {
				if !bytes.Equal(alone[i], together[j][i]) {
					t.Fatalf("size %d, codeword %d, symbol %d differs", size, j, i)
				}
			}
		}
	}
}

func TestShortOriginalsAreFollowedByZeros(t *testing.T) {
	const k, m = 5, 4
	for _, size := range []int{2, 6, 100, 1024, 1100, 5000} {
		full := randomSymbols(1, k, size)
		short := make([][]byte, k)
		for i := range full {
			n := size * i / k
			clear(full[i][n:])
			short[i] = full[i][:n]
		}
		short[0] = nil
		want := encodeAll(t, k, m, [][][]byte{full})[0]
		for i := range m {
			got := make([]byte, size)
			// All but one recovery symbol unwanted.
			mustCode(t, k, m).Encode(size, 1, func(i, _ int) []byte { return short[i] }, func(r, _ int) []byte {
				if r == i {
					return got
				}
				return nil
			})
			if !bytes.Equal(got, want[k+i]) {
				t.Fatalf("size %d, recovery symbol %d differs", size, i)
			}
		}
	}
}

func TestNewRefusesWhatTheFieldCannotHold(t *testing.T) {
	for _, km := range [][2]int{{0, 1}, {1, 0}, {-1, 5}, {1 << 17, 5}, {65535, 2}, {40000, 40000}} {
		if _, err := New(km[0], km[1]); err == nil {
			t.Errorf("%d+%d accepted", km[0], km[1])
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, km := range [][2]int{{67, 33}, {34, 66}, {667, 333}, {334, 666}} {
		for _, size := range []int{2, 64, 1000, 4096, 29460} {
			b.Run(fmt.Sprintf("%d+%d/%d", km[0], km[1], size), func(b *testing.B) {
				k, m := km[0], km[1]
				count := max(1, 4096/size)
				c := mustCode(b, k, m)
				in, out := randomSymbols(1, k, count*size), randomSymbols(1, m, count*size)
				b.SetBytes(int64(k * count * size))
				for b.Loop() {
					c.Encode(size, count,
						func(i, j int) []byte { return in[i][j*size:][:size] },
						func(i, j int) []byte { return out[i][j*size:][:size] })
				}
			})
		}
	}
}
