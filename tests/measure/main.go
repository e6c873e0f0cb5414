// Command measure compares a Floe mount with the local file system it was put
// from: the same workloads on both, in turns, each several times, and prints
// the medians and their ratio. As root it drops the kernel's caches for the
// cold rows; the store lies on the same disk, and is read in place.
package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	rounds    = 3
	smallDirs = 100
	perDir    = 200
	bigBytes  = 1 << 30
	randoms   = 4000
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: measure FLOE SCRATCHDIR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

// A bench is one run, in a directory of its own.
type bench struct {
	floe, tmp string
	source    string // native
	mount     string
}

func run(floe, scratch string) (err error) {
	b := &bench{}
	if b.floe, err = filepath.Abs(floe); err != nil {
		return err
	}
	if b.tmp, err = os.MkdirTemp(scratch, "floe-measure-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.tmp)
	b.source, b.mount = filepath.Join(b.tmp, "source"), filepath.Join(b.tmp, "mnt")
	if err := os.Mkdir(b.mount, 0o755); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "writing 20,000 files of 4 to 64 KiB and one of 1 GiB")
	total, err := b.plant()
	if err != nil {
		return err
	}
	sync()
	began := time.Now()
	id, err := b.command("put", "--quiet", b.source)
	if err != nil {
		return err
	}
	took := time.Since(began)
	fmt.Printf("put %.2f GB in %.1f s: %.0f MB/s, durable\n\n", float64(total)/1e9, took.Seconds(), float64(total)/1e6/took.Seconds())
	if _, err := b.command("mount", id, b.mount); err != nil {
		return err
	}
	defer func() {
		if _, e := b.command("umount", b.mount); err == nil {
			err = e
		}
	}()
	return b.compare()
}

func (b *bench) command(args ...string) (string, error) {
	cmd := exec.Command(b.floe, args...)
	cmd.Env = append(os.Environ(), "FLOE_STORE=dir:"+filepath.Join(b.tmp, "store"), "FLOE_CACHE_DIR="+filepath.Join(b.tmp, "cache"),
		"XDG_DATA_HOME="+b.tmp, "XDG_STATE_HOME="+b.tmp, "XDG_RUNTIME_DIR="+b.tmp, "XDG_CONFIG_HOME="+b.tmp)
	out, err := cmd.Output()
	if e, ok := err.(*exec.ExitError); ok {
		err = fmt.Errorf("floe %s: %w\n%s", args[0], err, e.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// plant writes the data, which no one can compress or find twice.
func (b *bench) plant() (total int64, err error) {
	rng := rand.NewChaCha8([32]byte{1})
	sizes := rand.New(rand.NewPCG(1, 1))
	buf := make([]byte, 1<<20)
	for d := range smallDirs {
		dir := filepath.Join(b.source, "small", fmt.Sprintf("%03d", d))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return 0, err
		}
		for f := range perDir {
			n := 4096 + sizes.IntN(60<<10)
			rng.Read(buf[:n])
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d", f)), buf[:n], 0o644); err != nil {
				return 0, err
			}
			total += int64(n)
		}
	}
	f, err := os.Create(filepath.Join(b.source, "big"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for range bigBytes / len(buf) {
		rng.Read(buf)
		if _, err := f.Write(buf); err != nil {
			return 0, err
		}
	}
	return total + bigBytes, f.Sync()
}

// A workload returns how much it did; its unit is per second.
type workload struct {
	name, unit string
	cold       bool
	do         func(root string) (float64, error)
}

func (b *bench) compare() error {
	all := []workload{
		{"warm sequential", "MB/s", false, sequential},
		{"warm random 4 KiB", "reads/s", false, random4K},
		{"warm small files, open+read+close", "files/s", false, small},
		{"disk-cold sequential", "MB/s", true, sequential},
		{"disk-cold random 4 KiB", "reads/s", true, random4K},
		{"disk-cold small files", "files/s", true, small},
		{"cold ls -lR", "entries/s", true, list},
		{"cold find", "entries/s", true, find},
	}
	fmt.Printf("%-36s %12s %12s   %s\n", "", "native", "floe", "floe / native")
	for _, w := range all {
		if w.cold && os.Geteuid() != 0 {
			fmt.Printf("%-36s (needs root, to drop the kernel's caches)\n", w.name)
			continue
		}
		var rates [2][]float64
		for range rounds {
			for i, root := range []string{b.source, b.mount} {
				rate, err := measure(w, root)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", w.name, root, err)
				}
				rates[i] = append(rates[i], rate)
			}
		}
		native, floe := median(rates[0]), median(rates[1])
		fmt.Printf("%-36s %12.0f %12.0f   %.2f  %s\n", w.name, native, floe, floe/native, w.unit)
	}
	return nil
}

func measure(w workload, root string) (float64, error) {
	if w.cold {
		sync()
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
			return 0, err
		}
	} else if _, err := w.do(root); err != nil { // once to warm up
		return 0, err
	}
	began := time.Now()
	done, err := w.do(root)
	return done / time.Since(began).Seconds(), err
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func sync() { exec.Command("sync").Run() }

func sequential(root string) (float64, error) {
	f, err := os.Open(filepath.Join(root, "big"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return float64(n) / 1e6, err
}

func random4K(root string) (float64, error) {
	f, err := os.Open(filepath.Join(root, "big"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(2, 2))
	buf := make([]byte, 4096)
	for range randoms {
		if _, err := f.ReadAt(buf, rng.Int64N(bigBytes/4096)*4096); err != nil {
			return 0, err
		}
	}
	return randoms, nil
}

func small(root string) (float64, error) {
	buf := make([]byte, 1<<20)
	order := rand.New(rand.NewPCG(3, 3)).Perm(smallDirs * perDir)
	for _, i := range order {
		f, err := os.Open(filepath.Join(root, "small", fmt.Sprintf("%03d/%05d", i/perDir, i%perDir)))
		if err != nil {
			return 0, err
		}
		_, err = f.Read(buf)
		f.Close()
		if err != nil {
			return 0, err
		}
	}
	return float64(len(order)), nil
}

func list(root string) (float64, error) { return command("ls", "-lR", root) }
func find(root string) (float64, error) { return command("find", root) }

func command(args ...string) (float64, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout = io.Discard
	return smallDirs*(perDir+1) + 3, cmd.Run()
}
