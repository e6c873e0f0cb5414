package fs

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
	"golang.org/x/sys/unix"
)

// everything is a dataset with one of each.
func everything() *item {
	linked := &item{name: "first", mode: 0o600, data: noise(3, 100), sec: 7}
	sparse := make([]byte, 5<<20+100)
	copy(sparse, noise(4, 1<<20))
	copy(sparse[4<<20:], noise(5, 1<<20))
	old := &item{name: "old", mode: 0o400, data: []byte("x"), sec: -1234567, nsec: 987654321}
	return &item{dir: true, mode: 0o755, sec: 1700000000, nsec: 123456789, kids: []*item{
		file("empty", nil),
		file("small", []byte("hello\n")),
		file("large", noise(1, 3<<20+12345)),
		file("sparse", sparse),
		old,
		symlink("to-large", "sub/../large"),
		dir("sub", linked, &item{name: "second", link: linked}, dir("deep", file("leaf", noise(6, 20000)))),
		dir("none"),
		{name: "tagged", mode: 0o644, data: []byte("t"), xattrs: []catalog.Xattr{{Name: "user.colour", Value: []byte("red")}, {Name: "user.empty"}}},
		{name: "much-tagged", mode: 0o644, data: []byte("m"), xattrs: []catalog.Xattr{{Name: "user.long", Value: noise(9, 3000)}}},
		file("\xff\n odd", []byte("odd")),
	}}
}

func TestFilesReadAsTheyWerePublished(t *testing.T) {
	w := mustWorld(t, everything())
	s, at := w.mustMount(t, nil)
	c := mustClient(t)
	for path, it := range w.items {
		if it.dir || it.target != "" {
			continue
		}
		p := at + "/" + path
		if got := c.ok(question{Op: "cat", Path: p}).Data; !bytes.Equal(got, it.data) {
			t.Errorf("%q: read %d bytes that differ from the %d published", path, len(got), len(it.data))
		}
		if len(it.data) == 0 {
			continue
		}
		if got := c.ok(question{Op: "mmap", Path: p}).Data; !bytes.Equal(got, it.data) {
			t.Errorf("%q: mapped bytes differ", path)
		}
		got := c.ok(question{Op: "read", Path: p, Off: 4096, N: 12288, Direct: true}).Data
		if want := it.data[min(len(it.data), 4096):min(len(it.data), 4096+12288)]; !bytes.Equal(got, want) {
			t.Errorf("%q: O_DIRECT read %d bytes, want %d", path, len(got), len(want))
		}
	}
	if got := c.ok(question{Op: "cat", Path: at + "/to-large"}).Data; !bytes.Equal(got, w.items["large"].data) {
		t.Errorf("through the symlink: %d bytes", len(got))
	}
	equal(t, "readlink", c.ok(question{Op: "readlink", Path: at + "/to-large"}).Text, "sub/../large")
	st := s.Stats()
	equal(t, "opens", st.Requests["open"], 1)
	equal(t, "opendirs", st.Requests["opendir"], 0)
	equal(t, "errors", st.Errors, 0)
	equal(t, "read_ahead_kb", st.ReadAheadKB, 1024)
	if st.ReadAheadErr != nil {
		t.Error(st.ReadAheadErr)
	}
}

func TestAttributes(t *testing.T) {
	w := mustWorld(t, everything())
	uid, gid := uint32(1234), uint32(5678)
	_, at := w.mustMount(t, &Options{UID: &uid, GID: &gid})
	c := mustClient(t)
	kinds := map[catalog.Type]uint32{catalog.File: unix.S_IFREG, catalog.Dir: unix.S_IFDIR, catalog.Symlink: unix.S_IFLNK}
	seen := map[uint64]string{}
	for path, it := range w.items {
		st := c.ok(question{Op: "stat", Path: strings.TrimSuffix(at+"/"+path, "/")}).Stat
		what := func(s string) string { return fmt.Sprintf("%q: %s", path, s) }
		equal(t, what("mode"), st.Mode, kinds[it.e.Type]|uint32(it.mode))
		equal(t, what("mtime"), [2]int64{st.Mtim.Sec, st.Mtim.Nsec}, [2]int64{it.sec, int64(it.nsec)})
		equal(t, what("atime"), st.Atim, st.Mtim)
		equal(t, what("ctime"), st.Ctim, st.Mtim)
		equal(t, what("owner"), [2]uint32{st.Uid, st.Gid}, [2]uint32{uid, gid})
		equal(t, what("blksize"), st.Blksize, merkle.ChunkSize)
		switch it.e.Type {
		case catalog.File:
			equal(t, what("size"), st.Size, int64(len(it.data)))
		case catalog.Symlink:
			equal(t, what("size"), st.Size, int64(len(it.target)))
		}
		if it.links == 0 {
			equal(t, what("ino"), st.Ino, it.e.Number)
			equal(t, what("nlink"), st.Nlink, 1)
			if other, ok := seen[st.Ino]; ok {
				t.Errorf("%q and %q have one inode number", path, other)
			}
			seen[st.Ino] = path
		}
	}
	a, b := c.ok(question{Op: "stat", Path: at + "/sub/first"}).Stat, c.ok(question{Op: "stat", Path: at + "/sub/second"}).Stat
	equal(t, "hard links: ino", b.Ino, a.Ino)
	equal(t, "hard links: nlink", [2]uint64{uint64(a.Nlink), uint64(b.Nlink)}, [2]uint64{2, 2})
	sparse := c.ok(question{Op: "stat", Path: at + "/sparse"}).Stat
	equal(t, "blocks of a sparse file", sparse.Blocks, (2<<20+100+511)/512)
	equal(t, "blocks of a small file", c.ok(question{Op: "stat", Path: at + "/small"}).Stat.Blocks, 1)
}

func TestHolesAreSeen(t *testing.T) {
	w := mustWorld(t, everything())
	_, at := w.mustMount(t, nil)
	c := mustClient(t)
	const seekData, seekHole = 3, 4
	size := int64(5<<20 + 100)
	for _, x := range []struct {
		off    int64
		whence int
		want   int64
		err    syscall.Errno
	}{
		{0, seekData, 0, 0}, {0, seekHole, 1 << 20, 0}, {1 << 20, seekData, 4 << 20, 0}, {2<<20 + 5, seekHole, 2<<20 + 5, 0},
		{4 << 20, seekHole, size, 0}, {size - 1, seekData, size - 1, 0}, {size, seekData, 0, unix.ENXIO}, {size, seekHole, 0, unix.ENXIO},
	} {
		r := c.do(question{Op: "seek", Path: at + "/sparse", Off: x.off, N: x.whence})
		if r.N != x.want && x.err == 0 || r.Errno != x.err {
			t.Errorf("seek %d whence %d: got %d %v, want %d %v", x.off, x.whence, r.N, r.Errno, x.want, x.err)
		}
	}
	equal(t, "seek to the end", c.ok(question{Op: "seek", Path: at + "/sparse", N: 2}).N, size)
}

func TestListsTooLongForTheEntryAreRead(t *testing.T) {
	// Every other MiB is a hole. Nobody reads the bytes, so there are none.
	frayed := &item{name: "frayed", mode: 0o644, size: 1200 << 20}
	for i := range int64(600) {
		frayed.holes = append(frayed.holes, merkle.Hole{Start: 2*i + 1, Count: 1})
	}
	w := mustWorld(t, dir("", frayed, file("plain", []byte("x"))))
	if w.items["frayed"].e.Holes.Out.Size == 0 {
		t.Fatal("the list of holes is inline")
	}
	_, at := w.mustMount(t, nil)
	c := mustClient(t)
	equal(t, "walked", c.ok(question{Op: "walk", Path: at}).N, 2)
	equal(t, "blocks", c.ok(question{Op: "stat", Path: at + "/frayed"}).Stat.Blocks, 600<<20/512)
	equal(t, "hole", c.ok(question{Op: "seek", Path: at + "/frayed", Off: 1000 << 20, N: 4}).N, 1001<<20)
}

func TestXattrs(t *testing.T) {
	w := mustWorld(t, everything())
	_, at := w.mustMount(t, nil)
	c := mustClient(t)
	get := func(path, name string) string {
		return string(c.ok(question{Op: "getxattr", Path: at + path, Name: name}).Data)
	}
	equal(t, "stored", get("/tagged", "user.colour"), "red")
	equal(t, "stored, empty", get("/tagged", "user.empty"), "")
	equal(t, "stored, long", get("/much-tagged", "user.long"), string(noise(9, 3000)))
	equal(t, "size asked first", c.ok(question{Op: "getxattr-size", Path: at + "/tagged", Name: "user.colour"}).N, 3)
	equal(t, "too little room", c.do(question{Op: "getxattr-short", Path: at + "/tagged", Name: "user.colour"}).Errno, unix.ERANGE)
	equal(t, "list", c.ok(question{Op: "listxattr", Path: at + "/tagged"}).Text, "user.colour\x00user.empty\x00")
	equal(t, "empty list", c.ok(question{Op: "listxattr", Path: at + "/small"}).Text, "")
	equal(t, "dataset", get("", "user.floe.dataset"), w.ID().String())
	equal(t, "root of a file", get("/large", "user.floe.root"), w.items["large"].e.Root.String())
	equal(t, "root of a directory", get("/sub", "user.floe.root"), w.items["sub"].e.Root.String())
	equal(t, "root of the top", get("", "user.floe.root"), w.items[""].e.Root.String())
	equal(t, "b3sum", get("/large", "user.floe.b3"), merkle.Blake3(w.items["large"].data).String())
	for name, want := range map[string]syscall.Errno{
		"user.none": unix.ENODATA, "user.": unix.EINVAL, "user.floe.none": unix.ENODATA, "user.floe.dataset": unix.ENODATA,
		"security.capability": unix.EOPNOTSUPP, "security.selinux": unix.EOPNOTSUPP, "system.posix_acl_access": unix.EOPNOTSUPP, "trusted.x": unix.EOPNOTSUPP,
	} {
		equal(t, name, c.do(question{Op: "getxattr", Path: at + "/small", Name: name}).Errno, want)
	}
}

func TestNothingCanBeWritten(t *testing.T) {
	w := mustWorld(t, everything())
	s, at := w.mustMount(t, nil)
	c := mustClient(t)
	for _, how := range []string{"open for writing", "truncate", "unlink", "mkdir", "rename", "chmod", "utimes", "setxattr", "symlink", "link"} {
		equal(t, how, c.do(question{Op: "write", Path: at + "/small", Name: how}).Errno, unix.EROFS)
	}
	equal(t, "create", c.do(question{Op: "write", Path: at + "/fresh", Name: "create"}).Errno, unix.EROFS)
	equal(t, "access for writing", c.do(question{Op: "access", Path: at + "/small", N: unix.W_OK}).Errno, unix.EROFS)
	for op := range s.Stats().Requests {
		switch op {
		case "init", "lookup", "getattr", "open", "getxattr":
		default:
			t.Errorf("a write got as far as a request: %s", op)
		}
	}
}

func TestStatfsShowsTotals(t *testing.T) {
	w := mustWorld(t, everything())
	_, at := w.mustMount(t, nil)
	st := mustClient(t).ok(question{Op: "statfs", Path: at}).Statfs
	equal(t, "files", st.Files, w.Root().Entries+1)
	equal(t, "blocks", st.Blocks, (w.Root().Bytes+statfsBlock-1)/statfsBlock)
	equal(t, "free", st.Bfree, 0)
	equal(t, "name length", st.Namelen, 255)
	equal(t, "read-only", st.Flags&unix.ST_RDONLY, unix.ST_RDONLY)
}

func TestASecondLookCostsNoRequest(t *testing.T) {
	w := mustWorld(t, everything())
	s, at := w.mustMount(t, nil)
	c := mustClient(t)
	look := func() {
		c.ok(question{Op: "walk", Path: at})
		c.ok(question{Op: "readlink", Path: at + "/to-large"})
		for path, it := range w.items {
			if !it.dir && it.target == "" {
				c.ok(question{Op: "cat", Path: at + "/" + path})
			}
		}
		equal(t, "absent", c.do(question{Op: "stat", Path: at + "/sub/absent"}).Errno, unix.ENOENT)
	}
	look()
	look() // the kernel fills its directory cache the first time it reads one from the start
	before := s.Stats().Requests
	look()
	for op, n := range s.Stats().Requests {
		if n != before[op] {
			t.Errorf("%d more %s requests", n-before[op], op)
		}
	}
	equal(t, "opens", before["open"], 1)
	equal(t, "opendirs", before["opendir"], 1)
	equal(t, "flushes", before["flush"], 1)
}

func TestMountSeesAndNamesItself(t *testing.T) {
	w := mustWorld(t, everything())
	s, at := w.mustMount(t, nil)
	all, err := Mounts()
	must(t, err)
	found := false
	for _, m := range all {
		if m.Dir == at {
			found = true
			equal(t, "source", m.Source, "floe#"+w.ID().String()[:8])
		}
	}
	equal(t, "listed", found, true)
	equal(t, "dir", s.Dir(), at)
	if _, err := Mount(t.Context(), at, w.Dataset, nil); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("mounting twice: %v", err)
	}
	for _, bad := range []string{at + "-missing", "/proc/self/exe"} {
		if _, err := Mount(t.Context(), bad, w.Dataset, nil); err == nil {
			t.Errorf("mounted on %s", bad)
		} else {
			t.Log(err)
		}
	}
}

func TestUnmountNamesWhoHoldsTheMount(t *testing.T) {
	w := mustWorld(t, everything())
	s, at := w.mustMount(t, nil)
	for _, x := range []struct{ op, how string }{{"chdir", "cwd"}, {"open", "fd "}, {"keepmapped", "mapped"}} {
		c := mustClient(t)
		path := at + "/large"
		if x.op == "chdir" {
			path = at + "/sub"
		}
		c.ok(question{Op: x.op, Path: path})
		err := s.Unmount(false)
		busy, ok := err.(*BusyError)
		if !ok {
			t.Fatalf("%s: unmounting gives %v", x.op, err)
		}
		t.Log(err)
		if len(busy.Holders) != 1 || busy.Holders[0].PID != c.cmd.Process.Pid || !strings.HasPrefix(busy.Holders[0].How, x.how) || busy.Holders[0].Path != path {
			t.Errorf("%s: holders %v", x.op, busy.Holders)
		}
		c.in.Close()
		<-c.done
	}
	c := mustClient(t)
	c.ok(question{Op: "chdir", Path: at})
	must(t, s.Unmount(true))
	if _, err := os.Stat(at + "/small"); !os.IsNotExist(err) {
		t.Errorf("after a lazy unmount: %v", err)
	}
	c.ok(question{Op: "stat", Path: "small"}) // whoever was there still is
	c.in.Close()
	must(t, s.Wait())
}

func TestMountingOftenLeavesNothingBehind(t *testing.T) {
	needFUSE(t)
	w := mustWorld(t, everything())
	at := t.TempDir()
	c := mustClient(t)
	var goroutines, fds int
	for i := range 60 {
		s, err := Mount(t.Context(), at, w.Dataset, nil)
		must(t, err)
		c.ok(question{Op: "cat", Path: at + "/large"})
		if i%2 == 0 {
			must(t, s.Unmount(false))
		} else {
			must(t, Unmount(at, false))
			must(t, s.Wait())
		}
		must(t, s.Unmount(false)) // once more does no harm
		if i == 10 {
			goroutines, fds = runtime.NumGoroutine(), countFDs(t)
		}
	}
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	equal(t, "descriptors", countFDs(t), fds)
	if _, ok := topMount(at); ok {
		t.Error("something is still mounted")
	}
}

func countFDs(t *testing.T) int {
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

func TestMountinfoIsParsed(t *testing.T) {
	for line, want := range map[string]MountPoint{
		`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`: {"/mnt2", "/dev/root", "ext3", "98:0", 36},
		`1 2 0:51 / /a\040b\134c\011 ro shared:1 master:2 - fuse.floe floe#-abc ro`:      {"/a b\\c\t", "floe#-abc", "fuse.floe", "0:51", 1},
		`7 2 0:5 / / rw - tmpfs none`: {"/", "none", "tmpfs", "0:5", 7},
	} {
		got, ok := parseMount(line)
		equal(t, line, ok, true)
		equal(t, line, got, want)
	}
	for _, bad := range []string{"", "36 35 98:0 /a /b rw", "36 35 98:0 - ext3 x", "x 35 98:0 / /b rw - ext3 x rw"} {
		if m, ok := parseMount(bad); ok {
			t.Errorf("%q: parsed as %+v", bad, m)
		}
	}
}

func TestAnyDirectoryNameCanBeMountedOn(t *testing.T) {
	needFUSE(t)
	w := mustWorld(t, everything())
	base := t.TempDir()
	must(t, os.Mkdir(base+"/real", 0o755))
	must(t, os.Symlink("real", base+"/link"))
	for _, name := range []string{"with space", "back\\slash", "tab\tand\nnewline", "comma,equals=#", "-dash", "link", "ünï \xff"} {
		at := base + "/" + name
		if name != "link" {
			must(t, os.Mkdir(at, 0o755))
		}
		s, err := Mount(t.Context(), at, w.Dataset, &Options{Extra: []string{"noexec,nosymfollow"}})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		c := mustClient(t)
		equal(t, name, string(c.ok(question{Op: "cat", Path: at + "/small"}).Data), "hello\n")
		const nosymfollow = 0x2000 // ST_NOSYMFOLLOW
		equal(t, name+": flags", c.ok(question{Op: "statfs", Path: at}).Statfs.Flags&(unix.ST_NOEXEC|unix.ST_NOSUID|unix.ST_NODEV|nosymfollow), unix.ST_NOEXEC|unix.ST_NOSUID|unix.ST_NODEV|nosymfollow)
		if err := Unmount(at, false); err != nil {
			t.Errorf("%q: %v", name, err)
			s.Unmount(true)
		}
	}
	if _, err := Mount(t.Context(), base, w.Dataset, &Options{Extra: []string{"nonsense=1"}}); err == nil || !strings.Contains(err.Error(), "nonsense=1") {
		t.Errorf("a nonsensical option: %v", err)
	}
}
