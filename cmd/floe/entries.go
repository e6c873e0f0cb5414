package main

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
)

// An entryJSON is an entry of a dataset as --json gives it.
type entryJSON struct {
	Path    *string `json:"path,omitempty"` // within the dataset
	PathB64 []byte  `json:"path_b64,omitempty"`
	Name    *string `json:"name,omitempty"`
	NameB64 []byte  `json:"name_b64,omitempty"`

	Type   string `json:"type"`
	Number uint64 `json:"number"`
	Mode   string `json:"mode,omitempty"` // octal
	MTime  string `json:"mtime"`
	Size   *int64 `json:"size,omitempty"`

	Target    *string `json:"target,omitempty"`
	TargetB64 []byte  `json:"target_b64,omitempty"`

	B3    string  `json:"b3,omitempty"`
	Root  string  `json:"root,omitempty"`
	Links uint32  `json:"links,omitempty"`
	First *uint64 `json:"first_link,omitempty"`

	Entries *uint64 `json:"entries,omitempty"`
	Files   *uint64 `json:"files,omitempty"`
	Bytes   *uint64 `json:"bytes,omitempty"`
}

func toJSON(path string, e catalog.Entry) entryJSON {
	j := entryJSON{
		Type: typeName(e.Type), Number: e.Number,
		MTime: modTime(e).UTC().Format(time.RFC3339Nano), Mode: fmt.Sprintf("%04o", e.Mode),
	}
	j.Path, j.PathB64 = jsonName(path)
	j.Name, j.NameB64 = jsonName(e.Name)
	switch e.Type {
	case catalog.File:
		j.Size, j.B3, j.Root, j.Links = &e.Size, hashJSON(e.Sum), hashJSON(e.Root), e.Links
		if e.First != e.Number {
			j.First = &e.First
		}
	case catalog.Dir:
		j.Root, j.Entries, j.Files, j.Bytes = hashJSON(e.Root), &e.Entries, &e.Files, &e.Bytes
	case catalog.Symlink:
		j.Mode = ""
		j.Target, j.TargetB64 = jsonName(e.Target)
	}
	return j
}

// hashJSON returns h in hex; empty for what is in a Walrus blob as it is, which
// has none.
func hashJSON(h merkle.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

func typeName(t catalog.Type) string {
	switch t {
	case catalog.Dir:
		return "directory"
	case catalog.Symlink:
		return "symlink"
	}
	return "file"
}

// modeString writes an entry's mode as ls -l does.
func modeString(e catalog.Entry) string {
	m := fs.FileMode(e.Mode).Perm().String()[1:]
	switch e.Type {
	case catalog.Dir:
		return "d" + m
	case catalog.Symlink:
		return "lrwxrwxrwx"
	}
	return "-" + m
}

// walk calls visit for top, which lies at path, and for all below it, in
// pre-order. If visit returns false for a directory, what is below it is left
// out. depth counts from top.
func walk(ctx context.Context, d *engine.Dataset, top catalog.Entry, path string, visit func(path string, depth int, e catalog.Entry) (bool, error)) error {
	return walkAt(ctx, d, top, path, 0, visit)
}

func walkAt(ctx context.Context, d *engine.Dataset, e catalog.Entry, path string, depth int, visit func(string, int, catalog.Entry) (bool, error)) error {
	down, err := visit(path, depth, e)
	if err != nil || !down || e.Type != catalog.Dir {
		return err
	}
	for child, err := range d.List(ctx, e, 0) {
		if err != nil {
			return fmt.Errorf("%s: %w", orTop(path), err)
		}
		if err := walkAt(ctx, d, child, join(path, child.Name), depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

// join appends a name to a path within a dataset. It takes names as they are.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

func orTop(path string) string {
	if path == "" {
		return "top directory"
	}
	return path
}
