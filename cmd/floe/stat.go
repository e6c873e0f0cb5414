package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
)

var statCommand = command{
	name:     "stat",
	group:    "read",
	brief:    "show all there is to know about a file of a dataset",
	complete: "dataset",
	help: `Usage: floe stat [--json] ID|NAME[/PATH]|walrus:ID[/PATH]...

  floe stat flowers                     the dataset: files, bytes, shards, blobs
  floe stat flowers/train/rose.jpg      a file: size, times, hashes, attributes
  floe stat walrus:BLOBID/a.jpg         a patch of a quilt: its name and tags

b3 is the BLAKE3 hash of the file, what b3sum prints; it is what the publisher
says until floe verify --deep has compared it. root is the hash its bytes are
proven against.
`,
	new: func(f *flags) action {
		s := &statter{}
		jsonFlag(f, &s.json)
		s.sources.flags(f)
		return s.run
	},
}

type statter struct {
	sources
	json bool
}

// A statJSON is an entry with all there is to know about it.
type statJSON struct {
	Dataset string `json:"dataset"`
	entryJSON
	Xattrs []xattrJSON `json:"xattrs,omitempty"`

	// Of the top directory:
	Shards    int   `json:"shards,omitempty"`
	Blobs     int64 `json:"blobs,omitempty"`
	BlobBytes int64 `json:"blob_bytes,omitempty"`
}

type xattrJSON struct {
	Name     *string `json:"name,omitempty"`
	NameB64  []byte  `json:"name_b64,omitempty"`
	Value    *string `json:"value,omitempty"`
	ValueB64 []byte  `json:"value_b64,omitempty"`
}

func (s *statter) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe stat needs a dataset, or a place in one: floe stat NAME/PATH")
	}
	p := e.printer(s.json)
	err := s.each(ctx, e, args, func(o *opened) error {
		xattrs, err := o.Xattrs(ctx, o.entry)
		if err != nil {
			return o.rd.advise(err, o.subject)
		}
		if s.json {
			return p.object(statObject(o, xattrs))
		}
		writeStat(p, o, xattrs)
		if len(args) > 1 {
			fmt.Fprintln(p)
		}
		return nil
	})
	return errors.Join(err, p.Flush())
}

func statObject(o *opened, xattrs []catalog.Xattr) statJSON {
	j := statJSON{Dataset: o.address(), entryJSON: toJSON(o.path, o.entry)}
	for _, x := range xattrs {
		var xj xattrJSON
		xj.Name, xj.NameB64 = jsonName(x.Name)
		xj.Value, xj.ValueB64 = jsonName(string(x.Value))
		j.Xattrs = append(j.Xattrs, xj)
	}
	if o.entry.Number == catalog.RootNumber {
		h := o.Header()
		j.Shards, j.Blobs, j.BlobBytes = h.Shards, h.Blobs+h.Lists+1, mostBytes(o)
	}
	return j
}

func writeStat(p *printer, o *opened, xattrs []catalog.Xattr) {
	e := o.entry
	p.row("path", "%s", p.name("/"+o.path))
	p.row("type", "%s", typeName(e.Type))
	switch e.Type {
	case catalog.File:
		p.row("size", "%s (%s bytes)", humanBytes(e.Size), grouped(e.Size))
	case catalog.Dir:
		p.row("below", "%s, of these %s with %s (%s bytes)", count(e.Entries, "entry", "entries"), count(e.Files, "file", "files"), humanBytes(e.Bytes), grouped(e.Bytes))
	case catalog.Symlink:
		p.row("target", "%s", p.name(e.Target))
	}
	p.row("mode", "%s (%04o)", modeString(e), e.Mode)
	p.row("modified", "%s", modTime(e).Format(time.RFC3339Nano))
	p.row("number", "%d", e.Number)
	if e.Links > 1 {
		p.row("links", "%d, the first is number %d", e.Links, e.First)
	}
	if e.Type == catalog.File && !e.Sum.IsZero() {
		p.row("b3", "%s", e.Sum)
	}
	if e.Type != catalog.Symlink && !e.Root.IsZero() {
		p.row("root", "%s", e.Root)
	}
	for _, x := range xattrs {
		p.row("xattr", "%s=%s", p.name(x.Name), escaped(string(x.Value)))
	}
	p.row("dataset", "%s", o.address())
	if e.Number == catalog.RootNumber {
		h := o.Header()
		if c, err := walrus.NewParams(h.Shards, 0); err == nil {
			p.row("shards", "%d: any %d primary slivers of a blob restore it", c.N, c.K1)
		}
		p.row("blobs", "%s of at most %s", grouped(h.Blobs+h.Lists+1), humanBytes(mostBytes(o)))
	}
}

// mostBytes returns the size of the largest blob of a dataset.
func mostBytes(o *opened) int64 {
	if b := o.Blob(); b != nil {
		return int64(b.Params().Size)
	}
	return o.Header().BlobSize
}
