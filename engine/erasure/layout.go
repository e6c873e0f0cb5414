package erasure

// # FORMAT: from bytes to words
//
// A symbol is cut into blocks of 64 bytes, the last one shorter. Word i of a
// block of t bytes is byte i plus 256 times byte t/2+i. Words of different
// positions are coded independently, so any number of symbols of one shard
// can be coded as one long string of words.
//
// The library takes shards of whole 64-byte blocks. Full blocks of a symbol
// are such blocks already; shorter ones are packed: their words are strung
// together into blocks of 32.

const (
	block = 64        // bytes
	words = block / 2 // per block
)

// AlignRange widens bytes [from, to) of a string of symbols of size bytes to
// what must be decoded together: within its symbol a range begins and ends at
// a multiple of 64 bytes or at the symbol's end, and the last, shorter block
// of a symbol is whole or absent.
func AlignRange(size, from, to int) (int, int) {
	inSymbol := from % size
	from -= inSymbol - inSymbol/block*block
	if rest := to % size; rest != 0 {
		to += min((rest+block-1)/block*block, size) - rest
	}
	return from, to
}

// packedLen returns the bytes of whole blocks that n bytes of symbols need.
func packedLen(n int) int { return (n + block - 1) / block * block }

// pack writes a whole number of blocks of one symbol, the last one perhaps
// short, as words from word number at on. It returns the next word's number.
func pack(packed []byte, at int, symbol []byte) int {
	for len(symbol) > 0 {
		half := min(len(symbol), block) / 2
		if half == words && at%words == 0 {
			copy(packed[2*at:2*at+block], symbol)
		} else {
			scatter(packed, at, symbol[:half], symbol[half:2*half])
		}
		at += half
		symbol = symbol[2*half:]
	}
	return at
}

// unpack is the inverse of pack.
func unpack(symbol []byte, packed []byte, at int) int {
	for len(symbol) > 0 {
		half := min(len(symbol), block) / 2
		if half == words && at%words == 0 {
			copy(symbol[:block], packed[2*at:])
		} else {
			gather(symbol[:half], symbol[half:2*half], packed, at)
		}
		at += half
		symbol = symbol[2*half:]
	}
	return at
}

// scatter writes words at, at+1, ... whose low and high bytes are given.
func scatter(packed []byte, at int, low, high []byte) {
	if len(low) == 1 { // symbols of two bytes, the most frequent ones
		p := at/words*block + at%words
		packed[p], packed[p+words] = low[0], high[0]
		return
	}
	for len(low) > 0 {
		p := at/words*block + at%words
		n := copy(packed[p:p+words-at%words], low)
		copy(packed[p+words:], high[:n])
		at, low, high = at+n, low[n:], high[n:]
	}
}

// gather is the inverse of scatter.
func gather(low, high, packed []byte, at int) {
	if len(low) == 1 {
		p := at/words*block + at%words
		low[0], high[0] = packed[p], packed[p+words]
		return
	}
	for len(low) > 0 {
		p := at/words*block + at%words
		n := copy(low, packed[p:p+words-at%words])
		copy(high[:n], packed[p+words:])
		at, low, high = at+n, low[n:], high[n:]
	}
}
