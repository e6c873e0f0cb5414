package oracle

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A side is one of the trees that operations are done on.
type side struct {
	top  string
	held [8]int // descriptors left open by operations, -1: none
}

func newSide(top string) *side {
	s := &side{top: top}
	for i := range s.held {
		s.held[i] = -1
	}
	return s
}

func (s *side) path(rel string) string { return s.top + "/" + rel }

// An answer is what came of an operation, without what may differ between
// file systems.
type answer struct {
	text string
	data []byte
}

func (a answer) String() string {
	if a.data == nil {
		return a.text
	}
	return fmt.Sprintf("%s, %d bytes beginning with %x", a.text, len(a.data), a.data[:min(len(a.data), 32)])
}

// say is an answer in words; an error is told by its name.
func say(format string, args ...any) answer {
	for i, a := range args {
		if e, ok := a.(syscall.Errno); ok {
			args[i] = unix.ErrnoName(e)
		}
	}
	return answer{text: fmt.Sprintf(format, args...)}
}

// failed is the answer of an operation that gave an error.
func failed(err error) answer {
	if e, ok := err.(syscall.Errno); ok {
		return answer{text: unix.ErrnoName(e)}
	}
	return answer{text: "unknown error: " + err.Error()}
}

// outcome is the answer of an operation that gives nothing but an error.
func outcome(err error) answer {
	if err != nil {
		return failed(err)
	}
	return answer{text: "ok"}
}

// An operation is one thing a program can do to a tree.
type operation struct {
	kind string
	what string // with all its arguments
	do   func(s *side) answer

	// want says what the answer must be; nil: what the image answers.
	want func(source *side) answer
}

// A drawer draws operations.
type drawer struct {
	rng    *rand.Rand
	groups [][]thing // by where in the tree, so that one large directory does not take all
	files  [][]thing // the same, files only
	dirs   [][]thing
	links  []thing // files with more than one name
	utmost []thing // what the image lacks
	truth  *truth
	held   [8]string // what the slots of sides hold
}

func newDrawer(seed uint64, all []thing, truth *truth) *drawer {
	d := &drawer{rng: rand.New(rand.NewPCG(seed, 0x0f10e)), truth: truth}
	all = slices.Clone(all)
	all = slices.DeleteFunc(all, func(t thing) bool {
		there := strings.HasPrefix(t.path, utmost+"/")
		if there {
			d.utmost = append(d.utmost, t)
		}
		return there || t.path == utmost
	})
	group := func(keep func(thing) bool) [][]thing {
		at, out := map[string]int{}, [][]thing{}
		for _, t := range all {
			if !keep(t) {
				continue
			}
			top, _, _ := strings.Cut(t.path, "/")
			i, ok := at[top]
			if !ok {
				i, at[top] = len(out), len(out)
				out = append(out, nil)
			}
			out[i] = append(out[i], t)
		}
		return out
	}
	d.groups = group(func(thing) bool { return true })
	d.files = group(func(t thing) bool { return t.kind == unix.S_IFREG })
	d.dirs = group(func(t thing) bool { return t.kind == unix.S_IFDIR })
	names := map[uint64]int{}
	for _, t := range all {
		names[t.ino]++
	}
	for _, t := range all {
		if names[t.ino] > 1 {
			d.links = append(d.links, t)
		}
	}
	return d
}

func pick[T any](rng *rand.Rand, of []T) T { return of[rng.IntN(len(of))] }

// one reports true once in n times.
func (d *drawer) one(n int) bool { return d.rng.IntN(n) == 0 }

func (d *drawer) thing() thing { return pick(d.rng, pick(d.rng, d.groups)) }
func (d *drawer) file() thing  { return pick(d.rng, pick(d.rng, d.files)) }
func (d *drawer) dir() thing   { return pick(d.rng, pick(d.rng, d.dirs)) }

// path returns a path of the tree, sometimes bent into one that leads
// somewhere else or nowhere. kind prefers things of that kind.
func (d *drawer) path(kind uint32) string {
	var t thing
	switch {
	case kind == unix.S_IFREG && !d.one(8):
		t = d.file()
	case kind == unix.S_IFDIR && !d.one(8):
		t = d.dir()
	default:
		t = d.thing()
	}
	if d.one(5) {
		return d.bend(t.path)
	}
	return t.path
}

func (d *drawer) bend(p string) string {
	switch d.rng.IntN(16) {
	case 0:
		return p + "/"
	case 1:
		return p + "/."
	case 2:
		return p + "/.."
	case 3:
		return p + "//absent"
	case 4:
		return p + "/" + strings.Repeat("y", 254+d.rng.IntN(3)) // the last one is too long
	case 5:
		return p[:d.rng.IntN(len(p)+1)]
	case 6:
		return p + string(rune('!'+d.rng.IntN(90)))
	case 7:
		return strings.Repeat("./", d.rng.IntN(2100)) + p // perhaps too long
	case 8:
		return pick(d.rng, []string{"links/dotdot/", "links/dot/../", "links/top/outside/../", "sizes/../", "links/into/../../../"}) + p
	case 9:
		return p + "/" + d.thing().path
	case 10:
		return p + "/../" + d.thing().path
	case 11:
		return "links/" + pick(d.rng, []string{"loop", "ping", "gone", "chain39", "chain40", "longest", "slash", "file-slash", "root", "gone-below"}) + pick(d.rng, []string{"", "/", "/x"})
	case 12:
		return strings.ToUpper(p)
	case 13:
		return "many/" + fmt.Sprintf("%05x", d.rng.IntN(1<<20))
	case 14:
		return fmt.Sprintf("modes/d%03o/%s", d.rng.IntN(0o1000), pick(d.rng, []string{"in", "sub", "sub/..", "absent", "."}))
	default:
		return ""
	}
}

// offset returns an offset that is likely to be interesting in a file of that
// size.
func (d *drawer) offset(size int64) int64 {
	unit := pick(d.rng, []int64{page, chunk, segment, blob, subtree})
	switch d.rng.IntN(12) {
	case 0:
		return 0
	case 1:
		return max(0, size-2+d.rng.Int64N(5))
	case 2:
		return size + d.rng.Int64N(2*segment)
	case 3:
		return pick(d.rng, []int64{-1, 1 << 31, 1 << 40, math.MaxInt64 - segment, math.MaxInt64})
	case 4, 5, 6, 7:
		return max(0, d.rng.Int64N(size/unit+2)*unit-2+d.rng.Int64N(5))
	default:
		return d.rng.Int64N(size + 1)
	}
}

// length returns a number of bytes to ask for.
func (d *drawer) length() int {
	switch d.rng.IntN(10) {
	case 0:
		return pick(d.rng, []int{0, 1, 2, 511})
	case 1:
		return pick(d.rng, []int{segment - 1, segment, segment + 1, blob + 1, 3 * segment})
	case 2, 3:
		return chunk*(1+d.rng.IntN(16)) - 1 + d.rng.IntN(3)
	default:
		return d.rng.IntN(3 * chunk)
	}
}

// draw returns the next operation.
func (d *drawer) draw() operation {
	n := d.rng.IntN(allWeights)
	i := 0
	for ; n >= kinds[i].weight; i++ {
		n -= kinds[i].weight
	}
	op := kinds[i].draw(d)
	op.kind = kinds[i].name
	return op
}

// kinds are all operations and how often each is drawn.
var kinds = []struct {
	name   string
	weight int
	draw   func(d *drawer) operation
}{
	{"open", 10, (*drawer).open},
	{"pread", 12, (*drawer).pread},
	{"preadv", 2, (*drawer).preadv},
	{"read", 4, (*drawer).read},
	{"direct read", 3, (*drawer).direct},
	{"mmap", 8, (*drawer).mmap},
	{"send", 3, (*drawer).send},
	{"advise", 2, (*drawer).advise},
	{"list", 3, (*drawer).list},
	{"list in parts", 6, (*drawer).listParts},
	{"stat", 12, (*drawer).stat},
	{"statx", 3, (*drawer).statx},
	{"statfs", 1, (*drawer).statfs},
	{"access", 5, (*drawer).access},
	{"readlink", 5, (*drawer).readlink},
	{"getxattr", 5, (*drawer).getxattr},
	{"listxattr", 3, (*drawer).listxattr},
	{"seek", 3, (*drawer).seek},
	{"change", 10, (*drawer).change},
	{"hold", 4, (*drawer).hold},
	{"use held", 12, (*drawer).useHeld},
	// These are compared with the source.
	{"data or hole", 5, (*drawer).dataOrHole},
	{"blocks", 2, (*drawer).blocks},
	{"owner and links", 3, (*drawer).owner},
	{"numbers", 3, (*drawer).numbers},
	{"same file", 2, (*drawer).sameFile},
	{"other xattrs", 2, (*drawer).otherXattrs},
	{"utmost names", 2, (*drawer).utmostNames},
	{"b3", 1, (*drawer).b3},
}

var allWeights = func() (n int) {
	for _, k := range kinds {
		n += k.weight
	}
	return n
}()
