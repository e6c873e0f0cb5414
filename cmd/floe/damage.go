package main

import (
	"fmt"
	"strings"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/walrus"
)

// A damageJSON is one thing that is damaged: a path or a blob on a node.
type damageJSON struct {
	Path    *string `json:"path,omitempty"`
	PathB64 []byte  `json:"path_b64,omitempty"`

	Blob         string   `json:"blob,omitempty"`
	Node         string   `json:"node,omitempty"`
	Missing      []string `json:"missing,omitempty"` // slivers, as p3: primary, s3: secondary
	False        []string `json:"false,omitempty"`   // slivers
	MetadataGood *int     `json:"metadata_good,omitempty"`
	MetadataOf   int      `json:"metadata_of,omitempty"`
	Lost         bool     `json:"lost,omitempty"`

	Error string `json:"error,omitempty"`
}

func damageOf(id walrus.BlobID, r blob.Report, lost bool) damageJSON {
	return damageJSON{
		Blob: id.String(), Node: r.Member, Missing: sliverNames(r.Missing), False: sliverNames(r.False),
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

// sliverNames returns what a store in a directory calls slivers: p3, s3.
func sliverNames(slivers []walrus.SliverID) []string {
	var names []string
	for _, at := range slivers {
		names = append(names, fmt.Sprintf("%.1s%d", at.Axis, at.Index))
	}
	return names
}

// firstFew lists slivers, the first ten.
func firstFew(slivers []walrus.SliverID) string {
	names := sliverNames(slivers)
	if len(names) > 10 {
		names = append(names[:10], "…")
	}
	return strings.Join(names, " ")
}
