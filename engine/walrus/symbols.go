package walrus

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/floefs/floe/merkle"
)

// hashSymbols sets dst[i] to the leaf hash of symbols[i]; all are of one size.
func hashSymbols(dst []merkle.Hash, symbols [][]byte) {
	if len(symbols) == 0 {
		return
	}
	if table := pairs.Load(); table != nil && len(symbols[0]) == 2 {
		for i, s := range symbols {
			dst[i] = table[binary.LittleEndian.Uint16(s)]
		}
		return
	}
	merkle.Blake2bLeaves(dst, symbols)
}

// pairs holds the leaf hashes of all symbols of two bytes, the most frequent
// size: on 1000 shards every blob up to 445,556 bytes has it, and a million
// symbols. It is made by the first who needs many.
var (
	pairs     atomic.Pointer[[1 << 16]merkle.Hash]
	pairsOnce sync.Once
)

// preparePairs makes the table of symbols of two bytes if count symbols of
// size bytes, about to be hashed, are worth it.
func preparePairs(size, count int) {
	if size != 2 || count < len(pairs.Load()) {
		return
	}
	pairsOnce.Do(func() {
		bytes := make([]byte, 2<<16)
		symbols := make([][]byte, 1<<16)
		for i := range symbols {
			symbols[i] = binary.LittleEndian.AppendUint16(bytes[:2*i], uint16(i))[2*i:]
		}
		table := new([1 << 16]merkle.Hash)
		merkle.Blake2bLeaves(table[:], symbols)
		pairs.Store(table)
	})
}
