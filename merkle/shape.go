package merkle

// Shape is the geometry of the content tree of a file of Size bytes: pure
// arithmetic, the same for every file of that size. Level 0 are the data
// chunks; levels 1 to Top are interior.
type Shape struct{ Size int64 }

// Top returns the level of the one chunk that the root names: 0 for a file
// of at most one chunk.
func (s Shape) Top() int {
	top := 0
	for n := s.Chunks(0); n > 1; n = (n + Fanout - 1) / Fanout {
		top++
	}
	return top
}

// Chunks returns how many chunks a level has.
func (s Shape) Chunks(level int) int64 {
	n := s.Size / ChunkSize
	if s.Size%ChunkSize != 0 {
		n++
	}
	for ; level > 0; level-- {
		n = (n + Fanout - 1) / Fanout
	}
	return n
}

// LevelSize returns the bytes of a level, holes included.
func (s Shape) LevelSize(level int) int64 {
	if level == 0 {
		return s.Size
	}
	return s.Chunks(level-1) * HashSize
}

// Len returns the bytes of chunk i of a level.
func (s Shape) Len(level int, i int64) int {
	return int(min(ChunkSize, s.LevelSize(level)-i*ChunkSize))
}

// span returns how many file bytes one full chunk of a level stands for. It
// saturates, so that it can be compared with any size.
func span(level int) int64 {
	n := int64(ChunkSize)
	for ; level > 0; level-- {
		if n > (1<<62)/Fanout {
			return 1 << 62
		}
		n *= Fanout
	}
	return n
}
