package workload

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapped maps a whole file while do runs. advice is what the program gives
// madvise(2).
func (r *run) mapped(f File, advice int, do func(m []byte) error) error {
	fd, err := r.open(f)
	if err != nil {
		return err
	}
	m, err := unix.Mmap(fd, 0, int(f.Size), unix.PROT_READ, unix.MAP_SHARED)
	unix.Close(fd)
	if err != nil {
		return &os.PathError{Op: "mmap", Path: f.Path, Err: err}
	}
	defer unix.Munmap(m)
	if err := unix.Madvise(m, advice); err != nil {
		return &os.PathError{Op: "madvise", Path: f.Path, Err: err}
	}
	return do(m)
}

// copied copies n bytes of a mapped file out, as a program does that puts them
// on a device.
func (w *worker) copied(m []byte, f File, off int64, n int) error {
	for n > 0 {
		k := copy(w.buf[:min(n, len(w.buf))], m[off:])
		w.asked += int64(k)
		if w.check {
			if err := f.same(w.buf[:k], off, w.spare); err != nil {
				return err
			}
		}
		off, n = off+int64(k), n-k
	}
	return nil
}

const page = 4 << 10

// touch reads one byte of a page of a mapped file; all of it to check it. The
// page counts as asked for.
func (w *worker) touch(m []byte, f File, number int64) error {
	off := number * page
	if w.check {
		return w.copied(m, f, off, int(min(page, f.Size-off)))
	}
	w.sum += m[off]
	w.asked += min(page, f.Size-off)
	return nil
}
