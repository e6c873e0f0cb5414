package publish

import (
	"fmt"
	"path"
	"strings"
)

// A Matcher decides which names are left out.
//
// A pattern is one of package path: * stands for any bytes but a slash, ? for
// one, [a-z] for one of a set, and a backslash takes the next literally. A
// pattern without a slash is compared with the last element of a path, at any
// depth: *.tmp, .git. One with a slash is compared with the whole path from
// the published directory: logs/*.txt, or /logs for the one at the top. A
// slash at the end restricts a pattern to directories. A directory that
// matches is left out with all it holds. A * never crosses a slash, and
// nothing takes a name back in.
type Matcher struct {
	names, paths []pattern
}

type pattern struct {
	glob    string
	dirOnly bool
}

// NewMatcher returns the Matcher of some patterns.
func NewMatcher(patterns []string) (*Matcher, error) {
	m := &Matcher{}
	for _, s := range patterns {
		var p pattern
		p.glob, p.dirOnly = strings.CutSuffix(s, "/")
		whole := strings.Contains(p.glob, "/")
		p.glob = strings.TrimPrefix(p.glob, "/")
		if p.glob == "" {
			return nil, fmt.Errorf("exclude pattern %q is empty", s)
		}
		if _, err := path.Match(p.glob, ""); err != nil {
			return nil, fmt.Errorf("exclude pattern %q: %w", s, err)
		}
		if whole {
			m.paths = append(m.paths, p)
		} else {
			m.names = append(m.names, p)
		}
	}
	return m, nil
}

// Match reports whether the entry of that name is left out; where returns its
// path, and is called only if a pattern asks for it.
func (m *Matcher) Match(name string, isDir bool, where func() string) bool {
	if matches(m.names, name, isDir) {
		return true
	}
	return len(m.paths) > 0 && matches(m.paths, where(), isDir)
}

func matches(patterns []pattern, s string, isDir bool) bool {
	for _, p := range patterns {
		if p.dirOnly && !isDir {
			continue
		}
		if ok, _ := path.Match(p.glob, s); ok {
			return true
		}
	}
	return false
}
