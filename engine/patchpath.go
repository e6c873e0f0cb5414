package engine

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
)

const (
	maxPatchPath  = 4095 // bytes, as PATH_MAX allows
	maxPatchParts = 64   // of a path: an identifier must not make thousands of directories
)

// patchPaths returns where in the tree of a quilt its patches are: see
// Blob.Dataset. No two are at one place, and none is where another has a
// directory.
func patchPaths(patches []walrus.Patch) []string {
	legal := make(map[string]bool)
	for _, x := range patches {
		if isPath(x.Identifier) {
			legal[x.Identifier] = true
		}
	}
	paths, taken := make([]string, len(patches)), make(map[string]bool) // names in the top directory
	for i, x := range patches {
		if legal[x.Identifier] && !below(x.Identifier, legal) {
			paths[i] = x.Identifier
			name, _, _ := strings.Cut(x.Identifier, "/")
			taken[name] = true
		}
	}
	for i, x := range patches {
		if paths[i] != "" {
			continue
		}
		escaped := escapeIdentifier(x.Identifier)
		name := escaped
		for try := 0; len(name) > catalog.MaxName || name == "" || taken[name]; try++ {
			suffix := fmt.Sprintf("~%d", x.Start)
			if try > 0 {
				suffix += fmt.Sprintf("~%d", try)
			}
			name = cut(escaped, catalog.MaxName-len(suffix)) + suffix
		}
		paths[i], taken[name] = name, true
	}
	return paths
}

// isPath reports whether a file can be called s.
func isPath(s string) bool {
	if len(s) > maxPatchPath || strings.Count(s, "/") >= maxPatchParts || strings.Contains(s, "\x00") {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." || len(part) > catalog.MaxName {
			return false
		}
	}
	return true
}

// below reports whether one of the directories of a path is one of patches.
func below(path string, patches map[string]bool) bool {
	for i, c := range path {
		if c == '/' && patches[path[:i]] {
			return true
		}
	}
	return false
}

var escaper = strings.NewReplacer("%", "%25", "/", "%2F", "\x00", "%00")

// escapeIdentifier makes a name of an identifier, another one for each.
func escapeIdentifier(s string) string {
	s = escaper.Replace(s)
	if s == "." || s == ".." {
		return "%2E" + s[1:]
	}
	return s
}

// cut returns at most n bytes from the front of s, whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
