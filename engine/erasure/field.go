package erasure

import (
	"sync"

	"github.com/klauspost/reedsolomon"
)

// kernel is the library's vector arithmetic on words.
var kernel reedsolomon.LowLevel

// order is the number of field elements other than zero.
const order = 1<<16 - 1

// A logTable holds logarithms to the base of some primitive element. Which
// one does not matter: only products and quotients are formed.
type logTable struct {
	log [order + 1]uint16
	exp [order]uint16
}

var logs = sync.OnceValue(func() *logTable {
	t := new(logTable)
	// Element 0x100 is primitive, see TestLogarithmsCoverTheField.
	x := uint16(1)
	for i := range order {
		t.exp[i], t.log[x] = x, uint16(i)
		x = kernel.GF16Mul(x, 0x100)
	}
	return t
})

// logProducts returns, for every x, the logarithm of the product of x-p over
// the points p other than x. set[p] is 1 for a point, else 0; its length, which
// is that of the result, is a power of two. set is overwritten.
//
// x-p is x xor p, so the sum of logarithms is a convolution, and a product
// after a Walsh-Hadamard transform. spectrum is logSpectrum(len(set)).
func logProducts(set, spectrum []int) []int {
	walshHadamard(set)
	for i, s := range spectrum {
		set[i] = (set[i] * s) % order
	}
	walshHadamard(set)
	// Divide by the length: 2^16 is 1 modulo order.
	inverse := (1 << 16) / len(set)
	for i, s := range set {
		set[i] = ((s%order + order) * inverse) % order
	}
	return set
}

// logSpectrum returns the Walsh-Hadamard transform of the first n logarithms,
// zero standing for that of 0.
func logSpectrum(n int) []int {
	t, s := logs(), make([]int, n)
	for i := 1; i < n; i++ {
		s[i] = int(t.log[i])
	}
	walshHadamard(s)
	for i := range s {
		s[i] %= order
	}
	return s
}

func walshHadamard(v []int) {
	for h := 1; h < len(v); h *= 2 {
		for r := 0; r < len(v); r += 2 * h {
			low, high := v[r:r+h], v[r+h:r+2*h]
			for i, a := range low {
				b := high[i]
				low[i], high[i] = a+b, a-b
			}
		}
	}
}
