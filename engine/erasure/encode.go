package erasure

import "slices"

const (
	// stride is how many bytes of each shard are coded at a time: long enough
	// to pay for a call, short enough for the shards to stay in the cache.
	stride = 4 << 10

	// Symbols from this size on are coded in place but for their last short
	// block; shorter ones are packed first.
	inPlaceSize = 1 << 10
)

// Symbols says where a symbol's bytes are: symbol i of codeword j. Asked for
// an original it may return fewer bytes than a symbol has, or nil; zeros
// follow. Asked where to write a symbol it returns room for all its bytes, or
// nil if nobody wants it.
type Symbols func(i, j int) []byte

// Encode computes the recovery symbols of count independent codewords with
// symbols of size bytes, which must be even. original is asked for the symbols 0 to K-1,
// recovery for 0 to M-1, each possibly more than once.
func (c *Code) Encode(size, count int, original, recovery Symbols) {
	if size <= 0 || size%2 != 0 {
		panic("internal error: symbols of an odd number of bytes")
	}
	s := c.scratch.Get().(*scratch)
	defer c.scratch.Put(s)

	packFrom := 0
	if size >= inPlaceSize {
		packFrom = size / block * block
		for j := range count {
			c.encodeInPlace(s, packFrom, j, original, recovery)
		}
	}
	if packFrom == size {
		return
	}
	rest := size - packFrom
	group := max(1, stride/rest)
	for first := 0; first < count; first += group {
		c.encodePacked(s, packFrom, size, first, min(first+group, count), original, recovery)
	}
}

// encodeInPlace computes bytes [0, end) of the recovery symbols of codeword j.
func (c *Code) encodeInPlace(s *scratch, end, j int, original, recovery Symbols) {
	for i := range c.k {
		s.original[i] = original(i, j)
	}
	for i := range c.m {
		s.recovery[i] = recovery(i, j)
	}
	for off := 0; off < end; off += stride {
		to := min(off+stride, end)
		for i, o := range s.original {
			s.in[i] = s.cut(i, o, off, to)
		}
		for i, r := range s.recovery {
			s.out[i] = nil
			if r != nil {
				s.out[i] = r[off:to]
			}
		}
		c.encode(s, s.in, s.out, to-off)
	}
}

// encodePacked computes bytes [from, size) of the recovery symbols of the
// codewords [first, last).
func (c *Code) encodePacked(s *scratch, from, size, first, last int, original, recovery Symbols) {
	rest := size - from
	n := packedLen((last - first) * rest)
	start := newPacker((last - first) * (rest / block * block))
	s.grow(stride, c.k+c.m)
	for i := range c.k {
		buf := s.buffer(i, n)
		clear(buf[n-block:])
		p := start
		for j := first; j < last; j++ {
			o := original(i, j)
			if len(o) < size {
				clear(s.padded[:rest])
				if len(o) > from {
					copy(s.padded, o[from:])
				}
				p.pack(buf, s.padded[:rest])
				continue
			}
			p.pack(buf, o[from:size])
		}
		s.in[i] = buf
	}
	for i := range c.m {
		s.out[i] = nil
		for j := first; j < last && s.out[i] == nil; j++ {
			if recovery(i, j) != nil {
				s.out[i] = s.buffer(c.k+i, n)
			}
		}
	}
	c.encode(s, s.in, s.out, n)
	for i := range c.m {
		if s.out[i] == nil {
			continue
		}
		p := start
		for j := first; j < last; j++ {
			if r := recovery(i, j); r != nil {
				p.unpack(r[from:size], s.out[i])
			} else {
				p.skip(rest)
			}
		}
	}
}

// encode computes the recovery symbols from the originals, n bytes of whole
// blocks each. Where recovery is nil nothing is wanted.
func (c *Code) encode(s *scratch, originals, recovery [][]byte, n int) {
	for p := range c.parts {
		part := &c.parts[p]
		out := recovery[part.first : part.first+part.count]
		if !slices.ContainsFunc(out, func(o []byte) bool { return o != nil }) {
			continue
		}
		if part.plan != nil {
			dst := s.shards[:0]
			for i, o := range out {
				if o == nil {
					o = s.surplus(i, n)
				}
				dst = append(dst, o)
			}
			part.plan.run(s, dst, originals, 0, n)
			continue
		}
		shards := s.shards[:0]
		for range part.zeros {
			shards = append(shards, s.zero[:n])
		}
		shards = append(shards, originals...)
		for i := range part.parities {
			if i < part.count && out[i] != nil {
				shards = append(shards, out[i])
			} else {
				shards = append(shards, s.surplus(i, n))
			}
		}
		if err := part.enc.Encode(shards); err != nil {
			panic("internal error: " + err.Error())
		}
		s.shards = shards
	}
}
