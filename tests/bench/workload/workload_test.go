package workload

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const tiny Scale = 0.001

// written writes the set of a workload.
func written(t *testing.T, name string) string {
	t.Helper()
	set, err := SetNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := set.Write(dir, tiny); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEveryWorkloadReadsWhatWasWritten(t *testing.T) {
	dirs := map[string]string{}
	for _, w := range All() {
		if dirs[w.Set] == "" {
			dirs[w.Set] = written(t, w.Set)
		}
		var last Outcome
		for _, kind := range []Kind{Warm, Check, Time} {
			o, err := Pass{Workload: w.Name, Dir: dirs[w.Set], Scale: tiny, Seed: 3, Kind: kind, Latency: kind == Time}.Run()
			if err != nil {
				t.Fatalf("%s, %s: %v", w.Name, kind, err)
			}
			if o.Seconds <= 0 || o.Ops <= 0 || o.Rate <= 0 || o.Cut {
				t.Errorf("%s, %s: %+v", w.Name, kind, o)
			}
			if kind == Time && (o.Bytes != last.Bytes || o.Ops != last.Ops) {
				t.Errorf("%s: checked were %d operations and %d bytes, timed %d and %d", w.Name, last.Ops, last.Bytes, o.Ops, o.Bytes)
			}
			last = o
		}
	}
	if len(dirs) != len(sets) {
		t.Errorf("%d sets are read, and there are %d", len(dirs), len(sets))
	}
}

// A workload that reads a file whole finds any false byte in it; one that
// reads random places finds a file that is false everywhere.
func TestAFalseByteIsFound(t *testing.T) {
	whole := map[string]bool{"sequential": true, "mmap-sequential": true, "small": true, "grep": true, "unet3d": true, "resnet50": true,
		"cosmoflow": true, "imagefolder": true, "webdataset": true, "safetensors-mmap": true, "safetensors-read": true,
		"gguf": true, "gguf-sequential": true, "gguf-random": true}
	for _, w := range All() {
		set, _ := SetNamed(w.Set)
		dir := written(t, w.Set)
		harmed := 0
		for f := range set.Files(tiny) {
			if f.Size == 0 || whole[w.Name] && harmed == 1 {
				continue
			}
			harmed++
			name := filepath.Join(dir, f.Path)
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if whole[w.Name] {
				data[len(data)*2/3] ^= 1
			} else {
				data = bytes.Repeat([]byte{7}, len(data))
			}
			if err := os.WriteFile(name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if harmed == 0 || strings.HasPrefix(w.Name, "ls") || w.Name == "find" || w.Name == "million-find" {
			continue // only looks at names
		}
		for _, kind := range []Kind{Check, Warm} {
			if _, err := (Pass{Workload: w.Name, Dir: dir, Scale: tiny, Seed: 1, Kind: kind}).Run(); !errors.Is(err, ErrWrong) {
				t.Errorf("%s, %s, %d files false: %v", w.Name, kind, harmed, err)
			}
		}
	}
}

// Length is checked even when time is taken.
func TestAFileThatIsTooShortOrTooLongIsFound(t *testing.T) {
	dir := written(t, "smallfiles")
	set, _ := SetNamed("smallfiles")
	for f := range set.Files(tiny) {
		name := filepath.Join(dir, f.Path)
		for _, size := range []int64{f.Size - 1, f.Size + 1} {
			if err := os.Truncate(name, size); err != nil {
				t.Fatal(err)
			}
			if _, err := (Pass{Workload: "small", Dir: dir, Scale: tiny, Kind: Time}).Run(); !errors.Is(err, ErrWrong) {
				t.Errorf("%d bytes, not %d: %v", size, f.Size, err)
			}
		}
		break
	}
}

func TestAFalseNameIsFound(t *testing.T) {
	for _, w := range []string{"ls-lR", "find", "flat-ls", "million-find", "million-walk", "grep"} {
		named, _ := Named(w)
		set, _ := SetNamed(named.Set)
		for _, harm := range []func(name string) error{
			os.Remove,
			func(name string) error { return os.Rename(name, name+"x") },
			func(name string) error { return os.WriteFile(filepath.Join(filepath.Dir(name), "more"), nil, 0o644) },
		} {
			dir := written(t, named.Set)
			for f := range set.Files(tiny) {
				if err := harm(filepath.Join(dir, f.Path)); err != nil {
					t.Fatal(err)
				}
				break
			}
			if _, err := (Pass{Workload: w, Dir: dir, Scale: tiny, Kind: Check}).Run(); err == nil {
				t.Errorf("%s does not see that a name is false", w)
			}
		}
	}
}

// The same seed reads the same places, another one others.
func TestPlacesAreAFunctionOfTheSeed(t *testing.T) {
	places := func(seed uint64) string {
		var b bytes.Buffer
		for _, name := range []string{"random-4k", "tokens", "small"} {
			r := newRun(Pass{Workload: name, Seed: seed}, nil)
			for _, p := range r.places(8, 1<<20) {
				b.WriteByte(byte(p))
			}
		}
		return b.String()
	}
	first := places(1)
	if again := places(1); again != first || places(2) == first {
		t.Error("they are not")
	}
}

func TestALimitEndsAPassEarly(t *testing.T) {
	dir := written(t, "bigfile")
	o, err := Pass{Workload: "random-4k", Dir: dir, Scale: tiny, Kind: Time, Limit: 1}.Run()
	if err != nil || !o.Cut || o.Ops >= 4000 {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = Pass{Workload: "random-4k", Dir: dir, Scale: tiny, Kind: Time, Least: 50 * time.Millisecond}.Run()
	if err != nil || o.Cut || o.Ops <= 4000 || o.Ops%4000 != 0 {
		t.Errorf("%+v, %v", o, err)
	}
}

// What is said of the sets is what they are in a full run.
func TestSetsHaveTheSizesTheyAreSaidToHave(t *testing.T) {
	for _, want := range []struct {
		set    string
		files  int
		bytes  float64
		within float64
	}{
		{"bigfile", 1, 1 << 30, 0}, {"smallfiles", 100_000, 1.02e9, 0.01}, {"flatdir", 100_000, 0, 0},
		{"milliontree", 1_000_200, 200 << 20, 0}, {"sourcecode", 20_000, 3.07e8, 0.02}, {"unet3d", 70, 1.03e9, 0.15},
		{"resnet50", 16, 16 * 500 * resnetRecord, 0.001}, {"cosmoflow", 350, 350 * 2.83e6, 0.01}, {"imagefolder", 5000, 5000 * 110e3, 0.05},
		{"webdataset", 8, 8 * 100 << 20, 0}, {"safetensors", 4, 4 * 100 << 20, 0}, {"gguf", 1, 300 << 20, 0},
		{"parquet", 4, 4e8, 0}, {"tokens", 1, 800 << 20, 0},
	} {
		set, err := SetNamed(want.set)
		if err != nil {
			t.Fatal(err)
		}
		n, total := 0, int64(0)
		for f := range set.Files(1) {
			n, total = n+1, total+f.Size
		}
		if n != want.files || float64(total) < want.bytes*(1-want.within) || float64(total) > want.bytes*(1+want.within) {
			t.Errorf("%s has %d files of %d bytes, not %d of %.0f", want.set, n, total, want.files, want.bytes)
		}
	}
}

// Any range of a file is the same as that part of all of it.
func TestContentCanBeHadFromAnywhere(t *testing.T) {
	f := File{Path: "x", Size: 1000, seed: seedOf("x")}
	all := make([]byte, f.Size)
	f.fill(all, 0)
	for off := range int64(40) {
		for n := range 40 {
			p := make([]byte, n)
			if f.fill(p, off); !bytes.Equal(p, all[off:int(off)+n]) {
				t.Fatalf("%d bytes at %d differ", n, off)
			}
		}
	}
}

// Tensors and columns lie in their files and do not overlap.
func TestTensorsFillTheirFile(t *testing.T) {
	f := File{Size: 100 * mib, seed: 5}
	at := int64(8 * kib)
	for _, x := range tensors(f) {
		if x.off != at || x.size < 0 {
			t.Fatalf("a tensor of %d bytes lies at %d, not at %d", x.size, x.off, at)
		}
		at += x.size
	}
	if at != f.Size {
		t.Errorf("tensors end at %d of %d", at, f.Size)
	}
}
