package erasure

// # FORMAT: from bytes to words
//
// A symbol is cut into blocks of 64 bytes, the last one shorter. Word i of a
// block of t bytes is byte i plus 256 times byte t/2+i. Words of different
// positions are coded independently, so any number of symbols of one shard
// can be coded as one long string of words.
//
// The library takes shards of whole 64-byte blocks. Full blocks of a symbol
// are such blocks already. Where symbols are packed behind one another, their
// full blocks come first, one after another; then follow the words of their
// short last blocks, strung together into blocks of 32.

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

// A packer goes through symbols that are packed into one buffer, or unpacked
// from it. All that are packed together must be gone through in one order.
type packer struct {
	blocks int // where the next full block goes, in bytes
	tails  int // where the next short block goes, in words
}

// newPacker returns a packer for symbols, or parts of such, which together
// have full bytes in full blocks.
func newPacker(full int) packer { return packer{tails: full / 2} }

// pack writes the next symbol.
func (p *packer) pack(packed, symbol []byte) {
	if full := len(symbol) / block * block; full > 0 {
		p.blocks += copy(packed[p.blocks:], symbol[:full])
		symbol = symbol[full:]
	}
	if half := len(symbol) / 2; half > 0 {
		scatter(packed, p.tails, symbol[:half], symbol[half:])
		p.tails += half
	}
}

// unpack reads the next symbol.
func (p *packer) unpack(symbol, packed []byte) {
	if full := len(symbol) / block * block; full > 0 {
		p.blocks += copy(symbol[:full], packed[p.blocks:])
		symbol = symbol[full:]
	}
	if half := len(symbol) / 2; half > 0 {
		gather(symbol[:half], symbol[half:], packed, p.tails)
		p.tails += half
	}
}

// skip passes over a symbol of n bytes.
func (p *packer) skip(n int) {
	p.blocks += n / block * block
	p.tails += n % block / 2
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
