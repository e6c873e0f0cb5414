package workload

import "golang.org/x/sys/unix"

// The cards W1-W9: how training and serving programs read, without what they
// compute. The rate of W1-W3 is also given as the number of accelerators it
// would keep busy.
var cards = []Workload{
	{Name: "unet3d", About: "W1: 4 readers, whole .npz files at random, 256 KiB at a time", Set: "unet3d", Unit: "samples/s", run: unet3d},
	{Name: "resnet50", About: "W2: 8 readers, each a TFRecord file in order, 256 KiB at a time", Set: "resnet50", Unit: "samples/s", run: resnet50},
	{Name: "cosmoflow", About: "W3: 4 readers, whole files of 2.83 MB at random, 256 KiB at a time", Set: "cosmoflow", Unit: "samples/s", run: cosmoflow},
	{Name: "imagefolder", About: "W4: 8 readers, whole images at random, 64 KiB at a time", Set: "imagefolder", Unit: "images/s", run: imagefolder},
	{Name: "webdataset", About: "W5: 4 readers, each a tar in order, 64 KiB at a time", Set: "webdataset", Unit: "MB/s", run: webdataset},
	{Name: "safetensors-mmap", About: "W6: tensors of mapped files in random order", Set: "safetensors", Unit: "MB/s", run: safetensorsMmap},
	{Name: "safetensors-read", About: "W6: the same files by read, 1 MiB at a time", Set: "safetensors", Unit: "MB/s", run: safetensorsRead},
	{Name: "safetensors-slice", About: "W6: a fourth of each tensor, as one of four devices maps it", Set: "safetensors", Unit: "MB/s", run: safetensorsSlice},
	{Name: "gguf", About: "W7: a mapped file page by page, MADV_NORMAL", Set: "gguf", Unit: "MB/s", run: gguf(unix.MADV_NORMAL)},
	{Name: "gguf-sequential", About: "W7: the same, MADV_SEQUENTIAL", Set: "gguf", Unit: "MB/s", run: gguf(unix.MADV_SEQUENTIAL)},
	{Name: "gguf-random", About: "W7: the same, MADV_RANDOM: 4 KiB faults, in order", Set: "gguf", Unit: "MB/s", run: gguf(unix.MADV_RANDOM)},
	{Name: "parquet-footer", About: "W8: the footers of all files", Set: "parquet", Unit: "files/s", run: parquet(0, 0)},
	{Name: "parquet-columns", About: "W8: 2 of 30 columns of all files", Set: "parquet", Unit: "MB/s", run: parquet(parquetGroups, 2)},
	{Name: "parquet-group", About: "W8: one of 20 row groups of all files", Set: "parquet", Unit: "MB/s", run: parquet(1, parquetColumns)},
	{Name: "tokens", About: "W9: 64 sequences of 256 tokens at random, from a memmap opened anew for each batch", Set: "tokens", Unit: "tokens/s", warm: sequential, run: tokens},
	{Name: "tokens-16", About: "W9: 16 readers, records of 2 KiB at random", Set: "tokens", Unit: "reads/s", warm: sequential, run: tokens16},
}

// The time an accelerator (H100) takes for a batch, as the cards say, makes
// what a rate can feed. CosmoFlow's is the card's for a small machine.
const (
	unet3dDemand    = 7 / 0.323   // samples a second
	resnetDemand    = 400 / 0.224 // samples a second
	cosmoflowDemand = 1 / 0.014   // samples a second

	resnetRecord = 114660
)

// unet3d reads as numpy does: what follows the last byte of data in a zip
// file, then all.
func unet3d(r *run) error {
	r.accelerators = 1 / unet3dDemand
	files := r.files()
	r.shuffle(files)
	return r.each(4, len(files), func(w *worker, i int) error {
		f := files[i]
		fd, err := w.open(f)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		const end = 22 + 64 // of a zip file: its directory of one entry
		if err := w.pread(fd, f, f.Size-end, end); err != nil {
			return err
		}
		return w.sequence(fd, f, 256*kib)
	})
}

func resnet50(r *run) error {
	r.accelerators = 1 / resnetDemand
	files := r.files()
	r.shuffle(files)
	return r.each(8, len(files), func(w *worker, i int) error {
		w.done += files[i].Size/resnetRecord - 1 // samples, of which each counts one
		return w.whole(files[i], 256*kib)
	})
}

func cosmoflow(r *run) error {
	r.accelerators = 1 / cosmoflowDemand
	files := r.files()
	r.shuffle(files)
	return r.each(4, len(files), func(w *worker, i int) error { return w.whole(files[i], 256*kib) })
}

func imagefolder(r *run) error {
	files := r.files()
	r.shuffle(files)
	return r.each(8, len(files), func(w *worker, i int) error { return w.whole(files[i], 64*kib) })
}

func webdataset(r *run) error {
	files := r.files()
	r.shuffle(files)
	return r.each(4, len(files), func(w *worker, i int) error { return w.whole(files[i], 64*kib) })
}
