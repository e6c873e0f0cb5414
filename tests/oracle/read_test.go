package oracle

import (
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// opened opens a path of a side, does something, and closes it again.
func (s *side) opened(rel string, flags int, do func(fd int) answer) answer {
	fd, err := unix.Open(s.path(rel), flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return failed(err)
	}
	defer unix.Close(fd)
	return do(fd)
}

// got is the answer to something that reads n bytes into b.
func got(b []byte, n int, err error) answer {
	if err != nil {
		return failed(err)
	}
	return answer{text: fmt.Sprint(n), data: b[:n]}
}

func (d *drawer) pread() operation {
	t := d.file()
	p, off, n := t.path, d.offset(t.size), d.length()
	if d.one(10) {
		p = d.path(0)
	}
	return operation{
		what: fmt.Sprintf("pread(%q, %d bytes at %d)", p, n, off),
		do: func(s *side) answer {
			return s.opened(p, unix.O_RDONLY, func(fd int) answer {
				b := make([]byte, n)
				n, err := unix.Pread(fd, b, off)
				return got(b, n, err)
			})
		},
	}
}

func (d *drawer) preadv() operation {
	t := d.file()
	off := max(0, d.offset(t.size))
	var lens []int
	for range 1 + d.rng.IntN(8) {
		lens = append(lens, d.rng.IntN(2*chunk))
	}
	return operation{
		what: fmt.Sprintf("preadv(%q, %d bytes at %d)", t.path, lens, off),
		do: func(s *side) answer {
			return s.opened(t.path, unix.O_RDONLY, func(fd int) answer {
				var all []byte
				var bufs [][]byte
				for _, l := range lens {
					bufs = append(bufs, make([]byte, l))
				}
				n, err := unix.Preadv(fd, bufs, off)
				for _, b := range bufs {
					all = append(all, b...)
				}
				return got(all, n, err)
			})
		},
	}
}

// read reads on from an offset by read(2), whole buffers or not.
func (d *drawer) read() operation {
	t := d.file()
	off, n, times := max(0, d.offset(t.size)), 1+d.rng.IntN(3*chunk), 1+d.rng.IntN(20)
	return operation{
		what: fmt.Sprintf("read(%q, %d times %d bytes from %d)", t.path, times, n, off),
		do: func(s *side) answer {
			return s.opened(t.path, unix.O_RDONLY, func(fd int) answer {
				if _, err := unix.Seek(fd, off, unix.SEEK_SET); err != nil {
					return failed(err)
				}
				var all []byte
				var lens []int
				b := make([]byte, n)
				for range times {
					n, err := unix.Read(fd, b)
					if err != nil {
						return failed(err)
					}
					all, lens = append(all, b[:n]...), append(lens, n)
				}
				return answer{fmt.Sprint(lens), all}
			})
		},
	}
}

// direct reads past the page cache. Alignments are kept: the image demands
// them, the mount does not.
func (d *drawer) direct() operation {
	t := d.file()
	off, n := max(0, d.offset(t.size))/page*page, (1+d.rng.IntN(80))*page
	if off > 1<<40 {
		off = 1 << 40
	}
	return operation{
		what: fmt.Sprintf("read(%q, O_DIRECT, %d bytes at %d)", t.path, n, off),
		do: func(s *side) answer {
			return s.opened(t.path, unix.O_RDONLY|unix.O_DIRECT, func(fd int) answer {
				b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
				if err != nil {
					return failed(err)
				}
				defer unix.Munmap(b)
				got, err := unix.Pread(fd, b, off)
				if err != nil {
					return failed(err)
				}
				return answer{fmt.Sprint(got), append([]byte{}, b[:got]...)}
			})
		},
	}
}

// mmap maps a range and looks at every page of it; those behind the end of
// the file must fault, and the rest of the last one be zeros.
func (d *drawer) mmap() operation {
	t := d.file()
	p, off, n := t.path, max(0, d.offset(t.size))/page*page, 1+d.rng.IntN(30*page)
	if d.one(6) {
		n = 1 + d.rng.IntN(4*segment)
	}
	if off > 1<<40 {
		off = 0
	}
	if d.one(20) {
		p = d.path(0)
	}
	share := pick(d.rng, []int{unix.MAP_SHARED, unix.MAP_PRIVATE, unix.MAP_SHARED | unix.MAP_POPULATE})
	prot := unix.PROT_READ
	if d.one(8) {
		prot |= unix.PROT_WRITE // of private pages only: the file is open for reading
	}
	advice := pick(d.rng, []int{unix.MADV_NORMAL, unix.MADV_RANDOM, unix.MADV_SEQUENTIAL, unix.MADV_WILLNEED})
	backwards := d.one(3)
	return operation{
		what: fmt.Sprintf("mmap(%q, %d bytes at %d, prot %#x, flags %#x, advice %d, backwards %v)", p, n, off, prot, share, advice, backwards),
		do: func(s *side) answer {
			return s.opened(p, unix.O_RDONLY, func(fd int) answer {
				b, err := unix.Mmap(fd, off, n, prot, share)
				if err != nil {
					return failed(err)
				}
				defer unix.Munmap(b)
				if err := unix.Madvise(b, advice); err != nil {
					return failed(err)
				}
				return look(b, backwards, prot&unix.PROT_WRITE != 0)
			})
		},
	}
}

// look copies the pages of a mapping that are there and says which are not.
func look(b []byte, backwards, write bool) answer {
	out := make([]byte, 0, len(b))
	var faults []int
	pages := (len(b) + page - 1) / page
	for i := range pages {
		if backwards {
			i = pages - 1 - i
		}
		pg := b[i*page : min(len(b), (i+1)*page)]
		if !there(pg, write) {
			faults = append(faults, i)
			continue
		}
		out = append(out, pg...)
	}
	return answer{fmt.Sprintf("faults %v", faults), out}
}

// there touches a page and reports whether it could.
func there(pg []byte, write bool) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	if write {
		pg[0] ^= 0xff
		pg[0] ^= 0xff
	}
	touched += pg[0]
	return true
}

var touched byte // keeps the compiler from skipping the touch

// send moves bytes to a file in memory, by sendfile, splice or
// copy_file_range.
func (d *drawer) send() operation {
	t := d.file()
	off, n := max(0, d.offset(t.size)), d.length()
	how := pick(d.rng, []string{"sendfile", "splice", "copy_file_range"})
	return operation{
		what: fmt.Sprintf("%s(%q, %d bytes at %d)", how, t.path, n, off),
		do: func(s *side) answer {
			return s.opened(t.path, unix.O_RDONLY, func(fd int) answer {
				off := off // moved on by the calls
				switch how {
				case "splice":
					return splice(fd, off, min(n, 4*chunk))
				case "sendfile":
					return toMemory(func(mem int) (int, error) { return unix.Sendfile(mem, fd, &off, n) })
				default:
					return toMemory(func(mem int) (int, error) { return unix.CopyFileRange(fd, &off, mem, nil, n, 0) })
				}
			})
		},
	}
}

// toMemory has move write to a file in memory and reads what came.
func toMemory(move func(mem int) (int, error)) answer {
	mem, err := unix.MemfdCreate("oracle", unix.MFD_CLOEXEC)
	if err != nil {
		return failed(err)
	}
	defer unix.Close(mem)
	n, err := move(mem)
	if err != nil {
		return failed(err)
	}
	b := make([]byte, n)
	n, err = unix.Pread(mem, b, 0)
	return got(b, n, err)
}

// splice moves n bytes, which a pipe must have room for, through a pipe.
func splice(fd int, off int64, n int) answer {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return failed(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	var all []byte
	b := make([]byte, n)
	for len(all) < n { // it may stop early at what is not in memory
		moved, err := unix.Splice(fd, &off, pipe[1], nil, n-len(all), 0)
		if err != nil {
			return failed(err)
		}
		if moved == 0 {
			break
		}
		got, err := unix.Read(pipe[0], b[:moved])
		if err != nil {
			return failed(err)
		}
		all = append(all, b[:got]...)
	}
	return answer{fmt.Sprint(len(all)), all}
}

// advise tells the kernel what will be read, or to forget what was.
func (d *drawer) advise() operation {
	t := d.file()
	p := d.path(unix.S_IFREG)
	off, n := max(0, d.offset(t.size)), d.length()
	how := d.rng.IntN(7)
	return operation{
		what: fmt.Sprintf("fadvise(%q, %d bytes at %d, advice %d), 6: readahead", p, n, off, how),
		do: func(s *side) answer {
			return s.opened(p, unix.O_RDONLY, func(fd int) answer {
				if how == 6 {
					_, _, e := unix.Syscall(unix.SYS_READAHEAD, uintptr(fd), uintptr(off), uintptr(n))
					return say("%v", e)
				}
				return outcome(unix.Fadvise(fd, off, int64(n), how))
			})
		},
	}
}
