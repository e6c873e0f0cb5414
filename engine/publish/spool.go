package publish

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
)

// tempFile returns a file in dir that has no name, so that nothing is left of
// it whatever becomes of this process.
func tempFile(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	if fd, err := unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600); err == nil {
		return os.NewFile(uintptr(fd), dir+"/(unnamed)"), nil
	}
	// Some file systems cannot do that.
	f, err := os.CreateTemp(dir, "floe-put-")
	if err == nil {
		err = os.Remove(f.Name())
	}
	return f, err
}

// An item is an entry on its way from step to step. In the spools directories
// are followed by what they hold and an item that is their end.
type item struct {
	end   bool
	entry catalog.Entry // its number is not set; lists longer than fits inline are out of line once it was read
	xattr []byte        // list of xattrs, encoded
	stamp stamp

	base catalog.Extent // directories: what the base has at this path
}

// A stamp tells whether a file is the one it was. Together with size and
// modification time it changes with every change of content.
type stamp struct {
	Dev, Ino uint64
	CSec     int64
	CNsec    uint32
	Sec      int64 // of modification, before it was moved into range
	Nsec     uint32
	Size     int64
}

// A spool is items in a temporary file: written once, read once.
type spool struct {
	file *os.File
	w    *bufio.Writer
	r    *bufio.Reader
	buf  []byte
}

func newSpool(dir string) (*spool, error) {
	f, err := tempFile(dir)
	if err != nil {
		return nil, fmt.Errorf("keeping the list of files: %w", err)
	}
	return &spool{file: f, w: bufio.NewWriterSize(f, 256<<10)}, nil
}

// add appends an item.
func (s *spool) add(it *item) error {
	c := coder{b: s.buf[:0], write: true}
	it.code(&c)
	s.buf = c.b
	var head [binary.MaxVarintLen64]byte
	_, err := s.w.Write(head[:binary.PutUvarint(head[:], uint64(len(c.b)))])
	if err == nil {
		_, err = s.w.Write(c.b)
	}
	if err != nil {
		return fmt.Errorf("keeping the list of files: %w", err)
	}
	return nil
}

// rewind goes to the first item. No add may follow.
func (s *spool) rewind() error {
	err := s.w.Flush()
	if err == nil {
		_, err = s.file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("keeping the list of files: %w", err)
	}
	s.r = bufio.NewReaderSize(s.file, 256<<10)
	return nil
}

// next returns the next item, or io.EOF.
func (s *spool) next() (*item, error) {
	n, err := binary.ReadUvarint(s.r)
	if err == io.EOF {
		return nil, io.EOF
	}
	if err == nil {
		if uint64(cap(s.buf)) < n {
			s.buf = make([]byte, n)
		}
		_, err = io.ReadFull(s.r, s.buf[:n])
	}
	if err != nil {
		return nil, fmt.Errorf("reading back the list of files: %w", err)
	}
	it := &item{}
	c := coder{b: s.buf[:n]}
	it.code(&c)
	if c.bad || len(c.b) > 0 {
		return nil, errors.New("reading back the list of files: it is damaged")
	}
	return it, nil
}

func (s *spool) close() { s.file.Close() }

// code writes or reads an item.
func (it *item) code(c *coder) {
	e := &it.entry
	c.flag(&it.end)
	if it.end {
		return
	}
	c.text(&e.Name)
	integer(c, &e.Type)
	integer(c, &e.Mode)
	integer(c, &e.Sec)
	integer(c, &e.Nsec)
	integer(c, &e.Size)
	c.hash(&e.Root)
	integer(c, &e.At)
	c.text(&e.Target)
	c.hash(&e.Sum)
	integer(c, &e.First)
	integer(c, &e.Links)
	c.holes(&e.Holes.Inline)
	c.extent(&e.Holes.Out)
	c.bytes(&it.xattr)
	c.extent(&e.Xattrs.Out)
	c.extent(&it.base)

	s := &it.stamp
	integer(c, &s.Dev)
	integer(c, &s.Ino)
	integer(c, &s.CSec)
	integer(c, &s.CNsec)
	integer(c, &s.Sec)
	integer(c, &s.Nsec)
	integer(c, &s.Size)
}

// A coder writes values to b, or takes them from it.
type coder struct {
	b     []byte
	write bool
	bad   bool // there was too little to take
}

func integer[T ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int64](c *coder, v *T) {
	if c.write {
		c.b = binary.AppendUvarint(c.b, uint64(*v))
		return
	}
	n, size := binary.Uvarint(c.b)
	if size <= 0 {
		c.bad, c.b = true, nil
		return
	}
	*v, c.b = T(n), c.b[size:]
}

func (c *coder) flag(v *bool) {
	var n uint8
	if *v {
		n = 1
	}
	integer(c, &n)
	*v = n == 1
}

func (c *coder) bytes(v *[]byte) {
	n := uint64(len(*v))
	integer(c, &n)
	if c.write {
		c.b = append(c.b, *v...)
		return
	}
	*v = append([]byte(nil), c.take(n)...)
}

func (c *coder) text(v *string) {
	n := uint64(len(*v))
	integer(c, &n)
	if c.write {
		c.b = append(c.b, *v...)
		return
	}
	*v = string(c.take(n))
}

// hash takes one byte for the zero hash, which most entries have here.
func (c *coder) hash(v *merkle.Hash) {
	there := !v.IsZero()
	c.flag(&there)
	if !there {
		return
	}
	if c.write {
		c.b = append(c.b, v[:]...)
		return
	}
	copy(v[:], c.take(merkle.HashSize))
}

func (c *coder) holes(v *[]merkle.Hole) {
	n := uint64(len(*v))
	integer(c, &n)
	if !c.write {
		*v = nil
		if n <= uint64(len(c.b)) && n > 0 {
			*v = make([]merkle.Hole, n)
		}
	}
	for i := range *v {
		integer(c, &(*v)[i].Start)
		integer(c, &(*v)[i].Count)
	}
}

func (c *coder) extent(v *catalog.Extent) {
	integer(c, &v.Size)
	c.hash(&v.Root)
	integer(c, &v.At)
}

// take returns the next n bytes.
func (c *coder) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}
