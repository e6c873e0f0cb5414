package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
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
	r := result.Run{Workload: result.Put, Contestant: name, State: result.Dropped, Repeat: 1, Unit: "MB/s", MachineCPU: machineCPU() - cpu}
	r.Outcome = workload.Outcome{Seconds: took, Ops: 1, Bytes: st.bytes, Rate: float64(st.bytes) / 1e6 / took}
	b.say("%-18s %-8s %-14s 1  %12.1f MB/s", result.Put+" "+st.set.Name, "", name, r.Rate)
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

// The nodes hold 100 shards between them, the first three of ten as many as
// may be gone.
var shares = []int{11, 11, 11, 10, 10, 10, 10, 9, 9, 9}

const mortal = 3

// nodes is a committee on the loopback that holds the set.
type nodes struct {
	id     string
	all    []*process
	shards []string // of each node, as a committee file lists them
	urls   []string // of each node
}

// A route says how a client reaches each node.
type route struct {
	name string
	url  func(n *nodes, i int) string
}

var (
	direct = route{"floe", func(n *nodes, i int) string { return n.urls[i] }}
	dead   = route{"floe+dead", func(n *nodes, i int) string {
		if i < mortal {
			return fmt.Sprintf("http://127.0.0.1:%d", 1+i) // nobody listens there
		}
		return n.urls[i]
	}}
)

// floeNodes mounts from the committee, by a route.
func floeNodes(r route) func(ctx context.Context, st *stage) (*view, error) {
	return func(ctx context.Context, st *stage) (*view, error) {
		if st.nodes == nil {
			n, err := startNodes(ctx, st)
			if err != nil {
				return nil, err
			}
			committee, err := st.committee(n, direct)
			if err != nil {
				return nil, err
			}
			if n.id, err = st.bench.put(ctx, st, "floe", committee); err != nil {
				return nil, err
			}
			st.nodes = n
		}
		committee, err := st.committee(st.nodes, r)
		if err != nil {
			return nil, err
		}
		v := st.floeView(r.name, st.nodes.id, committee)
		v.remote = st.nodes.all
		return v, nil
	}
}

// committee writes a committee file.
func (st *stage) committee(n *nodes, r route) (string, error) {
	var b strings.Builder
	fmt.Fprintln(&b, "n_shards = 100")
	for i := range n.all {
		fmt.Fprintf(&b, "[[node]]\nname = \"n%d\"\nurl = %q\nshards = %q\n", i, r.url(n, i), n.shards[i])
	}
	file := st.path(r.name + ".toml")
	return file, os.WriteFile(file, []byte(b.String()), 0o644)
}

// startNodes deals the shards out, at random but always in the same way: the
// slivers that hold a blob's bytes as they are lie on neighbouring shards.
func startNodes(ctx context.Context, st *stage) (*nodes, error) {
	n := &nodes{}
	deal := rand.New(rand.NewPCG(3, 0)).Perm(100)
	for i, share := range shares {
		list := strings.Trim(strings.ReplaceAll(fmt.Sprint(deal[:share]), " ", ","), "[]")
		deal = deal[share:]
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		p, err := start(st.path(fmt.Sprintf("node-%d.log", i)), st.floeEnv(), st.bench.floe, "node", "--store", "dir:"+st.path(fmt.Sprintf("node-%d", i)),
			"--listen", address, "--shards", list)
		if err != nil {
			return nil, err
		}
		st.atEnd(p.stop)
		if err := p.until(ctx, "listen", func() bool { return listens(address) }); err != nil {
			return nil, err
		}
		n.all, n.shards, n.urls = append(n.all, p), append(n.shards, list), append(n.urls, "http://"+address)
	}
	return n, nil
}

// freeAddress returns an address of the loopback that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func listens(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
