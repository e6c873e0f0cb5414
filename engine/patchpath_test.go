package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/walrus"
)

func TestWherePatchesAre(t *testing.T) {
	long, ä := strings.Repeat("x", 300), strings.Repeat("ä", 200)
	for _, c := range []struct{ identifiers, want []string }{
		{[]string{"a", "b/c", "b/d e", "ü", ".hidden", "-"}, []string{"a", "b/c", "b/d e", "ü", ".hidden", "-"}},
		{[]string{"a/b", "a"}, []string{"a%2Fb", "a"}},
		{[]string{"a", "a/b", "a/b/c"}, []string{"a", "a%2Fb", "a%2Fb%2Fc"}},
		{[]string{"a", "a/b", "a%2Fb"}, []string{"a", "a%2Fb~1", "a%2Fb"}},
		{[]string{"a//b", "a%2F%2Fb", "a%2F%2Fb~0", "a%2F%2Fb~0~1"}, []string{"a%2F%2Fb~0~2", "a%2F%2Fb", "a%2F%2Fb~0", "a%2F%2Fb~0~1"}},
		{[]string{"../x", "/etc/passwd", "x/..", ".", "..", "x/"}, []string{"..%2Fx", "%2Fetc%2Fpasswd", "x%2F..", "%2E", "%2E.", "x%2F"}},
		{[]string{"", "~0"}, []string{"~0~1", "~0"}},
		{[]string{"a\x00b", "a%00b", "50%/"}, []string{"a%00b~0", "a%00b", "50%25%2F"}},
		{[]string{long, long + "y", "d/" + long}, []string{long[:253] + "~0", long[:253] + "~1", "d%2F" + long[:249] + "~2"}},
		{[]string{ä}, []string{ä[:252] + "~0"}},
		{[]string{strings.Repeat("d/", 63) + "f", strings.Repeat("d/", 64) + "f"}, []string{strings.Repeat("d/", 63) + "f", strings.Repeat("d%2F", 64)[:253] + "~1"}},
		{[]string{"b/c", "b//d", "b%2F%2Fd/e"}, []string{"b/c", "b%2F%2Fd~1", "b%2F%2Fd/e"}},
	} {
		var patches []walrus.Patch
		for i, s := range c.identifiers {
			patches = append(patches, walrus.Patch{Identifier: s, Start: i, End: i + 1})
		}
		got := patchPaths(patches)
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%.40q of %.80q is at %q, want %q", c.identifiers[i], c.identifiers, got[i], c.want[i])
			}
		}
		checkPaths(t, patches)
	}
}

// checkPaths checks that files can be at these places, all of them at once.
func checkPaths(t *testing.T, patches []walrus.Patch) {
	t.Helper()
	files, dirs := make(map[string]bool), make(map[string]bool)
	for i, p := range patchPaths(patches) {
		if !isPath(p) || files[p] {
			t.Errorf("patch %q is at %q", patches[i].Identifier, p)
		}
		files[p] = true
		for j, c := range p {
			if c == '/' {
				dirs[p[:j]] = true
			}
		}
	}
	for d := range dirs {
		if files[d] {
			t.Errorf("%q is a file and a directory", d)
		}
	}
}

func FuzzPatchPaths(f *testing.F) {
	f.Add("a\na/b\na%2Fb")
	f.Add("a//b\n../x\n.\n..\n\n~0")
	f.Fuzz(func(t *testing.T, s string) {
		var patches []walrus.Patch
		seen := make(map[string]bool)
		for i, identifier := range strings.Split(s, "\n") {
			if !seen[identifier] {
				patches = append(patches, walrus.Patch{Identifier: identifier, Start: i % 7, End: i + 1})
			}
			seen[identifier] = true
		}
		checkPaths(t, patches)
	})
}

func TestTagsThatTheKernelCannotCarryAreLeftOut(t *testing.T) {
	x := walrus.Patch{Identifier: "p", Tags: map[string]string{"a": "b", strings.Repeat("k", 240): "", "nul\x00": "", "v": strings.Repeat("v", 65535)}}
	for i := range 500 {
		x.Tags[fmt.Sprintf("%0200d", i)] = "x"
	}
	names := make(map[string]bool)
	length := 0
	for _, a := range patchXattrs(walrus.BlobID{}, x) {
		names[a.Name] = true
		length += len(a.Name) + 1
		if len(a.Name) > 255 || strings.Contains(a.Name, "\x00") {
			t.Errorf("attribute %q", a.Name)
		}
	}
	if length > 64<<10 || length < 60<<10 || !names[xattrIdentifier] || !names[xattrPatch] {
		t.Errorf("%d bytes of names", length)
	}
}
