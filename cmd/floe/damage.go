package main

import (
	"fmt"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/walrus"
)

// A damageJSON is one thing that is damaged: a path or a blob on a node.
type damageJSON struct {
	Path    *string `json:"path,omitempty"`
	PathB64 []byte  `json:"path_b64,omitempty"`

	Blob         string `json:"blob,omitempty"`
	Node         string `json:"node,omitempty"`
	Missing      []int  `json:"missing,omitempty"` // slivers
	False        []int  `json:"false,omitempty"`   // slivers
	MetadataGood *int   `json:"metadata_good,omitempty"`
	MetadataOf   int    `json:"metadata_of,omitempty"`
	Lost         bool   `json:"lost,omitempty"`

	Error string `json:"error,omitempty"`
}

func damageOf(id walrus.BlobID, r blob.Report, lost bool) damageJSON {
	return damageJSON{
		Blob: id.String(), Node: r.Member, Missing: r.Missing, False: r.False,
		MetadataGood: &r.Metadata.Good, MetadataOf: r.Metadata.Of, Lost: lost,
	}
}

func damageLine(id walrus.BlobID, r blob.Report, lost bool) string {
	line := fmt.Sprintf("blob %s in %s:", id, r.Member)
	sep := " "
	add := func(format string, a ...any) {
		line += sep + fmt.Sprintf(format, a...)
		sep = ", "
	}
	if len(r.Missing) > 0 {
		add("%s missing (%s)", count(len(r.Missing), "sliver", "slivers"), firstFew(r.Missing))
	}
	if len(r.False) > 0 {
		add("%s false (%s)", count(len(r.False), "sliver", "slivers"), firstFew(r.False))
	}
	if bad := r.Metadata.Of - r.Metadata.Good; bad > 0 {
		add("%d of %s of its metadata bad", bad, count(r.Metadata.Of, "copy", "copies"))
	}
	if lost {
		return line + fmt.Sprintf("; %d more than can be lost: it cannot be restored from here", r.Bad()-r.Tolerate)
	}
	return line + fmt.Sprintf("; %s may be lost, so it can be read and restored", count(r.Tolerate, "sliver", "slivers"))
}

// firstFew lists numbers, the first ten.
func firstFew(n []int) string {
	s := ""
	for i, x := range n {
		if i == 10 {
			return s + " …"
		}
		if i > 0 {
			s += " "
		}
		s += fmt.Sprint(x)
	}
	return s
}
