// Package workload holds what the benchmark reads: sets of files that are a
// function of their name and a scale, and the ways in which programs read
// them, each a function of a seed. So any directory that should hold a set can
// be read and checked, byte for byte, without a second copy.
package workload

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"path"
	"slices"
)

// A Set is a directory of files.
type Set struct {
	Name  string // a word, which a bucket may have as its name
	About string
	files func(s Scale) iter.Seq[File]
}

// A File is one file of a set.
type File struct {
	Path string // with slashes, below the set
	Size int64

	text bool // like source code; else bytes that nothing can compress
	seed uint64
}

// Files returns the files of the set, in the order in which they are written.
func (s *Set) Files(scale Scale) iter.Seq[File] {
	return func(yield func(File) bool) {
		for f := range s.files(scale) {
			f.seed = seedOf(s.Name, f.Path)
			if !yield(f) {
				return
			}
		}
	}
}

// SetNamed returns a set.
func SetNamed(name string) (*Set, error) {
	if i := slices.IndexFunc(sets, func(s *Set) bool { return s.Name == name }); i >= 0 {
		return sets[i], nil
	}
	return nil, fmt.Errorf("there is no set %q", name)
}

// Scale says how large the sets are; a full run has 1. The sets of the cards
// W1-W9 are then a tenth of what the cards give a small machine, so that 10 is
// what they say.
type Scale float64

// of returns how many files there are if a full run has full of them, and the
// part of its full size each has: files are smaller only if they would be
// fewer than least.
func (s Scale) of(full, least int) (n int, part float64) {
	want := float64(s) * float64(full)
	n = max(least, int(math.Round(want)))
	return n, min(1, want/float64(n))
}

// portion returns part of a size, of at least one page.
func portion(size int64, part float64) int64 {
	return max(4<<10, int64(float64(size)*part))
}

// one is a set of one file.
func one(name string, size int64) iter.Seq[File] {
	return func(yield func(File) bool) { yield(File{Path: name, Size: size}) }
}

// inDirs is n files in directories of perDir, or in four if they are few.
// Their sizes are drawn in order.
func inDirs(n, perDir int, size func(*rand.Rand) int64) iter.Seq[File] {
	perDir = min(perDir, (n+3)/4)
	return func(yield func(File) bool) {
		rng := rand.New(rand.NewPCG(1, uint64(n)))
		for i := range n {
			name := path.Join(fmt.Sprintf("d%04d", i/perDir), fmt.Sprintf("f%06d", i%perDir))
			if !yield(File{Path: name, Size: size(rng)}) {
				return
			}
		}
	}
}

// inOne is n files in one directory.
func inOne(dir string, n int, size func(*rand.Rand) int64) iter.Seq[File] {
	return func(yield func(File) bool) {
		rng := rand.New(rand.NewPCG(2, uint64(n)))
		for i := range n {
			if !yield(File{Path: path.Join(dir, fmt.Sprintf("f%06d", i)), Size: size(rng)}) {
				return
			}
		}
	}
}

func both(a, b iter.Seq[File]) iter.Seq[File] {
	return func(yield func(File) bool) {
		for _, seq := range []iter.Seq[File]{a, b} {
			for f := range seq {
				if !yield(f) {
					return
				}
			}
		}
	}
}

func always(size int64) func(*rand.Rand) int64 {
	return func(*rand.Rand) int64 { return size }
}
