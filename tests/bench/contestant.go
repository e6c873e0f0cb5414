package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/floefs/floe/tests/bench/result"
)

// A contestant is a way to have a set below a directory.
type contestant struct {
	name   string
	about  string
	ours   bool // it must not fail
	states []result.State
	need   []string // programs
	show   func(ctx context.Context, st *stage) (*view, error)
}

var (
	near = []result.State{result.Warm, result.Dropped} // has no cache of its own
	far  = []result.State{result.Cold}                 // is like another when its cache is full
	all  = []result.State{result.Warm, result.Dropped, result.Cold}
)

// contestants are in the order of the tables.
var contestants = []contestant{
	{name: result.Native, about: "the directory itself", ours: true, states: near, show: native},
	{name: "floe-dir", about: "Floe, a store in a directory of the same disk, read in place", ours: true, states: near, show: floeDir},
	{name: "floe", about: "Floe, ten nodes over HTTP", ours: true, states: all, show: floeNodes(route{name: "floe"})},
	{name: "floe+dead", about: "the same with f of n shards dead", ours: true, states: far, show: floeNodes(route{name: "floe+dead", dead: true})},
	{name: "floe+net", about: "the same over a network: see -round-trip and -bandwidth", ours: true, states: far, show: floeNodes(route{name: "floe+net", slow: true})},
	{name: "floe+net+dead", about: "the same with f of n shards dead", ours: true, states: far, show: floeNodes(route{name: "floe+net+dead", slow: true, dead: true})},
	{name: "squashfs", about: "a squashfs image without compression, mounted by the kernel", states: near, need: []string{"mksquashfs"}, show: squashfs},
	{name: "squashfuse", about: "the same image, mounted by squashfuse", states: near, need: []string{"mksquashfs", "squashfuse"}, show: squashfuse},
	{name: "erofs", about: "an EROFS image without compression, mounted by the kernel", states: near, need: []string{"mkfs.erofs"}, show: erofs},
	{name: "s3fs", about: "s3fs with its cache on the same disk, from an S3 server", states: all, need: []string{"s3fs", "versitygw"}, show: s3fs(false)},
	{name: "s3fs+net", about: "the same over a network with the bandwidth of ten nodes", states: far, need: []string{"s3fs", "versitygw"}, show: s3fs(true)},
	{name: "rclone", about: "rclone mount with its cache on the same disk, from an S3 server", states: all, need: []string{"rclone", "versitygw", "fusermount3"}, show: rclone(false)},
	{name: "rclone+net", about: "the same over a network with the bandwidth of ten nodes", states: far, need: []string{"rclone", "versitygw", "fusermount3"}, show: rclone(true)},
}

func native(_ context.Context, st *stage) (*view, error) {
	return &view{dir: st.source}, nil
}

// missing says why the contestant cannot take part, if it cannot.
func (c contestant) missing(b *bench) string {
	for _, name := range c.need {
		if _, err := b.find(name); err != nil {
			return name + " is not installed: make bench-peers"
		}
	}
	return ""
}

// find returns where a program is: in bin/peers, or on the path.
func (b *bench) find(name string) (string, error) {
	if p := filepath.Join(b.peers, name); isProgram(p) {
		return p, nil
	}
	return exec.LookPath(name)
}

func isProgram(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode()&0o111 != 0
}

// choose returns the contestants named; all if none is.
func choose(names []string) ([]contestant, error) {
	if len(names) == 0 {
		return contestants, nil
	}
	var chosen []contestant
	for _, c := range contestants {
		if slices.Contains(names, c.name) {
			chosen = append(chosen, c)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(contestants, func(c contestant) bool { return c.name == n }) {
			return nil, fmt.Errorf("there is no contestant %q: bench -list shows them", n)
		}
	}
	return chosen, nil
}
