// Package world makes small true worlds for whole-system tests: a tree of
// files, the dataset that publishing makes of it in a directory store, ways to
// harm that store and to heal it, and readers that compare what they get with
// the tree.
package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
)

// An Item is a file, directory or symlink of a Tree.
type Item struct {
	Path   string // from the top, which is ""
	Dir    bool
	Data   []byte // files
	Target string // symlinks
	Mode   uint16
	Time   time.Time
}

// A Tree is items, each after the directory it lies in; the first is the top.
type Tree []*Item

// NewTree returns a tree of about 1 MiB: files of sizes around those of chunks
// and of blobs, a directory whose table has several pages, symlinks. The same
// seed gives the same tree.
func NewTree(seed uint64) Tree {
	rng := rand.New(rand.NewPCG(seed, 1))
	t := Tree{{Dir: true, Mode: 0o755, Time: time.Unix(1e9, 1)}}
	add := func(it Item) {
		it.Time = time.Unix(rng.Int64N(1<<31), rng.Int64N(1e9))
		t = append(t, &it)
	}
	file := func(name string, size int) {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		add(Item{Path: name, Data: data, Mode: uint16(0o400 | rng.IntN(0o400))})
	}
	add(Item{Path: "deep", Dir: true, Mode: 0o755})
	add(Item{Path: "deep/er", Dir: true, Mode: 0o700})
	for i, n := range []int{1, 100, 16 << 10, 16<<10 + 1, 50_000} {
		file(fmt.Sprintf("deep/er/%d", i), n)
	}
	add(Item{Path: "deep/link", Target: "er/../../sizes/3", Mode: 0o777})
	add(Item{Path: "many", Dir: true, Mode: 0o755})
	for i := range 300 {
		file(fmt.Sprintf("many/file-%03d", i), rng.IntN(900))
	}
	add(Item{Path: "sizes", Dir: true, Mode: 0o755})
	for i, n := range []int{0, 32<<10 - 1, 64 << 10, 64<<10 + 1, 150_000, 200_000} {
		file(fmt.Sprintf("sizes/%d", i), n)
	}
	add(Item{Path: "zz", Target: "nowhere at all", Mode: 0o777})
	return t
}

// Write writes the tree below dir, which must exist.
func (t Tree) Write(dir string) error {
	for _, it := range t {
		at := filepath.Join(dir, it.Path)
		var err error
		switch {
		case it.Path == "":
		case it.Dir:
			err = os.Mkdir(at, 0o755)
		case it.Target != "":
			err = os.Symlink(it.Target, at)
		default:
			err = os.WriteFile(at, it.Data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	for _, it := range slices.Backward(t) { // what is written into a directory changes its time
		at := filepath.Join(dir, it.Path)
		if it.Target == "" {
			if err := os.Chmod(at, os.FileMode(it.Mode)); err != nil {
				return err
			}
		}
		when, err := unix.TimeToTimespec(it.Time)
		if err == nil {
			err = unix.UtimesNanoAt(unix.AT_FDCWD, at, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Item returns the item at a path.
func (t Tree) Item(at string) *Item {
	i := slices.IndexFunc(t, func(it *Item) bool { return it.Path == at })
	if i < 0 {
		panic("the tree has no " + at)
	}
	return t[i]
}

// Below returns the names directly below a directory, in order.
func (t Tree) Below(dir string) []string {
	var names []string
	for _, it := range t[1:] {
		if in, name := path.Split(it.Path); strings.TrimSuffix(in, "/") == dir {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ErrWrong says that a reader got something that was never published.
var ErrWrong = errors.New("WRONG BYTES")

// Compare reads the item at a path from ds and compares: all that a
// directory's table says of what is in it, or n bytes of a file from off on.
// An error wraps ErrWrong if anything differs; others are the reader's.
func (t Tree) Compare(ctx context.Context, ds *engine.Dataset, it *Item, off, n int) error {
	e, err := ds.Resolve(ctx, it.Path)
	if err != nil {
		return err
	}
	if err := it.same(e); err != nil || it.Target != "" {
		return err
	}
	if it.Dir {
		return t.compareDir(ctx, ds, it, e)
	}
	f, err := ds.File(ctx, e)
	if err != nil {
		return err
	}
	got := make([]byte, n)
	if _, err := f.ReadAt(ctx, got, int64(off)); err != nil {
		return err
	}
	return it.SameBytes(got, off)
}

func (t Tree) compareDir(ctx context.Context, ds *engine.Dataset, it *Item, dir catalog.Entry) error {
	var names []string
	for e, err := range ds.List(ctx, dir, 0) {
		if err != nil {
			return err
		}
		names = append(names, e.Name)
		at := path.Join(it.Path, e.Name)
		i := slices.IndexFunc(t, func(it *Item) bool { return it.Path == at })
		if i < 0 {
			return fmt.Errorf("%w: a listing of %q holds %q", ErrWrong, it.Path, e.Name)
		}
		if err := t[i].same(e); err != nil {
			return err
		}
	}
	if want := t.Below(it.Path); !slices.Equal(names, want) {
		return fmt.Errorf("%w: a listing of %q has %d names, want %d", ErrWrong, it.Path, len(names), len(want))
	}
	return nil
}

// same compares what an entry says with the item.
func (it *Item) same(e catalog.Entry) error {
	want := catalog.File
	switch {
	case it.Dir:
		want = catalog.Dir
	case it.Target != "":
		want = catalog.Symlink
	}
	if e.Type != want || e.Target != it.Target {
		return fmt.Errorf("%w: %q is of type %d and leads to %q", ErrWrong, it.Path, e.Type, e.Target)
	}
	if e.Mode != it.Mode || e.Sec != it.Time.Unix() || int(e.Nsec) != it.Time.Nanosecond() {
		return fmt.Errorf("%w: %q has mode %o and time %d.%09d", ErrWrong, it.Path, e.Mode, e.Sec, e.Nsec)
	}
	if want == catalog.File && e.Size != int64(len(it.Data)) {
		return fmt.Errorf("%w: %q has %d bytes, want %d", ErrWrong, it.Path, e.Size, len(it.Data))
	}
	return nil
}

// SameBytes compares bytes that were read of a file from off on.
func (it *Item) SameBytes(got []byte, off int) error {
	want := it.Data[off : off+len(got)]
	if bytes.Equal(got, want) {
		return nil
	}
	i := 0
	for got[i] == want[i] {
		i++
	}
	return fmt.Errorf("%w: byte %d of %q is %#x, want %#x", ErrWrong, off+i, it.Path, got[i], want[i])
}
