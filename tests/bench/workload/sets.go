package workload

import (
	"iter"
	"math"
	"math/rand/v2"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// sets are in the order in which they are read. The sizes below are those of
// a full run.
var sets = []*Set{
	{"bigfile", "one file of 1 GiB", func(s Scale) iter.Seq[File] {
		return one("big", max(4*mib, int64(float64(s)*1024)*mib))
	}},
	{"smallfiles", "100,000 files of 4 to 16 KiB in 100 directories", func(s Scale) iter.Seq[File] {
		n, _ := s.of(100_000, 200)
		return inDirs(n, 1000, func(rng *rand.Rand) int64 { return 4*kib + rng.Int64N(12*kib) })
	}},
	{"flatdir", "100,000 empty files in one directory", func(s Scale) iter.Seq[File] {
		n, _ := s.of(100_000, 200)
		return inOne("flat", n, always(0))
	}},
	{"milliontree", "1,000,000 empty files in 1,000 directories, and 200 of 1 MiB", func(s Scale) iter.Seq[File] {
		n, _ := s.of(1_000_000, 1000)
		large, part := s.of(200, 8)
		return both(inDirs(n, 1000, always(0)), inOne("open", min(large, 200), always(portion(mib, part))))
	}},
	{"sourcecode", "20,000 files of text of about 15 KiB", func(s Scale) iter.Seq[File] {
		n, _ := s.of(20_000, 40)
		return func(yield func(File) bool) {
			for f := range inDirs(n, 200, func(rng *rand.Rand) int64 { return 5*kib + rng.Int64N(20*kib) }) {
				if f.text = true; !yield(f) {
					return
				}
			}
		}
	}},
	{"unet3d", "W1: 70 files of 14.7 MB, deviation 6.8 MB", func(s Scale) iter.Seq[File] {
		n, part := s.of(70, 4)
		return inOne("", n, func(rng *rand.Rand) int64 {
			return portion(int64(max(1e6, 14.7e6+6.8e6*rng.NormFloat64())), part)
		})
	}},
	{"resnet50", "W2: 16 files of 500 records of 114,660 bytes", func(s Scale) iter.Seq[File] {
		// Of 64 files of 1,251 records the card has, a tenth in fewer files of
		// fewer records, so that each of eight readers has two.
		n := min(64, max(16, int(math.Round(64*float64(s)/10))))
		records := max(4, int(math.Round(64*1251*float64(s)/10/float64(n))))
		return inOne("", n, always(int64(records)*resnetRecord))
	}},
	{"cosmoflow", "W3: 350 files of 2.83 MB", func(s Scale) iter.Seq[File] {
		n, part := s.of(350, 4)
		return inOne("", n, func(rng *rand.Rand) int64 { return portion(int64(2.83e6+71e3*rng.NormFloat64()), part) })
	}},
	{"imagefolder", "W4: 5,000 files of about 110 kB in 100 directories", func(s Scale) iter.Seq[File] {
		n, part := s.of(5000, 40)
		return inDirs(n, 50, func(rng *rand.Rand) int64 {
			const mean, sigma = 110e3, 0.5 // log-normal
			return portion(int64(mean*math.Exp(sigma*rng.NormFloat64()-sigma*sigma/2)), part)
		})
	}},
	{"webdataset", "W5: 8 tars of 100 MiB", func(s Scale) iter.Seq[File] {
		return inOne("", 8, always(max(256*kib, int64(100*mib*float64(s)))))
	}},
	{"safetensors", "W6: 4 shards of 100 MiB, 300 tensors", func(s Scale) iter.Seq[File] {
		return inOne("", 4, always(max(mib, int64(100*mib*float64(s)))))
	}},
	{"gguf", "W7: one file of 300 MiB", func(s Scale) iter.Seq[File] {
		return one("model.gguf", max(mib, int64(300*mib*float64(s))))
	}},
	{"parquet", "W8: 4 files of 100 MB, 20 row groups, 30 columns", func(s Scale) iter.Seq[File] {
		n, part := s.of(4, 4) // a tenth of the bytes of 20 files of 200 MB
		return inOne("", n, always(max(600*kib, int64(100e6*part))))
	}},
	{"tokens", "W9: one file of 800 MiB", func(s Scale) iter.Seq[File] {
		return one("train.bin", max(mib, int64(800*mib*float64(s))))
	}},
}
