package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/floefs/floe/tests/bench/result"
	"github.com/floefs/floe/tests/bench/workload"
)

// floeEnv keeps floe from seeing anything of the user's.
func (st *stage) floeEnv() []string {
	return []string{"HOME=" + st.path("home"), "XDG_RUNTIME_DIR=" + st.path("run"), "FLOE_STORE=dir:" + st.path("store"),
		"XDG_DATA_HOME=" + st.path("home"), "XDG_STATE_HOME=" + st.path("home"), "XDG_CONFIG_HOME=" + st.path("home"), "XDG_CACHE_HOME=" + st.path("home")}
}

// floeView mounts a dataset from a place.
func (st *stage) floeView(name, id, from string) *view {
	v := &view{dir: st.path("mnt-" + name), caches: []string{st.path("cache-" + name)}}
	v.mount = func(context.Context) (*process, error) {
		return start(st.path(name+".log"), st.floeEnv(), st.bench.floe, "mount", "-f", "--from", from, "--cache-dir", v.caches[0], id, v.dir)
	}
	v.fetched = func(ctx context.Context) (int64, error) {
		out, err := run(ctx, st.floeEnv(), st.bench.floe, "status", "--json", v.dir)
		if err != nil {
			return 0, err
		}
		var status struct {
			Nodes []struct{ Bytes int64 }
		}
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			return 0, fmt.Errorf("floe status: %w", err)
		}
		var n int64
		for _, node := range status.Nodes {
			n += node.Bytes
		}
		return n, nil
	}
	return v
}

// put publishes the set and notes how fast that was.
func (b *bench) put(ctx context.Context, st *stage, name, to string) (id string, err error) {
	if err := b.dropCaches(); err != nil {
		return "", err
	}
	cpu, began := machineCPU(), time.Now()
	id, err = run(ctx, st.floeEnv(), b.floe, "put", "--quiet", "--to", to, st.source)
	if err != nil {
		return "", err
	}
	took := time.Since(began).Seconds()
	r := result.Run{Workload: result.Put + st.set.Name, Contestant: name, State: result.Once, Repeat: 1, Unit: "MB/s", MachineCPU: machineCPU() - cpu}
	r.Outcome = workload.Outcome{Seconds: took, Ops: 1, Bytes: st.bytes, Rate: float64(st.bytes) / 1e6 / took}
	b.say("%-18s %-8s %-14s 1  %12.1f MB/s", r.Workload, r.State, name, r.Rate)
	return id, b.write(result.Line{Run: &r})
}

// floeDir is a store on the set's own disk.
func floeDir(ctx context.Context, st *stage) (*view, error) {
	id, err := st.bench.put(ctx, st, "floe-dir", "dir:"+st.path("store"))
	if err != nil {
		return nil, err
	}
	return st.floeView("floe-dir", id, "dir:"+st.path("store")), nil
}
