package tools

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func findAgrees(t *testing.T, g *ground) {
	// Sizes and link counts of directories are the file system's own affair.
	files := g.sameOutput(t, "\x00", "find", ".", "!", "-type", "d", "-printf", `%y %m %s %T@ %n %l %P\0`)
	t.Logf("%d files and symlinks", len(files))
	g.sameOutput(t, "\x00", "find", ".", "-type", "d", "-printf", `%m %T@ %P\0`)
	for _, args := range [][]string{
		{"-empty"}, {"-type", "f", "-size", "+1000c"}, {"-perm", "400"}, {"-newermt", "2000-01-01"}, {"!", "-newermt", "2000-01-01"}, {"-samefile", "also-linked"},
		{"-type", "f", "-links", "3"}, {"-lname", "16*"}, {"-xtype", "l"}, {"-depth", "-name", "*_test.go"}, {"-follow", "-name", "4*"}, {"-regex", ".*/[0-9]+"},
	} {
		want := sorted(output(t, g.source, "find", append([]string{"."}, append(args, "-print0")...)...), "\x00")
		got := sorted(output(t, g.mount, "find", append([]string{"."}, append(args, "-print0")...)...), "\x00")
		if len(want) == 1 && want[0] == "" {
			t.Errorf("find %q finds nothing", args)
		}
		sameLines(t, fmt.Sprintf("find %q", args), got, want)
	}
}

// usage runs du on every file and returns what it says of each.
func usage(t *testing.T, dir string, args ...string) map[string]int64 {
	t.Helper()
	list := filepath.Join(t.TempDir(), "files")
	must(t, os.WriteFile(list, []byte(output(t, dir, "find", ".", "-type", "f", "-print0")), 0o600))
	all := map[string]int64{}
	for _, line := range sorted(output(t, dir, "du", append(args, "-0", "-l", "--files0-from="+list)...), "\x00") {
		size, path, _ := strings.Cut(line, "\t")
		n, err := strconv.ParseInt(size, 10, 64)
		must(t, err)
		all[path] = n
	}
	return all
}

func duAgrees(t *testing.T, g *ground) {
	want, got := usage(t, g.source, "--apparent-size", "-B1"), usage(t, g.mount, "--apparent-size", "-B1")
	if len(want) < 500 || len(got) != len(want) {
		t.Errorf("du counts %d files, want %d", len(got), len(want))
	}
	for path, n := range want {
		if got[path] != n {
			t.Errorf("%q: %d apparent bytes, want %d", path, got[path], n)
		}
	}
	// The source gives space in blocks of 4 KiB, xattrs and lists of extents
	// included; a dataset counts bytes.
	want, got = usage(t, g.source, "-B1"), usage(t, g.mount, "-B1")
	for path, n := range want {
		if least := (got[path] + 4095) / 4096 * 4096; n < least || n > least+8192 {
			t.Errorf("%q: %d bytes on disk, the source takes %d", path, got[path], n)
		}
	}
	if got["./data/sparse"] != 1<<20 {
		t.Errorf("the sparse file takes %d bytes, want 1 MiB", got["./data/sparse"])
	}
}

func grepAgrees(t *testing.T, g *ground) {
	g.sameOutput(t, "\n", "grep", "-rn", "ErrClosed", ".")
	g.sameOutput(t, "\n", "grep", "-rc", "--include=*.go", "func", "text")
	g.sameOutput(t, "\n", "grep", "-rlE", "Close\\(\\) (error|\\(err)", ".")
}

// hashes is what a notebook would do: walk, map, hash.
const hashes = `
import hashlib, mmap, os, stat, sys
for top, dirs, files in os.walk(b"."):
    for name in sorted(dirs + files):
        path = os.path.join(top, name)
        st = os.lstat(path)
        line = b"%s %o %d" % (path.hex().encode(), st.st_mode, st.st_mtime_ns)
        if stat.S_ISLNK(st.st_mode):
            line += b" " + os.readlink(path).hex().encode()
        elif stat.S_ISREG(st.st_mode):
            line += b" %d %d" % (st.st_size, st.st_nlink)
            with open(path, "rb") as f:
                h = hashlib.sha256()
                if st.st_size > 0:
                    with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
                        h.update(m)
                assert hashlib.sha256(f.read()).digest() == h.digest(), path
                line += b" " + h.hexdigest().encode()
        sys.stdout.buffer.write(line + b"\n")
`

func pythonAgrees(t *testing.T, g *ground) {
	g.sameOutput(t, "\n", "python3", "-c", hashes)
}

func b3sumAgrees(t *testing.T, g *ground) {
	files := strings.Split(strings.TrimSuffix(output(t, g.mount, "find", ".", "-type", "f", "-print0"), "\x00"), "\x00")
	for at := 0; at < len(files); at += 500 {
		some := files[at:min(len(files), at+500)]
		sums := strings.Fields(output(t, g.mount, "b3sum", append([]string{"--no-names", "--"}, some...)...))
		if len(sums) != len(some) {
			t.Fatalf("b3sum prints %d sums of %d files", len(sums), len(some))
		}
		buf := make([]byte, 100)
		for i, f := range some {
			n, err := unix.Getxattr(filepath.Join(g.mount, f), "user.floe.b3", buf)
			if err != nil || !bytes.Equal(buf[:n], []byte(sums[i])) {
				t.Errorf("%q: b3sum %s, user.floe.b3 %q (%v)", f, sums[i], buf[:max(n, 0)], err)
			}
		}
	}
	t.Logf("%d files", len(files))
}
