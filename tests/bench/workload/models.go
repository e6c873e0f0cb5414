package workload

import (
	"math/rand/v2"

	"golang.org/x/sys/unix"
)

// A tensor is where one lies in a file. They fill it, after its header.
type tensor struct{ off, size int64 }

// tensors lays 75 tensors out in a file, of sizes as models have them: many
// that are small, some that are large.
func tensors(f File) []tensor {
	const n, header = 75, 8 * kib
	rng := rand.New(rand.NewPCG(f.seed, 2))
	var weights [n]float64
	sum := 0.0
	for i := range weights {
		weights[i] = rng.ExpFloat64()
		sum += weights[i]
	}
	all := make([]tensor, n)
	off := int64(header)
	for i := range all {
		size := int64(float64(f.Size-header) * weights[i] / sum)
		if i == n-1 {
			size = f.Size - off
		}
		all[i] = tensor{off, size}
		off += size
	}
	return all
}

// safetensorsMmap loads the shards one after the other, the tensors of each in
// the order of the program's own dictionary, which is none.
func safetensorsMmap(r *run) error {
	return r.shards(func(t tensor) tensor { return t })
}

// safetensorsSlice loads what the third of four devices needs of each tensor.
func safetensorsSlice(r *run) error {
	return r.shards(func(t tensor) tensor { return tensor{t.off + t.size/2, t.size / 4} })
}

func (r *run) shards(part func(tensor) tensor) error {
	files := r.files()
	r.start()
	for _, f := range files {
		all := tensors(f)
		r.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		err := r.mapped(f, unix.MADV_NORMAL, func(m []byte) error {
			return r.each(1, 1+len(all), func(w *worker, i int) error {
				if i == 0 {
					return w.copied(m, f, 0, 8*kib) // the header
				}
				t := part(all[i-1])
				return w.copied(m, f, t.off, int(t.size))
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func safetensorsRead(r *run) error {
	files := r.files()
	return r.each(1, len(files), func(w *worker, i int) error { return w.whole(files[i], mib) })
}

// gguf touches every page in order, as llama.cpp does when it puts a model on
// a device.
func gguf(advice int) func(*run) error {
	return func(r *run) error {
		f := r.files()[0]
		return r.mapped(f, advice, func(m []byte) error {
			return r.each(1, int((f.Size+64*kib-1)/(64*kib)), func(w *worker, i int) error {
				off := int64(i) * 64 * kib
				return w.copied(m, f, off, int(min(64*kib, f.Size-off)))
			})
		})
	}
}

// A parquet file has row groups of columns of the same length, and its footer
// at its end.
const (
	parquetGroups  = 20
	parquetColumns = 30
	parquetFooter  = 64 * kib
)

// parquet reads the footers of all files and then, in so many row groups, so
// many columns, each with one read as its reader does, of at most 1 MiB.
func parquet(groups, columns int) func(*run) error {
	return func(r *run) error {
		files := r.files()
		return r.each(1, len(files), func(w *worker, i int) error {
			f := files[i]
			fd, err := w.open(f)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := w.pread(fd, f, f.Size-8, 8); err != nil { // how long the footer is
				return err
			}
			if err := w.pread(fd, f, f.Size-parquetFooter, parquetFooter-8); err != nil {
				return err
			}
			chunk := (f.Size - parquetFooter) / (parquetGroups * parquetColumns)
			for g := range groups {
				for c := range columns {
					// The eighth row group if it is one; columns 5, 19 if they are two.
					at := int64((g+7)%parquetGroups*parquetColumns + (c*14+5)%parquetColumns)
					if columns == parquetColumns {
						at = int64((g+7)%parquetGroups*parquetColumns + c)
					}
					if err := w.pread(fd, f, at*chunk, int(chunk)); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
}

// tokens reads as nanoGPT does: np.memmap anew for each batch, which it does
// against a leak, then 64 slices of 256 tokens of two bytes, and the same one
// token later. It counts tokens of input.
func tokens(r *run) error {
	const batches, batch, length = 60, 64, 256
	f := r.files()[0]
	places := r.places(batches*batch, f.Size/2-length-1)
	return r.each(1, batches, func(w *worker, i int) error {
		w.done += batch*length - 1
		return w.mapped(f, unix.MADV_NORMAL, func(m []byte) error {
			for _, at := range places[i*batch : (i+1)*batch] {
				if err := w.copied(m, f, 2*at, 2*(length+1)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// tokens16 reads as Megatron does.
func tokens16(r *run) error {
	const n, record = 6000, 2 * kib
	f := r.files()[0]
	fd, err := r.open(f)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	places := r.places(n, f.Size/record)
	return r.each(16, n, func(w *worker, i int) error { return w.pread(fd, f, places[i]*record, record) })
}
