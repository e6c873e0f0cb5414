package workload

import "golang.org/x/sys/unix"

// basic are the workloads of bigfile and smallfiles.
var basic = []Workload{
	{Name: "sequential", About: "one file from its beginning to its end, 1 MiB at a time", Set: "bigfile", Unit: "MB/s", run: sequential},
	{Name: "random-4k", About: "4,000 reads of 4 KiB at random places of one file", Set: "bigfile", Unit: "reads/s", warm: sequential,
		run: func(r *run) error { return random(r, 4*kib, 4000) }},
	{Name: "random-128k", About: "1,000 reads of 128 KiB at random places of one file", Set: "bigfile", Unit: "reads/s", warm: sequential,
		run: func(r *run) error { return random(r, 128*kib, 1000) }},
	{Name: "mmap-sequential", About: "one byte of each page of a mapped file, in order", Set: "bigfile", Unit: "MB/s", run: mmapSequential},
	{Name: "mmap-random", About: "4,000 pages of a mapped file at random, MADV_RANDOM", Set: "bigfile", Unit: "faults/s", warm: sequential,
		run: func(r *run) error { return mmapRandom(r, 1, 4000, unix.MADV_RANDOM) }},
	{Name: "mmap-64", About: "64 threads fault pages of a mapped file at random", Set: "bigfile", Unit: "faults/s", warm: sequential,
		run: func(r *run) error { return mmapRandom(r, 64, 8000, unix.MADV_NORMAL) }},
	{Name: "small", About: "open, read and close files of 4 to 16 KiB, at random", Set: "smallfiles", Unit: "files/s", run: small},
}

// sequential reads the first file of a set from beginning to end.
func sequential(r *run) error {
	f := r.files()[0]
	fd, err := r.open(f)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return r.each(1, int((f.Size+mib-1)/mib), func(w *worker, i int) error {
		off := int64(i) * mib
		return w.pread(fd, f, off, int(min(mib, f.Size-off)))
	})
}

// random reads n times size bytes, at multiples of size.
func random(r *run, size, n int) error {
	f := r.files()[0]
	fd, err := r.open(f)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	places := r.places(n, f.Size/int64(size))
	return r.each(1, n, func(w *worker, i int) error {
		return w.pread(fd, f, places[i]*int64(size), size)
	})
}

// places draws n numbers below limit.
func (r *run) places(n int, limit int64) []int64 {
	p := make([]int64, n)
	for i := range p {
		p[i] = r.rng.Int64N(limit)
	}
	return p
}

func mmapSequential(r *run) error {
	f := r.files()[0]
	const step = 256 // pages between looks at the clock
	pages := (f.Size + page - 1) / page
	return r.mapped(f, unix.MADV_NORMAL, func(m []byte) error {
		return r.each(1, int((pages+step-1)/step), func(w *worker, i int) error {
			for p := int64(i) * step; p < min(pages, int64(i+1)*step); p++ {
				if err := w.touch(m, f, p); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func mmapRandom(r *run, threads, n, advice int) error {
	f := r.files()[0]
	places := r.places(n, f.Size/page)
	return r.mapped(f, advice, func(m []byte) error {
		return r.each(threads, n, func(w *worker, i int) error { return w.touch(m, f, places[i]) })
	})
}

// small reads all files in an order of no help to anybody.
func small(r *run) error {
	files := r.files()
	r.shuffle(files)
	return r.each(1, len(files), func(w *worker, i int) error { return w.whole(files[i], 64*kib) })
}

func (r *run) shuffle(files []File) {
	r.rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
}
