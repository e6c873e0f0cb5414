package fs

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// An item is a file, directory or symlink of a dataset to be built.
type item struct {
	name   string
	mode   uint16
	sec    int64
	nsec   uint32
	data   []byte // files
	dir    bool
	kids   []*item
	target string // symlinks
	link   *item  // another name of that file
	xattrs []catalog.Xattr
	size   int64         // of a file that is only looked at, never read
	holes  []merkle.Hole // of it

	e       catalog.Entry
	entries uint64 // below
	links   uint32
	first   *item // of the group of hard links
}

func file(name string, data []byte) *item { return &item{name: name, mode: 0o644, data: data} }
func dir(name string, kids ...*item) *item {
	return &item{name: name, mode: 0o755, dir: true, kids: kids}
}
func symlink(name, target string) *item { return &item{name: name, mode: 0o777, target: target} }

// noise returns n bytes that do not repeat, the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1}).Read(b)
	return b
}

// A world is a dataset in memory and the engine that reads it.
type world struct {
	*engine.Dataset
	engine *engine.Engine
	blobs  *memory
	items  map[string]*item // by path
}

const (
	blobSize = 64 << 20
	shards   = 100
)

// mustWorld builds the dataset of a top directory.
func mustWorld(t testing.TB, top *item) *world {
	t.Helper()
	w := &world{blobs: &memory{meta: map[walrus.BlobID]*walrus.Encoded{}}, items: map[string]*item{}}
	next := uint64(0)
	w.number(top, "", &next)
	w.groups()
	var space bytes.Buffer
	w.store(t, top, &space)
	must(t, w.tables(top, &space))

	enc, err := walrus.NewEncoder(shards)
	must(t, err)
	h := catalog.Header{BlobSize: blobSize, Shards: shards, Root: top.e}
	h.Root.Name, h.Root.Number = "", 0
	var records []byte
	w.blobs.space = space.Bytes()
	length := int64(space.Len())
	for _, it := range w.items {
		length = max(length, it.size)
	}
	for at := int64(0); at < length; at += blobSize {
		h.Blobs++
		r := catalog.BlobRecord{Size: min(blobSize, length-at)}
		copy(r.ID[:], fmt.Sprintf("blob %d", at/blobSize))
		w.blobs.ids = append(w.blobs.ids, r.ID)
		records = catalog.AppendRecord(records, r)
	}
	header, err := catalog.AppendHeader(nil, h)
	must(t, err)
	header = append(header, records...)
	e, err := enc.Encode(t.Context(), header, shards)
	must(t, err)
	w.blobs.meta[e.ID] = e

	w.engine = engine.New(w.blobs, nil, nil)
	t.Cleanup(func() { w.engine.Close() })
	w.Dataset, err = w.engine.Open(t.Context(), e.ID)
	must(t, err)
	return w
}

// number gives entries their place in pre-order.
func (w *world) number(it *item, path string, next *uint64) {
	*next++
	it.e.Number = *next
	w.items[path] = it
	slices.SortFunc(it.kids, func(a, b *item) int { return cmp.Compare(a.name, b.name) })
	for _, k := range it.kids {
		w.number(k, strings.TrimPrefix(path+"/"+k.name, "/"), next)
	}
	it.entries = *next - it.e.Number
}

// groups finds the first of each group of hard links.
func (w *world) groups() {
	groups := map[*item][]*item{}
	for _, it := range w.items {
		if it.link != nil {
			groups[it.link] = append(groups[it.link], it)
		}
	}
	for of, all := range groups {
		all = append(all, of)
		slices.SortFunc(all, func(a, b *item) int { return cmp.Compare(a.e.Number, b.e.Number) })
		for _, it := range all {
			it.first, it.links, it.data = all[0], uint32(len(all)), of.data
			it.mode, it.sec, it.nsec = of.mode, of.sec, of.nsec
		}
	}
}

// store writes what files hold.
func (w *world) store(t testing.TB, it *item, space *bytes.Buffer) {
	t.Helper()
	e := &it.e
	e.Name, e.Mode, e.Sec, e.Nsec, e.Links, e.First = it.name, it.mode, it.sec, it.nsec, 1, it.e.Number
	if len(it.xattrs) > 0 {
		e.Xattrs.Inline = it.xattrs
		list, err := catalog.EncodeXattrs(it.xattrs)
		must(t, err)
		if len(list) > catalog.MaxInline {
			e.Xattrs = catalog.Xattrs{Out: w.extent(t, space, list)}
		}
	}
	switch {
	case it.dir:
		e.Type = catalog.Dir
	case it.target != "":
		e.Type, e.Target = catalog.Symlink, it.target
	case it.first != nil && it.first != it:
		number, name := e.Number, e.Name
		*e = it.first.e
		e.Number, e.Name = number, name
	case it.size > 0:
		e.Size, e.Root, e.Sum = it.size, merkle.Blake3(nil), merkle.Blake3(nil)
		w.storeHoles(t, e, it.holes, space)
	default:
		at := pad(space)
		tr, err := merkle.Build(space, bytes.NewReader(it.data), os.TempDir())
		must(t, err)
		e.Size, e.Root, e.Sum = tr.Size, tr.Root, tr.Sum
		if tr.Size > 0 {
			e.At = at
		}
		w.storeHoles(t, e, tr.Holes, space)
		if it.links > 1 {
			e.Links = it.links
		}
	}
	for _, k := range it.kids {
		w.store(t, k, space)
	}
}

func (w *world) storeHoles(t testing.TB, e *catalog.Entry, holes []merkle.Hole, space *bytes.Buffer) {
	if len(holes) == 0 {
		return
	}
	list, err := catalog.EncodeHoles(holes, e.Size)
	must(t, err)
	if len(list) > catalog.MaxInline {
		e.Holes.Out = w.extent(t, space, list)
	} else {
		e.Holes.Inline = holes
	}
}

func (w *world) extent(t testing.TB, space *bytes.Buffer, data []byte) catalog.Extent {
	at := pad(space)
	tr, err := merkle.Build(space, bytes.NewReader(data), os.TempDir())
	must(t, err)
	return catalog.Extent{Size: tr.Size, Root: tr.Root, At: at}
}

// tables writes the tables of directories, those below first.
func (w *world) tables(it *item, space *bytes.Buffer) error {
	if !it.dir {
		return nil
	}
	for _, k := range it.kids {
		if err := w.tables(k, space); err != nil {
			return err
		}
	}
	var table bytes.Buffer
	b := catalog.NewTable(&table, it.e.Number)
	for _, k := range it.kids {
		if _, err := b.Add(k.e); err != nil {
			return err
		}
	}
	totals, err := b.Finish()
	if err != nil {
		return err
	}
	totals.Fill(&it.e)
	at := pad(space)
	tr, err := merkle.Build(space, &table, os.TempDir())
	if err != nil {
		return err
	}
	it.e.Root = tr.Root
	if tr.Size > 0 {
		it.e.At = at
	}
	return nil
}

func pad(space *bytes.Buffer) int64 {
	n := (merkle.Align - space.Len()%merkle.Align) % merkle.Align
	space.Write(make([]byte, n))
	return int64(space.Len())
}

// mustMount mounts w for the length of the test.
func (w *world) mustMount(t testing.TB, opts *Options) (*Server, string) {
	t.Helper()
	needFUSE(t)
	at := filepath.Join(t.TempDir(), "mnt")
	must(t, os.Mkdir(at, 0o755))
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil && testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	s, err := Mount(t.Context(), at, w.Dataset, &o)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Unmount(false); err != nil {
			t.Errorf("unmounting: %v", err)
			s.Unmount(true)
		}
		select {
		case <-s.Done():
		case <-time.After(10 * time.Second):
			t.Errorf("the server goes on after the unmount")
		}
	})
	return s, at
}

func needFUSE(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounting in tests takes root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("SKIPPED: no /dev/fuse: ", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// eventually waits for cond.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 10 s in vain for this: %s", what)
		}
	}
}
