package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/floefs/floe/engine/walrus"
)

var blobIDCommand = command{
	name:     "blob-id",
	group:    "about",
	brief:    "compute the Walrus blob id of a file",
	complete: "file",
	help: `Usage: floe blob-id [FLAGS] FILE...

  floe blob-id photo.jpg                 as walrus blob-id photo.jpg prints it
  floe blob-id --n-shards 100 a b c      for another committee; id and name

Computes the id under which Walrus stores a file, without storing it. It
depends on the number of shards: Walrus has 1000. The file - is standard input.
Of one file the id alone is printed.
`,
	new: func(f *flags) action {
		b := &blobID{}
		f.IntVar(&b.shards, "n-shards", 1000, "the committee has `N` shards, 4 to 1000")
		f.private("n-shards")
		jsonFlag(f, &b.json)
		return b.run
	},
}

type blobID struct {
	shards int
	json   bool
}

func (b *blobID) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe blob-id needs a file, or - for standard input")
	}
	enc, err := walrus.NewEncoder(b.shards)
	if err != nil {
		return usagef("--n-shards: %w", err)
	}
	p := e.printer(b.json)
	for _, arg := range args {
		if err := b.one(ctx, e, p, enc, arg, len(args) == 1); err != nil {
			return errors.Join(err, p.Flush())
		}
	}
	return p.Flush()
}

func (b *blobID) one(ctx context.Context, e *env, p *printer, enc *walrus.Encoder, arg string, alone bool) error {
	data, err := b.read(e, arg)
	if err != nil {
		return err
	}
	blob, err := enc.Encode(ctx, data, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", arg, err)
	}
	switch {
	case b.json:
		j := struct {
			File    *string `json:"file,omitempty"`
			FileB64 []byte  `json:"file_b64,omitempty"`
			BlobID  string  `json:"blob_id"`
			Size    int     `json:"size"`
			Shards  int     `json:"shards"`
		}{BlobID: blob.ID.String(), Size: len(data), Shards: b.shards}
		j.File, j.FileB64 = jsonName(arg)
		return p.object(j)
	case alone:
		fmt.Fprintln(p, blob.ID)
	default:
		fmt.Fprintf(p, "%s  %s\n", blob.ID, p.name(arg))
	}
	return nil
}

// read returns what a file holds, but not more than a blob can.
func (b *blobID) read(e *env, arg string) ([]byte, error) {
	most := int64(walrus.MaxBlob(b.shards))
	if arg == "-" {
		data, err := io.ReadAll(io.LimitReader(e.stdin, most+1))
		return data, err
	}
	f, err := os.Open(e.abs(arg))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes: a blob for %d shards holds at most %d", arg, fi.Size(), b.shards, most)
	}
	if !fi.Mode().IsRegular() {
		return io.ReadAll(io.LimitReader(f, most+1))
	}
	data := make([]byte, fi.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("reading %s: %w", arg, err)
	}
	return data, nil
}
