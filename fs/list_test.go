package fs

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDirectoriesListFromAnywhere lists 10,000 names of every type, and again
// from cookies in the middle.
func TestDirectoriesListFromAnywhere(t *testing.T) {
	big := dir("big")
	for i := range 10000 {
		name := fmt.Sprintf("%05d-%s", i, strings.Repeat("x", i%200))
		switch i % 10 {
		case 3:
			big.kids = append(big.kids, dir(name, file("a", nil), file("b", nil), dir("c", file("d", nil))))
		case 5:
			big.kids = append(big.kids, symlink(name, "target"))
		default:
			big.kids = append(big.kids, file(name, nil))
		}
	}
	w := mustWorld(t, dir("", dir("a"), big, dir("z")))
	_, at := w.mustMount(t, nil)
	c := mustClient(t)
	path := at + "/big"
	check := func(what string, got []dirent) {
		t.Helper()
		if len(got) != 10002 || got[0].Name != "." || got[1].Name != ".." {
			t.Fatalf("%s: %d names", what, len(got))
		}
		equal(t, what+": ino of .", got[0].Ino, w.items["big"].e.Number)
		equal(t, what+": ino of ..", got[1].Ino, 1)
		for i, d := range got[2:] {
			k := big.kids[i]
			types := byte(unix.DT_REG)
			if k.dir {
				types = unix.DT_DIR
			} else if k.target != "" {
				types = unix.DT_LNK
			}
			if d.Name != k.name || d.Ino != k.e.Number || d.Type != types || d.Off != int64(k.e.Number-big.e.Number)+2 {
				t.Fatalf("%s: name %d is %+v, want %q, number %d", what, i, d, k.name, k.e.Number)
			}
		}
	}
	// Seeking before the kernel has the listing, when it is being filled, and
	// when the kernel answers by itself must give the same.
	seek := func(what string, all []dirent) {
		t.Helper()
		for _, i := range []int{0, 1, 2, 3, 77, 2500, 5000, 9998, 10000, 10001} {
			got := c.ok(question{Op: "list", Path: path, Off: all[i].Off, N: 3}).Names
			want := all[i+1 : min(len(all), i+4)]
			if len(got) != len(want) {
				t.Fatalf("%s: %d names from cookie %d on, want %d", what, len(got), all[i].Off, len(want))
			}
			for j := range got {
				equal(t, fmt.Sprintf("%s: name %d behind %d", what, j, i), got[j], want[j])
			}
		}
	}
	var want []dirent
	want = append(want, dirent{".", big.e.Number, 1, unix.DT_DIR}, dirent{"..", 1, 2, unix.DT_DIR})
	for _, k := range big.kids {
		d := dirent{k.name, k.e.Number, int64(k.e.Number-big.e.Number) + 2, unix.DT_REG}
		if k.dir {
			d.Type = unix.DT_DIR
		} else if k.target != "" {
			d.Type = unix.DT_LNK
		}
		want = append(want, d)
	}
	seek("not yet read", want)
	check("first listing", c.ok(question{Op: "list", Path: path}).Names)
	seek("read once", want)
	check("second listing", c.ok(question{Op: "list", Path: path}).Names)
	equal(t, "walked", c.ok(question{Op: "walk", Path: path}).N, 10000+1000*4)
	check("listing after ls -lR", c.ok(question{Op: "list", Path: path}).Names)
	seek("in the kernel", want)

	// A cookie inside a subdirectory's numbers is what no listing gives;
	// listing goes on with the next name.
	inside := big.kids[3]
	got := c.ok(question{Op: "list", Path: path, Off: int64(inside.e.Number-big.e.Number) + 3, N: 1}).Names
	equal(t, "from within a subdirectory", names(got), big.kids[4].name)
	if got := c.ok(question{Op: "list", Path: path, Off: 1 << 62}).Names; len(got) != 0 {
		t.Errorf("behind the end: %d names", len(got))
	}
	nested := c.ok(question{Op: "list", Path: path + "/" + big.kids[3].name + "/c"}).Names
	equal(t, "ino of a nested ..", nested[1].Ino, big.kids[3].e.Number)
}

// TestNumbersInListingsAreThoseOfStat compares d_ino with st_ino.
func TestNumbersInListingsAreThoseOfStat(t *testing.T) {
	w := mustWorld(t, everything())
	_, at := w.mustMount(t, nil)
	c := mustClient(t)
	for path, it := range w.items {
		if !it.dir {
			continue
		}
		p := strings.TrimSuffix(at+"/"+path, "/")
		for _, d := range c.ok(question{Op: "list", Path: p}).Names {
			if path == "" && d.Name == ".." {
				continue // lies on another file system
			}
			equal(t, p+"/"+d.Name, d.Ino, c.ok(question{Op: "stat", Path: p + "/" + d.Name}).Stat.Ino)
		}
	}
}
