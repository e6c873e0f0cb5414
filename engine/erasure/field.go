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

// logProduct returns the logarithm of the product of x-p over the points,
// leaving out x itself.
func (t *logTable) logProduct(x int, points []int) int {
	sum := 0
	for _, p := range points {
		if p != x {
			sum += int(t.log[x^p])
		}
	}
	return sum % order
}
