package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A job is what an operator is to do: a process of its own, which neither
// serves the mount nor sees anything but the trees.
type job struct {
	Stage string // directory that holds mount, image and source; read-only
	Seed  uint64
	Ops   int
	UID   int
	Drop  int // drop the kernel's caches after so many operations; 0: never
}

// A report is what came of it.
type report struct {
	Kinds       map[string]int // operations done
	Answers     map[string]int // of those that failed, by error
	Drops       int
	Files       int // in the tree
	Differences []string

	// Recounted is how often a long chain of symlinks was one too many at
	// first and not when asked again. The kernel walks a path without taking
	// references; if it has to begin again with them, because something was
	// just dropped from its caches, it does not begin to count the symlinks
	// anew, so that a chain of more than half the 40 allowed can be refused.
	// That happens on every file system, but to each at its own moments.
	Recounted int
}

const maxDifferences = 20 // after which an operator gives up

// operate is the operator's main.
func operate(in string) (*report, error) {
	var j job
	if err := json.Unmarshal([]byte(in), &j); err != nil {
		return nil, err
	}
	var caches *os.File
	if j.Drop > 0 {
		var err error
		if caches, err = os.OpenFile("/proc/sys/vm/drop_caches", os.O_WRONLY, 0); err != nil {
			return nil, err
		}
	}
	// Paths may lead out of the trees, and operations try to write: there
	// must be nothing around that could be written.
	if err := unix.Chroot(j.Stage); err != nil {
		return nil, fmt.Errorf("chroot: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return nil, err
	}
	if err := os.WriteFile("/probe", nil, 0o644); err == nil {
		return nil, fmt.Errorf("the stage can be written")
	}
	all, truth, err := survey("/source")
	if err != nil {
		return nil, fmt.Errorf("looking at the source: %w", err)
	}
	r := &report{Kinds: map[string]int{}, Answers: map[string]int{}, Files: len(all)}
	mount, image, source := newSide("/mount"), newSide("/image"), newSide("/source")
	var pairs bytes.Buffer
	if pairInodes(&pairs, mount, all) > 0 {
		r.Differences = append(r.Differences, strings.Split(strings.TrimSpace(pairs.String()), "\n")...)
		return r, nil
	}
	truth.uid = j.UID
	if j.UID != 0 {
		if err := become(j.UID); err != nil {
			return nil, err
		}
	}
	d := newDrawer(j.Seed, all, truth)
	for i := 0; i < j.Ops && len(r.Differences) < maxDifferences; i++ {
		if j.Drop > 0 && i%j.Drop == j.Drop-1 {
			if _, err := caches.WriteAt([]byte("3\n"), 0); err != nil {
				return nil, err
			}
			r.Drops++
		}
		r.compare(i, d.draw(), mount, image, source)
	}
	return r, nil
}

// become gives up root.
func become(uid int) error {
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(uid); err != nil {
		return err
	}
	return syscall.Setuid(uid)
}

// compare does one operation on both sides and notes how the answers differ.
func (r *report) compare(i int, op operation, mount, image, source *side) {
	expect := func() answer {
		if op.want != nil {
			return op.want(source)
		}
		return op.do(image)
	}
	got, want := op.do(mount), expect()
	r.Kinds[op.kind]++
	if strings.HasPrefix(want.text, "E") {
		r.Answers[want.text]++
	}
	if same(got, want) {
		return
	}
	if got.text == "ELOOP" && strings.Contains(op.what, "links/chain") && same(op.do(mount), want) {
		r.Recounted++
		return
	}
	again := "the same answer again"
	if a := op.do(mount); same(a, want) {
		again = "asked again, it answers as expected"
	} else if !same(a, got) {
		again = fmt.Sprintf("asked again, it answers %s", a)
	}
	from := "image "
	if op.want != nil {
		from = "source"
	}
	r.Differences = append(r.Differences, fmt.Sprintf("operation %d: %s\n  mount  %s\n  %s %s\n  %s%s", i, op.what, got, from, want, where(got, want), again))
}

func same(got, want answer) bool {
	return want.text == anything || got.text == want.text && bytes.Equal(got.data, want.data)
}

// where says where two answers first differ.
func where(a, b answer) string {
	if bytes.Equal(a.data, b.data) {
		return ""
	}
	i := 0
	for i < min(len(a.data), len(b.data)) && a.data[i] == b.data[i] {
		i++
	}
	from := max(0, i-16)
	return fmt.Sprintf("first different byte: %d; mount %q, expected %q\n  ", i, a.data[from:min(len(a.data), i+48)], b.data[from:min(len(b.data), i+48)])
}
