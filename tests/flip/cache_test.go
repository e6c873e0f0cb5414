package flip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/cachestore"
	"github.com/floefs/floe/merkle"
)

// fillCache makes a cache that holds everything of w, and takes an image of
// it.
func (w *bench) fillCache(ctx context.Context) error {
	c, err := cachestore.Open(w.cacheDir, nil)
	if err != nil {
		return err
	}
	r := round{bench: w, reads: w.everything()}
	if failed := r.readAll(ctx, w.Client(), c); failed != nil {
		return errors.Join(failed...)
	}
	if err := fillIndex(c); err != nil {
		return err
	}
	c.Flush()
	if st := c.Stats(); st.Dropped > 0 {
		return fmt.Errorf("the cache has dropped %d puts", st.Dropped)
	}
	c.Close()
	w.cache, err = takeImage(w.cacheDir)
	return err
}

// filler is a blob of another dataset in the same cache. It has so many
// segments that the index has branch pages.
var filler = cachestore.Key{1, 2, 3}

func fillIndex(c *cachestore.Store) error {
	data := []byte("a chunk of another dataset")
	chunk, err := merkle.Prove(merkle.Blake3(data), data, merkle.Blake3)
	if err != nil {
		return err
	}
	for i := range int64(200) {
		c.Put(filler, i<<20, chunk)
		c.Flush()
	}
	return nil
}

// An image is the files of a directory as they were once.
type image struct {
	files map[string]content // by path from the directory
	dirs  map[string]bool
}

// A content is a file's bytes, without its holes.
type content struct {
	size int64
	data []extent
}

type extent struct {
	off  int64
	data []byte
}

func takeImage(dir string) (*image, error) {
	im := &image{files: map[string]content{}, dirs: map[string]bool{}}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		switch {
		case e.IsDir():
			im.dirs[rel] = true
		case e.Type() == 0:
			im.files[rel], err = readContent(path)
		}
		return err
	})
	return im, err
}

func readContent(path string) (c content, err error) {
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	if c.size, err = f.Seek(0, io.SeekEnd); err != nil {
		return c, err
	}
	for off := int64(0); off < c.size; {
		from, err := f.Seek(off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return c, err
		}
		if off, err = f.Seek(from, unix.SEEK_HOLE); err != nil {
			return c, err
		}
		data := make([]byte, off-from)
		if _, err := f.ReadAt(data, from); err != nil {
			return c, err
		}
		c.data = append(c.data, extent{from, data})
	}
	return c, nil
}

func (c content) write(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, x := range c.data {
		if _, err := f.WriteAt(x.data, x.off); err != nil {
			return err
		}
	}
	return f.Truncate(c.size)
}

// restore makes dir what it was, but for the filler, which nobody touches.
func (im *image) restore(dir string) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if _, ok := im.files[rel]; !ok && !im.dirs[rel] {
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for rel, c := range im.files {
		if strings.HasSuffix(rel, fmt.Sprintf("%x", filler[:])) {
			continue
		}
		if err := c.write(filepath.Join(dir, rel)); err != nil {
			return err
		}
	}
	return nil
}

// anywhere returns a byte of a file, mostly not in a hole.
func (im *image) anywhere(rng *rand.Rand, name string) int64 {
	c := im.files[name]
	if len(c.data) == 0 || rng.IntN(20) == 0 {
		return rng.Int64N(c.size)
	}
	total := 0
	for _, x := range c.data {
		total += len(x.data)
	}
	i, at := rng.IntN(total), 0
	for i >= len(c.data[at].data) {
		i -= len(c.data[at].data)
		at++
	}
	return c.data[at].off + int64(i)
}

// below returns the files of a directory, in order.
func (im *image) below(dir string) []string {
	var names []string
	for name := range im.files {
		if filepath.Dir(name) == dir {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
