package s3

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/floefs/floe/engine/walrus"
)

const (
	// maxRuns keeps names below the 255 bytes of a file's: what serves a
	// bucket may keep objects as files.
	maxRuns = 24

	// maxPack is how many bytes a pack has at most, unless it is one sliver: a
	// PUT takes 5 GiB.
	maxPack = 1 << 30
)

// A run is the slivers of one axis from index first to index last.
type run struct {
	axis        walrus.Axis
	first, last int
}

// A pack is slivers that lie end to end in one object, in order: primary ones
// first, by index.
type pack []run

// packs returns the packs in which slivers of a blob are stored together: one,
// unless they are too scattered or too long.
func packs(params walrus.Params, slivers []walrus.SliverID) []pack {
	var all []pack
	var size int64
	for _, at := range sorted(slivers) {
		n := int64(params.SliverLen(at.Axis))
		if len(all) > 0 && size+n <= maxPack && all[len(all)-1].take(at) {
			size += n
			continue
		}
		all, size = append(all, pack{{at.Axis, at.Index, at.Index}}), n
	}
	return all
}

// sorted returns slivers in the order they have in packs, each once.
func sorted(slivers []walrus.SliverID) []walrus.SliverID {
	slivers = slices.Clone(slivers)
	slices.SortFunc(slivers, func(a, b walrus.SliverID) int {
		return cmp.Or(cmp.Compare(a.Axis, b.Axis), cmp.Compare(a.Index, b.Index))
	})
	return slices.Compact(slivers)
}

// take adds a sliver behind all others if there is room.
func (k *pack) take(at walrus.SliverID) bool {
	r := &(*k)[len(*k)-1]
	switch {
	case r.axis == at.Axis && r.last+1 == at.Index:
		r.last++
	case len(*k) == maxRuns:
		return false
	default:
		*k = append(*k, run{at.Axis, at.Index, at.Index})
	}
	return true
}

// String returns the name of the object.
func (k pack) String() string {
	var b strings.Builder
	for i, r := range k {
		if i > 0 {
			b.WriteByte('_')
		}
		b.WriteByte("ps"[r.axis])
		b.WriteString(strconv.Itoa(r.first))
		if r.last > r.first {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(r.last))
		}
	}
	return b.String()
}

// parsePack is the inverse of String. It takes what packs can return and
// nothing else.
func parsePack(name string) (pack, bool) {
	if strings.Count(name, "_") >= maxRuns {
		return nil, false
	}
	var k pack
	for part := range strings.SplitSeq(name, "_") {
		if part == "" {
			return nil, false
		}
		axis := strings.IndexByte("ps", part[0])
		first, last, more := strings.Cut(part[1:], "-")
		from, ok := parseIndex(first)
		to := from
		if ok && more {
			to, ok = parseIndex(last)
			ok = ok && to > from
		}
		if !ok || axis < 0 {
			return nil, false
		}
		r := run{walrus.Axis(axis), from, to}
		if len(k) > 0 {
			// What touches the run before would be a part of it.
			if p := k[len(k)-1]; r.axis < p.axis || r.axis == p.axis && r.first <= p.last+1 {
				return nil, false
			}
		}
		k = append(k, r)
	}
	return k, true
}

func parseIndex(s string) (int, bool) {
	i, err := strconv.Atoi(s)
	return i, err == nil && i >= 0 && i < walrus.MaxShards && strconv.Itoa(i) == s
}

// len returns how many slivers are in the pack.
func (k pack) len() int {
	n := 0
	for _, r := range k {
		n += r.last - r.first + 1
	}
	return n
}

// slivers returns which slivers are in the pack, in order.
func (k pack) slivers() []walrus.SliverID {
	all := make([]walrus.SliverID, 0, k.len())
	for _, r := range k {
		for i := r.first; i <= r.last; i++ {
			all = append(all, walrus.SliverID{Axis: r.axis, Index: i})
		}
	}
	return all
}

// offset returns where a sliver begins in the pack, if it is in it.
func (k pack) offset(params walrus.Params, at walrus.SliverID) (int64, bool) {
	var off int64
	for _, r := range k {
		n := int64(params.SliverLen(r.axis))
		if r.axis == at.Axis && r.first <= at.Index && at.Index <= r.last {
			return off + int64(at.Index-r.first)*n, true
		}
		off += int64(r.last-r.first+1) * n
	}
	return 0, false
}

// size returns how many bytes a pack of a blob has.
func (k pack) size(params walrus.Params) int64 {
	var n int64
	for _, r := range k {
		n += int64(r.last-r.first+1) * int64(params.SliverLen(r.axis))
	}
	return n
}
