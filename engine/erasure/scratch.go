package erasure

// A scratch is the reusable memory of one running Encode or Apply.
type scratch struct {
	code               *Code
	original, recovery [][]byte // whole symbols, as the caller has them
	in, out            [][]byte // what is being coded: K, M slices of equal length
	shards             [][]byte // arguments of the library
	zero               []byte   // never written to
	padded             []byte   // one short symbol with its zeros
	packed             []byte   // buffers of each bytes
	each               int
	spare              []byte // parities nobody wants
	missing            []byte // originals nobody wants
	cuts               []byte // originals that end within what is being coded
}

func newScratch(c *Code) *scratch {
	return &scratch{
		code:     c,
		original: make([][]byte, c.k),
		recovery: make([][]byte, c.m),
		in:       make([][]byte, c.k),
		out:      make([][]byte, c.m),
		zero:     make([]byte, transformStride),
		padded:   make([]byte, stride),
	}
}

// grow makes room for count packed buffers of n bytes each.
func (s *scratch) grow(n, count int) {
	s.each = n
	if len(s.packed) < count*n {
		s.packed = make([]byte, count*n)
	}
}

// buffer returns packed buffer i, of n bytes.
func (s *scratch) buffer(i, n int) []byte { return s.packed[i*s.each:][:n:n] }

// surplus returns n bytes for a parity nobody wants.
func (s *scratch) surplus(i, n int) []byte {
	if s.spare == nil {
		s.spare = make([]byte, s.code.chunk*transformStride)
	}
	return s.spare[i*transformStride:][:n:n]
}

// cut returns bytes [from, to) of original i, of which o are the first bytes
// and zeros follow.
func (s *scratch) cut(i int, o []byte, from, to int) []byte {
	if to <= len(o) {
		return o[from:to]
	}
	if from >= len(o) {
		return s.zero[:to-from]
	}
	if s.cuts == nil {
		s.cuts = make([]byte, s.code.k*stride)
	}
	buf := s.cuts[i*stride:][:to-from]
	clear(buf[copy(buf, o[from:]):])
	return buf
}
