package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
)

// progressLine says how far a put has come.
func progressLine(at publish.Progress, began time.Time) string {
	line := string(at.Step)
	switch at.Step {
	case publish.Walking:
		line += fmt.Sprintf(": %s, %s", count(at.Entries, "entry", "entries"), humanBytes(at.Bytes))
	case publish.Reading:
		percent := 100.0
		if at.Bytes > 0 {
			percent = 100 * float64(at.BytesRead) / float64(at.Bytes)
		}
		line += fmt.Sprintf(" %3.0f %%: %s of %s files, %s of %s, %s", percent, grouped(at.FilesRead), grouped(at.Files),
			humanBytes(at.BytesRead), humanBytes(at.Bytes), rate(int64(at.BytesRead), began))
	}
	if at.Path != "" {
		line += "  " + at.Path
	}
	return line
}

// summarize says what was put, and what was left out: how much of each kind,
// and the first few.
func (p *putter) summarize(show *progress, to *place, res publish.Result, began time.Time) {
	n := res.Notices
	told := make(map[publish.Kind]int)
	for _, notice := range n.List {
		kind := notice.Kind
		told[kind]++
		switch of := n.Counts[kind]; {
		case told[kind] <= 3:
			show.say("floe: %s %s", verb(kind), notice)
		case told[kind] == 4:
			show.say("floe: %s %s more: %s", verb(kind), grouped(of-3), kind)
		}
	}
	reused := ""
	if res.BlobsReused > 0 || res.BlobsBase > 0 {
		reused = fmt.Sprintf("; %s were there already", count(res.BlobsReused+res.BlobsBase, "blob", "blobs"))
	}
	show.say("put %s, %s and %s with %s in %s, %s%s", count(res.Files, "file", "files"), count(res.Dirs, "directory", "directories"),
		count(res.Symlinks, "symlink", "symlinks"), humanBytes(res.Bytes), time.Since(began).Round(10*time.Millisecond), rate(int64(res.Bytes), began), reused)
	switch {
	case to.through != nil:
		to.through.tell(show, res)
	case p.name != "":
		show.say("floe mount %s DIR mounts it", p.name)
	case to.store == nil:
		show.say("floe mount --from %s %s DIR mounts it; no list of it is kept there, so keep the id", shellQuote(p.to), res.ID)
	case p.to != "":
		show.say("floe mount --from %s %s DIR mounts it", shellQuote(p.to), res.ID)
	default:
		show.say("floe mount %s DIR mounts it", res.ID)
	}
}

// tellFailed names the nodes of a committee that could not be written to. What
// they lack the others make up for, and repair brings.
func tellFailed(show *progress, to *place, nodes []blob.NodeStats, id walrus.BlobID) {
	for i, n := range nodes {
		if n.Errors > 0 {
			show.say("floe: node %s failed: %s: when it is back, type floe repair --from %s %s", to.members[i], reason(n.LastError), shellQuote(to.url), id)
		}
	}
}

// verb says what was done to what a notice of a kind is about.
func verb(kind publish.Kind) string {
	switch kind {
	case publish.Special, publish.XattrsLost, publish.TimeMoved:
		return "changed"
	}
	return "left out"
}

// A putJSON is the answer of put --json.
type putJSON struct {
	Dataset       string  `json:"dataset"`
	Name          string  `json:"name,omitempty"`
	Store         string  `json:"store"`
	Files         uint64  `json:"files"`
	Directories   uint64  `json:"directories"`
	Symlinks      uint64  `json:"symlinks"`
	Bytes         uint64  `json:"bytes"`
	FilesReused   uint64  `json:"files_reused"`
	Blobs         int64   `json:"blobs"`
	BlobsFromBase int64   `json:"blobs_from_base"`
	BlobsReused   int64   `json:"blobs_reused"`
	BytesEncoded  int64   `json:"bytes_encoded"`
	Shards        int     `json:"shards"`
	BlobSize      int64   `json:"blob_size"`
	Seconds       float64 `json:"seconds"`
	certified
	throughJSON
	LeftOut map[publish.Kind]uint64 `json:"left_out,omitempty"`
	Notices []noticeJSON            `json:"notices,omitempty"`
}

type noticeJSON struct {
	Kind    publish.Kind `json:"kind"`
	Path    *string      `json:"path,omitempty"`
	PathB64 []byte       `json:"path_b64,omitempty"`
	Detail  string       `json:"detail,omitempty"`
}

func (p *putter) answer(e *env, to *place, res publish.Result, cert certified, began time.Time) error {
	out := e.printer(p.json)
	if !p.json {
		fmt.Fprintln(out, res.ID)
		return out.Flush()
	}
	j := putJSON{
		Dataset: res.ID.String(), Name: p.name, Store: to.url,
		Files: res.Files, Directories: res.Dirs, Symlinks: res.Symlinks, Bytes: res.Bytes, FilesReused: res.FilesReused,
		Blobs: res.Blobs, BlobsFromBase: res.BlobsBase, BlobsReused: res.BlobsReused, BytesEncoded: res.Stored,
		Shards: res.Header.Shards, BlobSize: res.Header.BlobSize,
		Seconds: time.Since(began).Seconds(), certified: cert, throughJSON: to.through.json(), LeftOut: res.Notices.Counts,
	}
	for _, n := range res.Notices.List {
		nj := noticeJSON{Kind: n.Kind, Detail: strings.ToValidUTF8(n.Detail, "\ufffd")}
		nj.Path, nj.PathB64 = jsonName(n.Path)
		j.Notices = append(j.Notices, nj)
	}
	return errors.Join(out.object(j), out.Flush())
}
