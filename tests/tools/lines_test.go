package tools

import (
	"slices"
	"strings"
	"testing"

	"github.com/floefs/floe/tests/compare"
)

// sorted splits text into lines and sorts them.
func sorted(text, end string) []string {
	lines := strings.Split(strings.TrimSuffix(text, end), end)
	slices.Sort(lines)
	return lines
}

// sameLines compares sorted lines and shows the first few that differ.
func sameLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	shown := 0
	for len(got) > 0 || len(want) > 0 {
		switch {
		case len(want) == 0 || len(got) > 0 && got[0] < want[0]:
			t.Errorf("%s: not expected: %q", what, got[0])
			got = got[1:]
		case len(got) == 0 || want[0] < got[0]:
			t.Errorf("%s: missing: %q", what, want[0])
			want = want[1:]
		default:
			got, want = got[1:], want[1:]
			continue
		}
		if shown++; shown == 10 {
			t.Fatalf("%s: and perhaps more", what)
		}
	}
}

// sameTrees compares every byte and attribute of two trees.
func sameTrees(t *testing.T, want, got string) {
	t.Helper()
	r, err := compare.Trees(want, got)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range r.Differences[:min(10, len(r.Differences))] {
		t.Error(d)
	}
	if r.Files < 500 {
		t.Errorf("only %d files compared", r.Files)
	}
	t.Logf("%d files, %d directories, %d symlinks, %d bytes, %d differences", r.Files, r.Dirs, r.Symlinks, r.Bytes, len(r.Differences))
}
