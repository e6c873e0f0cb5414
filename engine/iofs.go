package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/floefs/floe/engine/catalog"
)

// FS returns d as the standard library sees a tree, every operation under
// ctx. It implements fs.ReadDirFS, fs.ReadFileFS, fs.StatFS and
// fs.ReadLinkFS; files are io.ReaderAt and io.Seeker. Open and Stat follow
// symlinks within the dataset; one that leads out of it is fs.ErrNotExist.
// Names that are not UTF-8 cannot be reached this way; Lookup and List do.
func (d *Dataset) FS(ctx context.Context) fs.FS { return &fsys{ctx, d} }

type fsys struct {
	ctx context.Context // of the one user the file system was made for
	d   *Dataset
}

const maxSymlinks = 40 // followed in one path, as Linux has it

// walk returns the entry at name. If last is set, a symlink at its end is
// followed as well as those on the way.
func (f *fsys) walk(op, name string, last bool) (catalog.Entry, error) {
	fail := func(err error) (catalog.Entry, error) {
		return catalog.Entry{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	dirs := []catalog.Entry{f.d.Root()} // from the top to where we are
	ahead := strings.Split(name, "/")
	for links := 0; len(ahead) > 0; {
		part := ahead[0]
		ahead = ahead[1:]
		dir := dirs[len(dirs)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(dirs) == 1 {
				return fail(fs.ErrNotExist)
			}
			dirs = dirs[:len(dirs)-1]
			continue
		}
		if dir.Type != catalog.Dir {
			return fail(fs.ErrNotExist)
		}
		e, err := f.d.Lookup(f.ctx, dir, part)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = fs.ErrNotExist
			}
			return fail(err)
		}
		if e.Type == catalog.Symlink && (last || len(ahead) > 0) {
			if links++; links > maxSymlinks || path.IsAbs(e.Target) {
				return fail(fs.ErrNotExist)
			}
			ahead = append(strings.Split(e.Target, "/"), ahead...)
			continue
		}
		dirs = append(dirs, e)
	}
	return dirs[len(dirs)-1], nil
}

// Open implements fs.FS.
func (f *fsys) Open(name string) (fs.File, error) {
	e, err := f.walk("open", name, true)
	if err != nil {
		return nil, err
	}
	info := fileInfo{e, path.Base(name)}
	if e.Type == catalog.Dir {
		return &openDir{f: f, info: info, name: name}, nil
	}
	file, err := f.d.File(f.ctx, e)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &openFile{file.Reader(f.ctx), info, name}, nil
}

// Stat implements fs.StatFS.
func (f *fsys) Stat(name string) (fs.FileInfo, error) {
	e, err := f.walk("stat", name, true)
	if err != nil {
		return nil, err
	}
	return fileInfo{e, path.Base(name)}, nil
}

// Lstat implements fs.ReadLinkFS.
func (f *fsys) Lstat(name string) (fs.FileInfo, error) {
	e, err := f.walk("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return fileInfo{e, path.Base(name)}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (f *fsys) ReadLink(name string) (string, error) {
	e, err := f.walk("readlink", name, false)
	if err != nil {
		return "", err
	}
	if e.Type != catalog.Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return e.Target, nil
}

// ReadDir implements fs.ReadDirFS.
func (f *fsys) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := f.walk("readdir", name, true)
	if err == nil && e.Type != catalog.Dir {
		err = &fs.PathError{Op: "readdir", Path: name, Err: errNotDir}
	}
	if err != nil {
		return nil, err
	}
	return f.list(name, e, 0, -1)
}

// list returns up to n (all if n <= 0) entries of dir from a relative number on.
func (f *fsys) list(name string, dir catalog.Entry, from uint64, n int) ([]fs.DirEntry, error) {
	var out []fs.DirEntry
	for e, err := range f.d.List(f.ctx, dir, from) {
		if err != nil {
			return out, &fs.PathError{Op: "readdir", Path: name, Err: err}
		}
		out = append(out, fs.FileInfoToDirEntry(fileInfo{e, e.Name}))
		if len(out) == n {
			break
		}
	}
	return out, nil
}

// ReadFile implements fs.ReadFileFS.
func (f *fsys) ReadFile(name string) ([]byte, error) {
	e, err := f.walk("readfile", name, true)
	if err != nil {
		return nil, err
	}
	file, err := f.d.File(f.ctx, e)
	if err == nil {
		data := make([]byte, e.Size)
		if _, err = file.ReadAt(f.ctx, data, 0); err == nil {
			return data, nil
		}
	}
	return nil, &fs.PathError{Op: "readfile", Path: name, Err: err}
}

// fileInfo is an entry under the name it was asked for by. Sys returns the
// catalog.Entry.
type fileInfo struct {
	e    catalog.Entry
	name string
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.e.Size }
func (i fileInfo) ModTime() time.Time { return time.Unix(i.e.Sec, int64(i.e.Nsec)) }
func (i fileInfo) IsDir() bool        { return i.e.Type == catalog.Dir }
func (i fileInfo) Sys() any           { return i.e }
func (i fileInfo) Mode() fs.FileMode {
	m := fs.FileMode(i.e.Mode)
	switch i.e.Type {
	case catalog.Dir:
		m |= fs.ModeDir
	case catalog.Symlink:
		m |= fs.ModeSymlink
	}
	return m
}

// openFile is an fs.File that also seeks and reads at offsets.
type openFile struct {
	*io.SectionReader
	info fileInfo
	name string
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

func (f *openFile) Read(p []byte) (int, error) {
	n, err := f.SectionReader.Read(p)
	return n, f.wrap(err)
}

func (f *openFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.SectionReader.ReadAt(p, off)
	return n, f.wrap(err)
}

func (f *openFile) wrap(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: "read", Path: f.name, Err: err}
}

// openDir is an fs.ReadDirFile.
type openDir struct {
	f    *fsys
	info fileInfo
	name string
	next uint64 // relative number of the entry to go on with
	done bool
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.done {
		if n > 0 {
			return nil, io.EOF
		}
		return nil, nil
	}
	out, err := d.f.list(d.name, d.info.e, d.next, n)
	if err != nil {
		return out, err
	}
	if len(out) < n || n <= 0 {
		d.done = true
	}
	if len(out) > 0 {
		i, _ := out[len(out)-1].Info()
		d.next = i.Sys().(catalog.Entry).Number - d.info.e.Number + 1
	} else if n > 0 {
		return nil, io.EOF
	}
	return out, nil
}
