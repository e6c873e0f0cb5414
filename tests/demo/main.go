// Command demo shows Floe's main job on real files: it puts a tree, mounts
// it, compares every byte and attribute, lets slivers rot within the
// tolerated number, drops every cache, compares again, and tells what
// happened. It needs no network; where nothing can be mounted it goes through
// floe cp and says what is missing for a mount.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/floefs/floe/tests/compare"
	"github.com/floefs/floe/tests/damage"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: demo FLOE DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

// A demo is one run: a store, a cache and a mount point in a directory of its
// own.
type demo struct {
	page
	floe, dir string
	tmp       string
	id        string
	mounted   bool
	mount     bool // whether mounting works here
}

func run(floe, dir string) (err error) {
	floe, err = filepath.Abs(floe)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "floe-demo-")
	if err != nil {
		return err
	}
	d := &demo{floe: floe, dir: dir, tmp: tmp}
	defer func() {
		if d.mounted {
			_, e := d.command("umount", d.path("mnt"))
			err = errors.Join(err, e)
		}
		if e := os.RemoveAll(tmp); err == nil {
			err = e
		}
	}()
	for _, n := range []string{"mnt", "copy"} {
		if err := os.Mkdir(d.path(n), 0o755); err != nil {
			return err
		}
	}
	d.title("Floe", "proven files from places nobody has to trust")
	for _, step := range []func() error{d.put, d.look, d.harm, d.lookAgain, d.repair, d.end} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) path(name string) string { return filepath.Join(d.tmp, name) }

// command runs floe and returns what it printed.
func (d *demo) command(args ...string) (string, error) {
	cmd := exec.Command(d.floe, args...)
	cmd.Env = append(os.Environ(),
		"FLOE_STORE=dir:"+d.path("store"), "FLOE_CACHE_DIR="+d.path("cache"),
		"XDG_DATA_HOME="+d.path("data"), "XDG_STATE_HOME="+d.path("state"),
		"XDG_RUNTIME_DIR="+d.path("run"), "XDG_CONFIG_HOME="+d.path("config"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("floe %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

func (d *demo) put() error {
	d.step("Put a directory", "floe put "+d.dir)
	start := time.Now()
	id, err := d.command("put", "--quiet", d.dir)
	if err != nil {
		return err
	}
	d.id = id
	d.fact("dataset id", id)
	d.fact("took", since(start))
	size, files, err := diskUse(d.path("store"))
	if err != nil {
		return err
	}
	d.fact("store", fmt.Sprintf("%s in %d files: slivers of erasure-coded blobs", bytesText(size), files))
	return nil
}

// look reads the dataset, through a mount if there can be one, and compares.
func (d *demo) look() error {
	if reason := cannotMount(); reason != "" {
		d.note("Nothing can be mounted here: " + reason + ". The same goes through floe cp.")
	} else {
		d.mount = true
	}
	return d.read("Read it back and compare")
}

func (d *demo) read(title string) error {
	at := d.path("mnt")
	if d.mount {
		d.step(title, "floe mount "+short(d.id)+" MNT; diff -r "+d.dir+" MNT")
		if _, err := d.command("mount", d.id, at); err != nil {
			return err
		}
		d.mounted = true
	} else {
		d.step(title, "floe cp "+short(d.id)+"/ COPY; diff -r "+d.dir+" COPY")
		at = d.path("copy")
		if err := os.RemoveAll(at); err != nil {
			return err
		}
		if _, err := d.command("cp", d.id+"/", at); err != nil {
			return err
		}
	}
	start := time.Now()
	r, err := compare.Trees(d.dir, at)
	if err != nil {
		return err
	}
	took := time.Since(start)
	d.fact("compared", fmt.Sprintf("%d files, %d directories, %d symlinks, %s, every byte and attribute", r.Files, r.Dirs, r.Symlinks, bytesText(r.Bytes)))
	d.fact("took", fmt.Sprintf("%s, %s/s", took.Round(10*time.Millisecond), bytesText(int64(float64(r.Bytes)/took.Seconds()))))
	if len(r.Differences) > 0 {
		for _, diff := range r.Differences[:min(10, len(r.Differences))] {
			d.note(diff)
		}
		return fmt.Errorf("%d differences", len(r.Differences))
	}
	d.good("no difference")
	return nil
}

// harm damages as much as may be damaged, and drops every cache.
func (d *demo) harm() error {
	d.step("Let disks rot and nodes die", "rm, truncate, flip and swap 6 of 40 slivers of every blob; drop every cache")
	if d.mounted {
		if _, err := d.command("umount", d.path("mnt")); err != nil {
			return err
		}
		d.mounted = false
	}
	seed := uint64(time.Now().UnixNano())
	c, err := damage.Store(d.path("store"), 6, rand.New(rand.NewPCG(seed, 0)))
	if err != nil {
		return err
	}
	d.fact("harmed", fmt.Sprintf("%d slivers of %d blobs: %d deleted, %d truncated, %d bits flipped, %d pairs swapped", c.Slivers(), c.Blobs, c.Deleted, c.Truncated, c.Flipped, c.Swapped))
	d.fact("and", fmt.Sprintf("a bit in one of the two copies of all %d metadata", c.Metadata))
	if err := os.RemoveAll(d.path("cache")); err != nil {
		return err
	}
	dropped := "the disk cache"
	if os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0) == nil {
		dropped += " and the kernel's caches"
	}
	d.fact("dropped", dropped)
	out, err := d.command("verify", d.id)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 4 {
		return fmt.Errorf("floe verify did not see the damage: %v\n%s", err, out)
	}
	d.fact("floe verify", "exit 4, sees the damage")
	return nil
}

func (d *demo) lookAgain() error { return d.read("Read it again: the same bytes, rebuilt") }

func (d *demo) repair() error {
	d.step("Heal the store", "floe repair "+short(d.id))
	start := time.Now()
	if _, err := d.command("repair", d.id); err != nil {
		return err
	}
	d.fact("took", since(start))
	if _, err := d.command("verify", "--deep", d.id); err != nil {
		return err
	}
	d.good("floe verify --deep: every sliver and every byte is right")
	return nil
}

func (d *demo) end() error {
	if d.mounted {
		d.mounted = false
		if _, err := d.command("umount", d.path("mnt")); err != nil {
			return err
		}
	}
	d.close("Every byte was proven against the id, before the damage and after it.",
		"Try it: bin/floe put DIR, then bin/floe mount ID MNT")
	return nil
}

// cannotMount says why nothing can be mounted here; "" if it can.
func cannotMount() string {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	f.Close()
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("fusermount3"); err != nil {
			return "fusermount3 is not installed (package fuse3)"
		}
	}
	return ""
}

func diskUse(root string) (size int64, files int, err error) {
	err = filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			size, files = size+fi.Size(), files+1
		}
		return err
	})
	return size, files, err
}
