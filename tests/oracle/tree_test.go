package oracle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A planter makes the tree that is mounted: one of each thing that a dataset
// can hold, and of each that programs have stumbled over.
type planter struct {
	t   testing.TB
	top string
	rng *rand.ChaCha8
}

// Sizes at which the format turns over: what the kernel and the format count
// in, and the bytes of a blob.
const (
	page    = 4 << 10
	chunk   = 16 << 10
	segment = 1 << 20
	blob    = 2 << 20
	subtree = 512 * chunk // what one interior chunk covers
)

// mustPlant fills the directory top.
func mustPlant(t testing.TB, top string, seed uint64) {
	t.Helper()
	p := &planter{t: t, top: top, rng: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), 1})}
	for _, grow := range []func(){p.sizes, p.sparse, p.names, p.utmost, p.links, p.xattrs, p.many, p.deep, p.times, p.modes} {
		grow()
	}
	unix.Sync() // SEEK_HOLE on the source knows nothing of what has no place on disk yet
}

func (p *planter) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("planting: %v", err)
	}
}

func (p *planter) path(rel string) string { return p.top + "/" + rel }

func (p *planter) dir(rel string) { p.t.Helper(); p.must(os.MkdirAll(p.path(rel), 0o755)) }

func (p *planter) noise(n int) []byte {
	b := make([]byte, n)
	p.rng.Read(b)
	return b
}

func (p *planter) file(rel string, data []byte) {
	p.t.Helper()
	p.must(os.WriteFile(p.path(rel), data, 0o644))
}

func (p *planter) symlink(rel, target string) {
	p.t.Helper()
	p.must(os.Symlink(target, p.path(rel)))
}

func (p *planter) sizes() {
	p.dir("sizes")
	p.dir("empty-dir")
	for _, n := range []int{0, 1, 2, 511, 512, 513, page, chunk, 2 * chunk, 5 * chunk, segment, blob, subtree} {
		for d := -1; d <= 1; d++ {
			if n >= page || d == 0 {
				p.file(fmt.Sprintf("sizes/%d", n+d), p.noise(n+d))
			}
		}
	}
}

// sparse makes files with holes. Those in sparse/ have them where a dataset
// has: whole aligned MiB. Those in ragged/ do not, so there the source sees
// others.
func (p *planter) sparse() {
	p.dir("sparse")
	p.dir("ragged")
	for _, f := range []struct {
		name string
		size int64
		data [][2]int64 // from, bytes
	}{
		{"sparse/front", 4 * segment, [][2]int64{{3 * segment, segment}}},
		{"sparse/middle", 5*segment + 77, [][2]int64{{0, segment}, {4 * segment, segment + 77}}},
		{"sparse/end", 6 * segment, [][2]int64{{0, 2 * segment}}},
		{"sparse/all", 5 * segment, nil},
		{"sparse/comb", 24 * segment, [][2]int64{{segment, segment}, {3 * segment, segment}, {7 * segment, segment}, {9 * segment, segment}, {23 * segment, segment}}},
		{"ragged/front", 3*segment + 5, [][2]int64{{segment + 5000, 2*segment - 4995}}},
		{"ragged/speck", 8 * segment, [][2]int64{{5*segment + 12345, 1}}},
		{"ragged/tail", 2*segment + 500000, [][2]int64{{0, 10}}},
		{"ragged/short", 700000, nil},
	} {
		w, err := os.Create(p.path(f.name))
		p.must(err)
		p.must(w.Truncate(f.size))
		for _, d := range f.data {
			_, err := w.WriteAt(p.noise(int(d[1])), d[0])
			p.must(err)
		}
		p.must(w.Close())
	}
	zeros := make([]byte, 3*segment)
	zeros[0] = 1
	p.file("ragged/zeros", zeros) // written, not skipped; a hole all the same
}

func (p *planter) names() {
	p.dir("names")
	for b := 1; b < 256; b++ {
		if b != '/' && b != '.' {
			p.file("names/"+string([]byte{byte(b)}), []byte{byte(b)})
		}
	}
	for i, n := range []string{
		strings.Repeat("n", 254), strings.Repeat("\xff", 254), strings.Repeat("é", 127),
		"\xc3\x28", "new\nline", "-rf", "...", "..a", ".hidden", " ", "a b", "\x1b[31m", "*", "con.", "\\", "ab", "a", "a\x01", "A",
	} {
		if len(n) > 1 {
			p.file("names/"+n, p.noise(i*100))
		}
	}
}

// utmost holds names of 255 bytes. mkfs.erofs 1.5 cuts them off, so the image
// is made without them, and they are compared with the source.
const utmost = "utmost"

func (p *planter) utmost() {
	dir := utmost + "/" + strings.Repeat("\xe9", 255)
	p.dir(dir)
	for i, c := range []string{"n", "\xff", "\x01", " ", "-"} {
		p.file(dir+"/"+strings.Repeat(c, 255), p.noise(i*chunk))
		p.symlink(utmost+"/"+strings.Repeat(c, 255), strings.Repeat("\xe9", 255)+"/"+strings.Repeat(c, 255))
	}
}

func (p *planter) links() {
	p.dir("links/sub/inner")
	p.file("links/file", p.noise(3000))
	p.file("links/sub/other", p.noise(20000))
	for name, target := range map[string]string{
		"relative": "file", "up": "../sizes/1", "into": "sub/inner", "round": "sub/../sub/./other", "dot": ".", "dotdot": "..", "top": "../../..",
		"absolute": "/outside/file", "root": "/", "gone": "nowhere", "gone-absolute": "/nowhere/at/all", "gone-below": "file/below",
		"loop": "loop", "ping": "pong", "pong": "ping", "odd": "\xff\xfe\n", "long": strings.Repeat("x", 255),
		"longest": strings.Repeat("./", 2045) + "file", "slash": "sub/", "file-slash": "file/", "space": " ",
	} {
		p.symlink("links/"+name, target)
	}
	for i := range 45 { // the kernel follows 40
		target := "file"
		if i > 0 {
			target = fmt.Sprintf("chain%d", i-1)
		}
		p.symlink(fmt.Sprintf("links/chain%d", i), target)
	}
	p.dir("hard/a")
	p.dir("hard/b")
	p.file("hard/b/first", p.noise(chunk+1))
	p.file("hard/z", nil)
	for _, l := range [][2]string{{"hard/b/first", "hard/a/second"}, {"hard/b/first", "hard/third"}, {"hard/z", "hard/a/empty"}, {"hard/b/first", "links/sub/fourth"}} {
		p.must(os.Link(p.path(l[0]), p.path(l[1])))
	}
}

func (p *planter) xattrs() {
	p.dir("xattrs/dir")
	set := func(rel, name string, value []byte) { p.t.Helper(); p.must(unix.Setxattr(p.path(rel), name, value, 0)) }
	for _, n := range []string{"none", "one", "empty", "long", "many", "odd"} {
		p.file("xattrs/"+n, []byte(n))
	}
	set("xattrs/one", "user.colour", []byte("red"))
	set("xattrs/empty", "user.void", nil)
	set("xattrs/long", "user.long", p.noise(3000))
	for i := range 30 {
		set("xattrs/many", fmt.Sprintf("user.attribute.%d", i), p.noise(i))
	}
	set("xattrs/odd", "user.\xff\xfe\n", []byte{0, 1, 2})
	set("xattrs/odd", "user."+strings.Repeat("n", 250), []byte("name of 255 bytes"))
	set("xattrs/dir", "user.colour", []byte("blue"))
	set("xattrs", "user.top", p.noise(500))
}

func (p *planter) many() {
	p.dir("many")
	for i := range 20000 {
		name := fmt.Sprintf("many/%05x", i*52361%(1<<20))
		if i%10 == 0 {
			name += strings.Repeat("-", i%200)
		}
		p.must(os.WriteFile(p.path(name), []byte(name)[:i%len(name)], 0o644))
	}
	p.dir("some")
	for i := range 300 {
		p.dir(fmt.Sprintf("some/%d", i))
	}
}

func (p *planter) deep() {
	p.dir("deep" + strings.Repeat("/d", 250))
	p.file("deep"+strings.Repeat("/d", 250)+"/leaf", []byte("at the bottom"))
	long := "deep" + strings.Repeat("/"+strings.Repeat("l", 254), 14)
	p.dir(long)
	p.file(long+"/leaf", p.noise(chunk*3))
}

// times comes late: what lies beside must not be touched again.
func (p *planter) times() {
	p.dir("times")
	for i, at := range []time.Time{
		time.Unix(0, 0), time.Unix(-1, 999999999), time.Unix(-1, 0), time.Unix(0, 1), time.Unix(1<<31-1, 1), time.Unix(1<<31, 2), time.Unix(1<<32, 3),
		time.Date(1901, 12, 14, 1, 2, 3, 4, time.UTC), time.Date(1969, 7, 20, 20, 17, 40, 123456789, time.UTC), time.Date(2446, 1, 1, 0, 0, 0, 999999999, time.UTC),
	} {
		file, link := fmt.Sprintf("times/file%d", i), fmt.Sprintf("times/link%d", i)
		p.file(file, []byte(at.String()))
		p.symlink(link, "file")
		p.dir(fmt.Sprintf("times/dir%d", i))
		ts := []unix.Timespec{{Sec: at.Unix(), Nsec: int64(at.Nanosecond())}, {Sec: at.Unix(), Nsec: int64(at.Nanosecond())}}
		for _, rel := range []string{file, link, fmt.Sprintf("times/dir%d", i)} {
			p.must(unix.UtimesNanoAt(unix.AT_FDCWD, p.path(rel), ts, unix.AT_SYMLINK_NOFOLLOW))
		}
	}
}

// modes comes last: it closes directories.
func (p *planter) modes() {
	p.dir("modes")
	for m := range os.FileMode(0o1000) {
		file, dir := fmt.Sprintf("modes/f%03o", m), fmt.Sprintf("modes/d%03o", m)
		p.file(file, []byte(file))
		p.dir(dir + "/sub")
		p.file(dir+"/in", []byte(dir))
		for _, rel := range []string{file, dir} {
			p.must(os.Chmod(p.path(rel), m))
		}
	}
}
