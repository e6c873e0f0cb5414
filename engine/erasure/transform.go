package erasure

// A transform restores all missing originals at once with the library's fast
// transforms, and from them the wanted recovery symbols. Its cost hardly
// depends on how many symbols are missing.
type transform struct {
	code     *Code
	part     *part // whose recovery symbols are among the known ones
	known    []int
	wanted   []int
	encoding bool // some wanted symbols are recovery symbols
}

const (
	// transformStride is how many bytes of each shard are restored at a time.
	// The library spends about a millisecond on each call before it looks at
	// the first byte.
	transformStride = 8 << 10

	// transformFrom is the number of wanted symbols from which on a transform
	// is faster than interpolation.
	transformFrom = 48
)

// newTransform returns nil if interpolation is cheaper, or if this way is
// closed: at low rate the library cannot combine recovery symbols of
// different parts.
func (c *Code) newTransform(known, wanted []int) *transform {
	if len(wanted) < transformFrom {
		return nil
	}
	t := &transform{code: c, known: known, wanted: wanted, part: &c.parts[0]}
	first := -1
	for _, i := range known {
		if i < c.k {
			continue
		}
		j := i - c.k
		if first < 0 {
			first = j
			t.part = &c.parts[j/c.chunk]
		}
		if j < t.part.first || j >= t.part.first+t.part.count {
			return nil
		}
	}
	for _, i := range wanted {
		t.encoding = t.encoding || i >= c.k
	}
	return t
}

// run computes dst[i][from:to] from src[i][from:to], whole blocks and not more
// than transformStride bytes.
func (t *transform) run(s *scratch, dst, src [][]byte, from, to int) {
	c, n := t.code, to-from
	total := t.part.zeros + c.k + t.part.parities
	shards := make([][]byte, total)
	for i := range t.part.zeros {
		shards[i] = s.zero[:n]
	}
	originals := shards[t.part.zeros:][:c.k]
	parities := shards[t.part.zeros+c.k:]
	for at, i := range t.known {
		if i < c.k {
			originals[i] = src[at][from:to]
		} else {
			parities[i-c.k-t.part.first] = src[at][from:to]
		}
	}
	// The library fills in slices of length 0 within their capacity. A wanted
	// symbol that is known too, or wanted twice, is copied at the end.
	for at, i := range t.wanted {
		if i < c.k && originals[i] == nil {
			originals[i] = dst[at][from:from:to]
		}
	}
	if s.missing == nil {
		s.missing = make([]byte, c.k*transformStride)
	}
	for i, o := range originals {
		if o == nil {
			originals[i] = s.missing[i*transformStride:][:0:n]
		}
	}
	if err := t.part.enc.ReconstructData(shards); err != nil {
		panic("internal error: " + err.Error())
	}
	for at, i := range t.wanted {
		if d := dst[at][from:to]; i < c.k && &originals[i][0] != &d[0] {
			copy(d, originals[i])
		}
	}
	if !t.encoding {
		return
	}
	recovery := make([][]byte, c.m)
	for at, i := range t.wanted {
		if i >= c.k && recovery[i-c.k] == nil {
			recovery[i-c.k] = dst[at][from:to]
		}
	}
	c.encode(s, originals, recovery, n)
	for at, i := range t.wanted {
		if d := dst[at][from:to]; i >= c.k && &recovery[i-c.k][0] != &d[0] {
			copy(d, recovery[i-c.k])
		}
	}
}
