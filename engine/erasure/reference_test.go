package erasure

import (
	"bytes"
	"fmt"
	"testing"
)

// The definition of the code, in the slowest and plainest way: polynomials
// over GF(2), the Cantor basis, and Lagrange's formula word by word. It shares
// nothing with the package but the format in the package comment.

var cantor = [16]uint32{
	0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012,
	0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E,
}

func toPolynomial(word uint16) (p uint32) {
	for i, b := range cantor {
		if word>>i&1 == 1 {
			p ^= b
		}
	}
	return p
}

var fromPolynomial = func() map[uint32]uint16 {
	m := make(map[uint32]uint16, 1<<16)
	for w := range 1 << 16 {
		m[toPolynomial(uint16(w))] = uint16(w)
	}
	return m
}()

func slowMul(a, b uint16) uint16 {
	p, q, r := toPolynomial(a), toPolynomial(b), uint32(0)
	for i := range 16 {
		if q>>i&1 == 1 {
			r ^= p << i
		}
	}
	for i := 30; i >= 16; i-- {
		if r>>i&1 == 1 {
			r ^= 0x1002D << (i - 16)
		}
	}
	return fromPolynomial[r]
}

func slowInverse(a uint16) uint16 {
	r := uint16(1)
	for range 15 { // a^(2^16-2)
		a = slowMul(a, a)
		r = slowMul(r, a)
	}
	return r
}

// slowValue returns the value at x of the polynomial through the points.
func slowValue(xs, ys []uint16, x uint16) uint16 {
	sum := uint16(0)
	for i := range xs {
		if ys[i] == 0 {
			continue
		}
		num, den := uint16(1), uint16(1)
		for j := range xs {
			if j != i {
				num, den = slowMul(num, x^xs[j]), slowMul(den, xs[i]^xs[j])
			}
		}
		sum ^= slowMul(ys[i], slowMul(num, slowInverse(den)))
	}
	return sum
}

// slowRecovery returns the m recovery words of one codeword.
func slowRecovery(originals []uint16, m int) []uint16 {
	k := len(originals)
	first, bound, at := pow2(k), pow2(k), 0 // low rate
	if pow2(k) >= pow2(m) {
		first, at = 0, pow2(m)
		bound = pow2(at + k)
	}
	var xs, ys []uint16
	for i, w := range originals {
		xs, ys = append(xs, uint16(at+i)), append(ys, w)
	}
	for p := at + k; p < bound; p++ {
		xs, ys = append(xs, uint16(p)), append(ys, 0)
	}
	out := make([]uint16, m)
	for j := range out {
		out[j] = slowValue(xs, ys, uint16(first+j))
	}
	return out
}

// slowEncode codes whole symbols by the definition of words in layout.go.
func slowEncode(originals [][]byte, m int) [][]byte {
	size := len(originals[0])
	out := make([][]byte, m)
	for i := range out {
		out[i] = make([]byte, size)
	}
	for from := 0; from < size; from += 64 {
		t := min(size-from, 64)
		for i := range t / 2 {
			low, high := from+i, from+t/2+i
			word := make([]uint16, len(originals))
			for o, s := range originals {
				word[o] = uint16(s[low]) + 256*uint16(s[high])
			}
			for r, w := range slowRecovery(word, m) {
				out[r][low], out[r][high] = byte(w), byte(w>>8)
			}
		}
	}
	return out
}

func TestFastCodeEqualsItsDefinition(t *testing.T) {
	for _, km := range [][2]int{{1, 1}, {1, 5}, {5, 1}, {2, 2}, {3, 1}, {3, 4}, {5, 2}, {4, 6}, {7, 3}, {5, 8}, {9, 4}, {3, 20}, {20, 3}, {6, 11}, {34, 66}, {67, 33}} {
		k, m := km[0], km[1]
		sizes := []int{2, 6, 62, 64, 66, 130, 190}
		if k+m > 50 {
			sizes = []int{6}
		}
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%d+%d of %d bytes", k, m, size), func(t *testing.T) {
				originals := randomSymbols(uint64(size), k, size)
				got := encodeAll(t, k, m, [][][]byte{originals})[0]
				for i, want := range slowEncode(originals, m) {
					if !bytes.Equal(got[k+i], want) {
						t.Fatalf("recovery symbol %d: got %x, want %x", i, got[k+i], want)
					}
				}
			})
		}
	}
}

func TestMultiplicationEqualsItsDefinition(t *testing.T) {
	for i := range 1 << 16 {
		a, b := uint16(i), uint16(i*40503+977)
		if got, want := kernel.GF16Mul(a, b), slowMul(a, b); got != want {
			t.Fatalf("%04x times %04x: got %04x, want %04x", a, b, got, want)
		}
		if slowMul(a, a)^a != a>>1 {
			t.Fatalf("%04x: the basis is no Cantor basis", a)
		}
	}
}

func TestLogarithmsCoverTheField(t *testing.T) {
	tab := logs()
	for x := 1; x <= order; x++ {
		if got := tab.exp[tab.log[x]]; int(got) != x {
			t.Fatalf("element %04x has logarithm %d, which is %04x", x, tab.log[x], got)
		}
	}
}

func TestLogProductsAreThoseOfTheirFactors(t *testing.T) {
	for _, n := range []int{1, 2, 8, 256, 2048} {
		set, points := make([]int, n), []int{}
		for p := range n {
			if p*p%7 < 3 {
				set[p], points = 1, append(points, p)
			}
		}
		for x, got := range logProducts(set, logSpectrum(n)) {
			want := 0
			for _, p := range points {
				if p != x {
					want += int(logs().log[x^p])
				}
			}
			if got != want%order {
				t.Fatalf("%d of %d: got %d, want %d", x, n, got, want%order)
			}
		}
	}
}
