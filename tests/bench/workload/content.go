package workload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// ErrWrong says that a byte, a size or a name is not that of the set.
var ErrWrong = errors.New("WRONG")

func seedOf(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// word returns the eight bytes at 8k of a file of random bytes: SplitMix64, in
// which any word can be had without those before.
func word(seed, k uint64) uint64 {
	z := seed + (k+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// fill writes what the file holds at off into p.
func (f File) fill(p []byte, off int64) {
	if f.text {
		copy(p, f.prose()[off:])
		return
	}
	if lead := off & 7; lead != 0 && len(p) > 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], word(f.seed, uint64(off)>>3))
		n := copy(p, w[lead:])
		p, off = p[n:], off+int64(n)
	}
	k := uint64(off) >> 3
	for ; len(p) >= 8; p, k = p[8:], k+1 {
		binary.LittleEndian.PutUint64(p, word(f.seed, k))
	}
	if len(p) > 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], word(f.seed, k))
		copy(p, w[:])
	}
}

// same reports whether p is what the file holds at off, by way of a buffer
// that is at least as long.
func (f File) same(p []byte, off int64, buf []byte) error {
	buf = buf[:len(p)]
	f.fill(buf, off)
	if bytes.Equal(p, buf) {
		return nil
	}
	for i := range p {
		if p[i] != buf[i] {
			return fmt.Errorf("%w: byte %d of %s is %#02x, not %#02x", ErrWrong, off+int64(i), f.Path, p[i], buf[i])
		}
	}
	return nil
}

// needle is what grep looks for: a word of some files.
const needle = "quetzalcoatl"

var vocabulary = []string{
	"func", "return", "range", "err", "nil", "struct", "buffer", "offset", "shard", "sliver", "chunk", "reader",
	"writer", "index", "length", "context", "cancel", "deadline", "proof", "root", "{", "}", ":=", "==", "(x)", "// why",
}

// prose returns all of a file of text.
func (f File) prose() []byte {
	rng := rand.New(rand.NewPCG(f.seed, 1))
	out := make([]byte, 0, f.Size+80)
	for int64(len(out)) < f.Size {
		if rng.IntN(4000) == 0 {
			out = append(append(out, needle...), ' ')
		}
		out = append(out, vocabulary[rng.IntN(len(vocabulary))]...)
		if rng.IntN(9) == 0 {
			out = append(out, '\n')
		} else {
			out = append(out, ' ')
		}
	}
	return append(out[:f.Size-1], '\n')
}

// Write writes the set's files below dir, and returns how many bytes they
// hold.
func (s *Set) Write(dir string, scale Scale) (total int64, err error) {
	buf := make([]byte, mib)
	made := "" // the directory made last
	for f := range s.Files(scale) {
		name := filepath.Join(dir, f.Path)
		if parent := filepath.Dir(name); parent != made {
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return total, err
			}
			made = parent
		}
		if err := f.write(name, buf); err != nil {
			return total, err
		}
		total += f.Size
	}
	return total, nil
}

func (f File) write(name string, buf []byte) (err error) {
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if f.text {
		_, err = w.Write(f.prose())
		return err
	}
	for off := int64(0); off < f.Size; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), f.Size-off)]
		f.fill(p, off)
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}
