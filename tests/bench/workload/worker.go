package workload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A worker is one thread that reads.
type worker struct {
	*run
	buf, spare []byte // of 1 MiB each; spare only for checking
	latencies  []time.Duration
	done       int64 // operations
	asked      int64 // bytes
	sum        byte  // of bytes that are only touched
}

// each lets workers, each a thread, do n things, the next in order when one is
// done. It starts the clock.
func (r *run) each(workers, n int, do func(w *worker, i int) error) error {
	crew := make([]*worker, workers)
	for i := range crew {
		w := &worker{run: r, buf: touched(mib)}
		if r.check {
			w.spare = touched(mib)
		}
		if r.Latency {
			w.latencies = make([]time.Duration, 0, n)
		}
		crew[i] = w
	}
	// A thread that waits for a page fault keeps its turn from others.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), workers+2)))
	r.start()
	var (
		next atomic.Int64
		errs = make([]error, workers)
		wg   sync.WaitGroup
	)
	for i, w := range crew {
		wg.Go(func() {
			runtime.LockOSThread()
			if errs[i] = w.work(&next, n, do); errs[i] != nil {
				next.Store(int64(n))
			}
		})
	}
	wg.Wait()
	for _, w := range crew {
		r.latencies = append(r.latencies, w.latencies...)
		r.ops, r.bytes = r.ops+w.done, r.bytes+w.asked
	}
	return errors.Join(errs...)
}

// work does things until none is left. A page that cannot be read is an error.
func (w *worker) work(next *atomic.Int64, n int, do func(w *worker, i int) error) (err error) {
	debug.SetPanicOnFault(true)
	defer func() {
		if p := recover(); p != nil {
			fault, ok := p.(interface {
				error
				Addr() uintptr
			})
			if !ok {
				panic(p)
			}
			err = fmt.Errorf("reading mapped memory: %w", fault)
		}
	}()
	for {
		i := next.Add(1) - 1
		if i >= int64(n) || w.over() {
			return nil
		}
		var began time.Time
		if w.Latency {
			began = time.Now()
		}
		if err := do(w, int(i)); err != nil {
			return err
		}
		w.done++
		if w.Latency {
			w.latencies = append(w.latencies, time.Since(began))
		}
	}
}

func touched(n int) []byte {
	p := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		p[i] = 1
	}
	return p
}

// open opens a file of the set. The reads are system calls with nothing of
// Go's between.
func (r *run) open(f File) (fd int, err error) {
	name := filepath.Join(r.Dir, f.Path)
	for {
		fd, err = unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// pread reads n bytes of f at off, at most 1 MiB.
func (w *worker) pread(fd int, f File, off int64, n int) error {
	p := w.buf[:n]
	for done := 0; done < n; {
		k, err := unix.Pread(fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return &os.PathError{Op: "read", Path: f.Path, Err: err}
		case k == 0:
			return fmt.Errorf("%w: %s ends at %d of %d bytes", ErrWrong, f.Path, off+int64(done), f.Size)
		default:
			done += k
		}
	}
	w.asked += int64(n)
	if w.check {
		return f.same(p, off, w.spare)
	}
	return nil
}

// whole opens a file, reads it to its end in blocks, and closes it.
func (w *worker) whole(f File, block int) error {
	fd, err := w.open(f)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return w.sequence(fd, f, block)
}

// sequence reads an open file to its end, as programs do that do not know
// where that is.
func (w *worker) sequence(fd int, f File, block int) error {
	for off := int64(0); off < f.Size; off += int64(block) {
		if err := w.pread(fd, f, off, int(min(int64(block), f.Size-off))); err != nil {
			return err
		}
	}
	return w.ended(fd, f)
}

// ended makes sure that nothing follows the last byte of a file.
func (w *worker) ended(fd int, f File) error {
	for {
		n, err := unix.Pread(fd, w.buf[:1], f.Size)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return &os.PathError{Op: "read", Path: f.Path, Err: err}
		case n > 0:
			return fmt.Errorf("%w: %s has more than %d bytes", ErrWrong, f.Path, f.Size)
		}
		return nil
	}
}
