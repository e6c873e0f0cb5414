// Command train trains a small network on a mounted dataset and on the same
// files in a local directory, and shows that the losses are the same, bit by
// bit, and how long both took.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed images.py
var imagesScript string

//go:embed train.py
var trainScript string

// python is Debian's: the packages are installed for it.
const python = "/usr/bin/python3"

var packages = []string{"python3", "python3-torch", "dataset-fashion-mnist"}

// room is how many bytes torch and what it needs take, with some to spare.
const room = 2 << 30

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: train FLOE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "demo-train:", err)
		os.Exit(1)
	}
}

func run(floe string) (err error) {
	floe, err = filepath.Abs(floe)
	if err != nil {
		return err
	}
	if err := install(); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "floe-train-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	t := &training{floe: floe, tmp: tmp}
	return t.run()
}

// install installs the packages, about 200 MB to download, if they are
// missing.
func install() error {
	var fs unix.Statfs_t
	if err := unix.Statfs("/usr", &fs); err != nil {
		return err
	}
	if _, err := os.Stat("/usr/share/datasets/fashion-mnist"); err != nil && int64(fs.Bavail)*fs.Bsize < room {
		return fmt.Errorf("torch needs %d GiB of disk space in /usr, and there are %d MiB", room>>30, int64(fs.Bavail)*fs.Bsize>>20)
	}
	fmt.Println("Debian packages needed, installed as root if missing:", strings.Join(packages, " "))
	cmd := exec.Command("tests/deps.sh", packages...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// A training is one run, in a directory of its own.
type training struct {
	floe, tmp string
}

func (t *training) path(name string) string { return filepath.Join(t.tmp, name) }

func (t *training) run() (err error) {
	local, mnt := t.path("images"), t.path("mount")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		return err
	}
	began := time.Now()
	n, err := t.output(python, "-c", imagesScript, local)
	if err != nil {
		return err
	}
	tell("write", "%s images, one file each, in %s", n, since(began))
	began = time.Now()
	id, err := t.output(t.floe, "put", "--quiet", local)
	if err != nil {
		return err
	}
	tell("floe put", "%s in %s", id, since(began))
	if _, err := t.output(t.floe, "mount", id, mnt); err != nil {
		return err
	}
	defer func() {
		_, e := t.output(t.floe, "umount", mnt)
		err = errors.Join(err, e)
	}()

	var results []*result
	for _, x := range []struct{ where, dir string }{{"the mount", mnt}, {"local files", local}} {
		caches := "caches not dropped: that takes root"
		if os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0) == nil {
			caches = "the kernel's caches dropped before"
		}
		for _, caches := range []string{caches, "once more, caches warm"} {
			r, err := t.train(x.dir)
			if err != nil {
				return fmt.Errorf("training on %s: %w", x.where, err)
			}
			tell("train", "on %-11s %6.2f s, last loss %.6f, accuracy %.1f %%, %s", x.where, r.Seconds, r.Last, 100*r.Accuracy, caches)
			results = append(results, r)
		}
	}
	for _, r := range results[1:] {
		if err := same(results[0], r); err != nil {
			return err
		}
	}
	cold, warm := results[0].Seconds/results[2].Seconds, results[1].Seconds/results[3].Seconds
	tell("same", "all %d losses are equal each time, bit by bit; the mount took %.2f times as long as local files, warm %.2f times", len(results[0].Losses), cold, warm)
	return nil
}

// A result is what train.py prints.
type result struct {
	Images, Classes int
	Listed, Seconds float64
	Losses          []string // of every batch, as hexadecimal floats
	Last            float64
	Accuracy        float64
}

func (t *training) train(dir string) (*result, error) {
	out, err := t.output(python, "-c", trainScript, dir)
	if err != nil {
		return nil, err
	}
	var r result
	return &r, json.Unmarshal([]byte(out), &r)
}

// same checks that two trainings were the same.
func same(a, b *result) error {
	for _, r := range []*result{a, b} {
		if r.Images != 60_000 || r.Classes != 10 || len(r.Losses) != 469 {
			return fmt.Errorf("trained on %d images of %d classes in %d batches, want 60000 of 10 in 469", r.Images, r.Classes, len(r.Losses))
		}
	}
	for i := range a.Losses {
		if a.Losses[i] != b.Losses[i] {
			return fmt.Errorf("the losses differ from batch %d on: %s and %s", i, a.Losses[i], b.Losses[i])
		}
	}
	return nil
}

// output runs a program and returns what it printed.
func (t *training) output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(),
		"FLOE_STORE=dir:"+t.path("store"), "FLOE_CACHE_DIR="+t.path("cache"),
		"XDG_DATA_HOME="+t.path("data"), "XDG_STATE_HOME="+t.path("state"),
		"XDG_RUNTIME_DIR="+t.path("run"), "XDG_CONFIG_HOME="+t.path("config"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

func tell(step, format string, args ...any) {
	fmt.Printf("  %-9s %s\n", step, fmt.Sprintf(format, args...))
}

func since(t time.Time) string { return time.Since(t).Round(10 * time.Millisecond).String() }
