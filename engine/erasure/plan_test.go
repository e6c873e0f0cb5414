package erasure

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// subsets calls f with all choices of k numbers below n.
func subsets(n, k int, f func([]int)) {
	var rec func(from int, s []int)
	rec = func(from int, s []int) {
		if len(s) == k {
			f(s)
			return
		}
		for i := from; i < n; i++ {
			rec(i+1, append(s, i))
		}
	}
	rec(0, make([]int, 0, k))
}

// checkPlan applies a plan to bytes [from, to) of the given shards, and
// compares with what they hold there.
func checkPlan(t *testing.T, c *Code, size, from, to int, shards [][]byte, known, wanted []int) {
	t.Helper()
	p, err := c.Plan(known, wanted)
	if err != nil {
		t.Fatal(err)
	}
	applyPlan(t, p, size, from, to, shards, known, wanted)
}

func applyPlan(t *testing.T, p *Plan, size, from, to int, shards [][]byte, known, wanted []int) {
	t.Helper()
	src, dst := make([][]byte, len(known)), randomSymbols(99, len(wanted), to-from)
	for at, i := range known {
		src[at] = shards[i][from:to]
	}
	if err := p.Apply(size, from, dst, src); err != nil {
		t.Fatal(err)
	}
	for at, i := range wanted {
		if !bytes.Equal(dst[at], shards[i][from:to]) {
			t.Fatalf("%d+%d, size %d, bytes %d to %d: symbol %d wrong from %v", p.code.k, p.code.m, size, from, to, i, known)
		}
	}
}

// shardsOf returns k+m shards of count symbols of one codeword each.
func shardsOf(t testing.TB, k, m, size, count int) [][]byte {
	t.Helper()
	shards := append(randomSymbols(uint64(size), k, size*count), randomSymbols(2, m, size*count)...)
	mustCode(t, k, m).Encode(size, count,
		func(i, j int) []byte { return shards[i][j*size:][:size] },
		func(i, j int) []byte { return shards[k+i][j*size:][:size] })
	return shards
}

func TestAnyKSymbolsRestoreAllOthers(t *testing.T) {
	for n := 2; n <= 10; n++ {
		for k := 1; k < n; k++ {
			c, shards := mustCode(t, k, n-k), shardsOf(t, k, n-k, 6, 3)
			subsets(n, k, func(known []int) {
				checkPlan(t, c, 6, 0, 18, shards, known, upTo(n))
			})
		}
	}
}

func TestRandomSymbolsRestoreAllOthers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, km := range [][2]int{{5, 8}, {9, 4}, {34, 66}, {67, 33}, {101, 200}, {201, 100}, {334, 666}, {667, 333}, {100, 1000}} {
		k, m := km[0], km[1]
		c, shards := mustCode(t, k, m), shardsOf(t, k, m, 70, 2)
		for try := range 12 {
			known, wanted := r.Perm(k + m)[:k], r.Perm(k+m)
			switch try % 4 {
			case 1: // few wanted: interpolation
				wanted = wanted[:1+r.IntN(min(20, m))]
			case 2: // one part of the recovery symbols: a transform at low rate
				known = append(r.Perm(k)[:k/2], recoveries(r, c, k-k/2)...)
			case 3: // everything lost
				if m >= k {
					known = recoveries(r, c, min(k, c.chunk))
				}
				wanted = upTo(k)
			}
			if len(known) == k {
				checkPlan(t, c, 70, 0, 140, shards, known, wanted)
			}
		}
	}
}

// recoveries returns up to n symbols of a random part.
func recoveries(r *rand.Rand, c *Code, n int) []int {
	p := c.parts[r.IntN(len(c.parts))]
	s := r.Perm(p.count)[:min(n, p.count)]
	for i := range s {
		s[i] += c.k + p.first
	}
	return s
}

func TestRangesDecodeByThemselves(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const k, m = 6, 9
	c := mustCode(t, k, m)
	known, wanted := []int{1, 14, 3, 9, 5, 7}, []int{0, 2, 4, 10, 3}
	p, err := c.Plan(known, wanted)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{2, 6, 62, 64, 66, 100, 128, 1022, 1024, 1026, 1088, 3000, 4096, 5002} {
		count := 1 + 9000/size
		shards := shardsOf(t, k, m, size, count)
		for range 60 {
			a := r.IntN(size * count)
			b := a + r.IntN(size*count-a)
			from, to := AlignRange(size, a, b)
			if from > a || to < b || from < 0 || to > size*count || a-from >= 64 || to-b >= 64 {
				t.Fatalf("size %d: bytes %d to %d widened to %d to %d", size, a, b, from, to)
			}
			applyPlan(t, p, size, from, to, shards, known, wanted)
		}
	}
}

func TestApplyRefusesRangesThatCannotBeDecoded(t *testing.T) {
	c := mustCode(t, 2, 2)
	p, err := c.Plan([]int{0, 3}, []int{1})
	if err != nil {
		t.Fatal(err)
	}
	at := func(n int) [][]byte { return [][]byte{make([]byte, n)} }
	two := func(n int) [][]byte { return append(at(n), at(n)...) }
	for name, err := range map[string]error{
		"inside a block":      p.Apply(200, 3, at(61), two(61)),
		"part of last block":  p.Apply(70, 64, at(4), two(4)),
		"unequal":             p.Apply(64, 0, at(128), two(64)),
		"odd size":            p.Apply(63, 0, at(63), two(63)),
		"too few sources":     p.Apply(64, 0, at(64), at(64)),
		"sources of unequals": p.Apply(64, 0, at(64), append(at(64), at(128)...)),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, known := range [][]int{{0}, {0, 0}, {0, 4}, {-1, 2}, {0, 1, 2}} {
		if _, err := c.Plan(known, []int{1}); err == nil {
			t.Errorf("plan from %v accepted", known)
		}
	}
	if _, err := c.Plan([]int{0, 1}, []int{4}); err == nil {
		t.Error("plan for symbol 4 of 4 accepted")
	}
}

func BenchmarkApply(b *testing.B) {
	for _, x := range []struct{ k, m, wanted, size, n int }{
		{34, 66, 1, 29460, 16 << 10}, {34, 66, 1, 100, 16 << 10}, {34, 66, 2, 29460, 16 << 10}, {34, 66, 4, 29460, 16 << 10}, {34, 66, 8, 29460, 16 << 10}, {34, 66, 34, 29460, 16 << 10},
		{334, 666, 1, 4820, 16 << 10}, {334, 666, 32, 4820, 16 << 10}, {334, 666, 63, 4820, 16 << 10}, {334, 666, 64, 4820, 16 << 10}, {334, 666, 64, 2, 1334}, {334, 666, 63, 2, 1334}, {334, 666, 334, 4820, 16 << 10},
		{667, 333, 1, 4820, 16 << 10}, {667, 333, 63, 4820, 16 << 10}, {667, 333, 333, 4820, 16 << 10},
	} {
		b.Run(fmt.Sprintf("%d+%d/%d wanted/%d of %d", x.k, x.m, x.wanted, x.n, x.size), func(b *testing.B) {
			c := mustCode(b, x.k, x.m)
			known := upTo(x.k + x.m)[x.wanted:][:x.k]
			p, err := c.Plan(known, upTo(x.wanted))
			if err != nil {
				b.Fatal(err)
			}
			_, n := AlignRange(x.size, 0, x.n)
			src, dst := randomSymbols(1, x.k, n), randomSymbols(1, x.wanted, n)
			b.SetBytes(int64(x.k * n))
			for b.Loop() {
				if err := p.Apply(x.size, 0, dst, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, km := range [][2]int{{34, 66}, {334, 666}, {667, 333}} {
		b.Run(fmt.Sprintf("%d+%d", km[0], km[1]), func(b *testing.B) {
			c := mustCode(b, km[0], km[1])
			known := upTo(km[0] + 1)[1:]
			for b.Loop() {
				if _, err := c.Plan(known, []int{0}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
