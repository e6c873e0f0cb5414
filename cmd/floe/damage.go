package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

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

// A damage is what is wrong with a blob on one node.
type damage struct {
	id   walrus.BlobID
	on   member
	r    blob.Report
	lost bool   // what is wrong cannot be restored
	why  string // what the node said last; "" if it failed in nothing
}

// damage returns what a report says of node i.
func (rd *reader) damage(id walrus.BlobID, i int, r blob.Report) damage {
	d := damage{id: id, on: rd.nodes[i], r: r}
	if n := rd.blobs.Nodes()[i]; len(r.Missing) > 0 && n.Errors > 0 && n.LastErrorAge < time.Minute {
		d.why = reason(n.LastError)
	}
	return d
}

// silent reports whether the node gave nothing at all, and why is known.
func (d damage) silent() bool { return d.why != "" && len(d.r.Missing) == d.r.Slivers }

var asked = regexp.MustCompile(`^.* of blob [A-Za-z0-9_-]{43}(?: at [0-9]+)?: `)

// reason returns the error of a node without what it was asked for.
func reason(err string) string { return asked.ReplaceAllString(err, "") }

func (d damage) json() damageJSON {
	return damageJSON{
		Blob: d.id.String(), Node: d.r.Member, Missing: sliverNames(d.r.Missing), False: sliverNames(d.r.False),
		MetadataGood: &d.r.Metadata.Good, MetadataOf: d.r.Metadata.Of, Lost: d.lost, Error: d.why,
	}
}

func (d damage) String() string {
	r := d.r
	line := fmt.Sprintf("blob %s on %s:", d.id, d.on)
	sep := " "
	add := func(format string, a ...any) {
		line += sep + fmt.Sprintf(format, a...)
		sep = ", "
	}
	if len(r.Missing) > 0 && !d.silent() {
		add("%s missing (%s)", count(len(r.Missing), "sliver", "slivers"), firstFew(r.Missing))
	}
	if len(r.False) > 0 {
		add("%s false (%s)", count(len(r.False), "sliver", "slivers"), firstFew(r.False))
	}
	if bad := r.Metadata.Of - r.Metadata.Good; bad > 0 && !d.silent() {
		add("%d of %s of its metadata bad", bad, count(r.Metadata.Of, "copy", "copies"))
	}
	switch {
	case d.silent():
		add("none of its %s can be had: %s", count(r.Slivers, "sliver", "slivers"), d.why)
	case d.why != "":
		line += ": " + d.why
	}
	switch {
	case d.on.shards != nil && d.lost:
		return line + "; the others have too few: it cannot be restored"
	case d.on.shards != nil:
		return line + "; the others have enough to restore it"
	case d.lost:
		return line + fmt.Sprintf("; %d more than can be lost: it cannot be restored from here", r.Bad()-r.Tolerate)
	}
	return line + fmt.Sprintf("; %s may be lost, so it can be read and restored", count(r.Tolerate, "sliver", "slivers"))
}

// enough reports whether the good slivers on all members together restore a
// blob: those of one axis do, if there are as many as it needs.
func enough(members []member, reports []blob.Report, id walrus.BlobID, params walrus.Params) bool {
	good := [2][]bool{make([]bool, params.N), make([]bool, params.N)} // by axis and index
	for i, r := range reports {
		bad := make(map[walrus.SliverID]bool, r.Bad())
		for _, at := range slices.Concat(r.Missing, r.False) {
			bad[at] = true
		}
		for _, at := range members[i].Slivers(id, params) {
			if !bad[at] {
				good[at.Axis][at.Index] = true
			}
		}
	}
	for axis, all := range good {
		n := 0
		for _, ok := range all {
			if ok {
				n++
			}
		}
		if n >= params.Needed(walrus.Axis(axis)) {
			return true
		}
	}
	return false
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
