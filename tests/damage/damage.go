// Package damage harms a directory store the ways disks, networks and
// liars do, and keeps count of what it did.
package damage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Count says how many files were harmed, by kind.
type Count struct {
	Blobs, Deleted, Truncated, Flipped, Swapped, Metadata int
}

// Slivers returns how many slivers were harmed.
func (c Count) Slivers() int { return c.Deleted + c.Truncated + c.Flipped + 2*c.Swapped }

// Store harms up to perBlob primary slivers of every blob in the directory
// store, by deleting, truncating, flipping a bit and swapping two, and one of
// the two copies of every metadata.
func Store(store string, perBlob int, rng *rand.Rand) (Count, error) {
	var c Count
	dirs, err := filepath.Glob(filepath.Join(store, "blobs", "*", "*"))
	if err != nil {
		return c, err
	}
	sort.Strings(dirs)
	for _, dir := range dirs {
		if err := c.blob(dir, perBlob, rng); err != nil {
			return c, fmt.Errorf("harming %s: %w", dir, err)
		}
	}
	return c, nil
}

func (c *Count) blob(dir string, perBlob int, rng *rand.Rand) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var slivers []string
	for _, n := range names {
		if strings.HasPrefix(n.Name(), "p") {
			slivers = append(slivers, filepath.Join(dir, n.Name()))
		}
	}
	// The first slivers hold the data itself: harm most where it hurts.
	sort.Slice(slivers, func(i, j int) bool {
		return len(slivers[i]) < len(slivers[j]) || len(slivers[i]) == len(slivers[j]) && slivers[i] < slivers[j]
	})
	slivers = slivers[:len(slivers)*3/4]
	rng.Shuffle(len(slivers), func(i, j int) { slivers[i], slivers[j] = slivers[j], slivers[i] })
	c.Blobs++
	for left := perBlob; left > 0 && len(slivers) > 1; {
		kind := rng.IntN(4)
		if kind == 3 && left == 1 {
			kind = rng.IntN(3)
		}
		switch kind {
		case 0:
			err = os.Remove(slivers[0])
			c.Deleted++
		case 1:
			err = truncate(slivers[0], rng)
			c.Truncated++
		case 2:
			err = Flip(slivers[0], rng)
			c.Flipped++
		case 3:
			err = swap(slivers[0], slivers[1])
			c.Swapped++
			slivers, left = slivers[1:], left-1
		}
		if err != nil {
			return err
		}
		slivers, left = slivers[1:], left-1
	}
	c.Metadata++
	return Flip(filepath.Join(dir, []string{"meta", "meta.copy"}[rng.IntN(2)]), rng)
}

// Flip inverts one bit of a file.
func Flip(path string, rng *rand.Rand) error {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return err
	}
	data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
	return os.WriteFile(path, data, 0o644)
}

func truncate(path string, rng *rand.Rand) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, rng.Int64N(fi.Size()))
}

func swap(a, b string) error {
	tmp := a + ".swap"
	if err := os.Rename(a, tmp); err != nil {
		return err
	}
	if err := os.Rename(b, a); err != nil {
		return err
	}
	return os.Rename(tmp, b)
}
