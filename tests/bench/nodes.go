package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/floefs/floe/tests/bench/slownet"
)

// The nodes hold 100 shards between them, the first three of ten as many as
// may be gone.
var shares = []int{11, 11, 11, 10, 10, 10, 10, 9, 9, 9}

const mortal = 3

// nodes is a committee on the loopback that holds the set.
type nodes struct {
	id     string
	all    []*process
	shards []string // of each node, as a committee file lists them
	at     []string // the address of each node
	slow   []string // of a relay to each, once there are
}

// A route says how a client reaches the nodes.
type route struct {
	name string
	dead bool // f of n shards
	slow bool // by the model of a network
}

// addresses returns where each node is by a route.
func (st *stage) addresses(r route) ([]string, error) {
	n := st.nodes
	at := slices.Clone(n.at)
	if r.slow {
		for _, to := range n.at[len(n.slow):] {
			relay, err := st.slow(to, 1)
			if err != nil {
				return nil, err
			}
			n.slow = append(n.slow, relay)
		}
		copy(at, n.slow)
	}
	if r.dead {
		for i := range mortal {
			at[i] = fmt.Sprintf("127.0.0.1:%d", 1+i) // nobody listens there
		}
	}
	return at, nil
}

// slow returns the address of a relay that is as slow as the network, with
// the bandwidth of so many nodes.
func (st *stage) slow(to string, nodes float64) (string, error) {
	m := st.bench.network
	m.Rate *= nodes
	relay, err := slownet.Listen(to, m)
	if err != nil {
		return "", err
	}
	st.atEnd(relay.Close)
	return relay.Addr(), nil
}

// floeNodes mounts from the committee, by a route.
func floeNodes(r route) func(ctx context.Context, st *stage) (*view, error) {
	return func(ctx context.Context, st *stage) (*view, error) {
		if st.nodes == nil {
			if err := st.startNodes(ctx); err != nil {
				return nil, err
			}
			committee, err := st.committee(route{name: "floe"})
			if err != nil {
				return nil, err
			}
			if st.nodes.id, err = st.bench.put(ctx, st, "floe", committee); err != nil {
				return nil, err
			}
		}
		committee, err := st.committee(r)
		if err != nil {
			return nil, err
		}
		v := st.floeView(r.name, st.nodes.id, committee)
		v.remote = st.nodes.all
		return v, nil
	}
}

// committee writes the file of the committee by a route.
func (st *stage) committee(r route) (string, error) {
	at, err := st.addresses(r)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintln(&b, "n_shards = 100")
	for i, shards := range st.nodes.shards {
		fmt.Fprintf(&b, "[[node]]\nname = \"n%d\"\nurl = \"http://%s\"\nshards = %q\n", i, at[i], shards)
	}
	file := st.path(r.name + ".toml")
	return file, os.WriteFile(file, []byte(b.String()), 0o644)
}

// startNodes deals the shards out, at random but always in the same way: the
// slivers that hold a blob's bytes as they are lie on neighbouring shards.
func (st *stage) startNodes(ctx context.Context) error {
	n := &nodes{}
	deal := rand.New(rand.NewPCG(3, 0)).Perm(100)
	for i, share := range shares {
		list := strings.Trim(strings.ReplaceAll(fmt.Sprint(deal[:share]), " ", ","), "[]")
		deal = deal[share:]
		address, err := freeAddress()
		if err != nil {
			return err
		}
		name := fmt.Sprintf("node-%d", i)
		p, err := start(st.path(name+".log"), st.floeEnv(), st.bench.floe, "node", "--store", "dir:"+st.path(name), "--listen", address, "--shards", list)
		if err != nil {
			return err
		}
		st.atEnd(p.stop)
		if err := p.until(ctx, "listen", func() bool { return listens(address) }); err != nil {
			return err
		}
		n.all, n.shards, n.at = append(n.all, p), append(n.shards, list), append(n.at, address)
	}
	st.nodes = n
	return nil
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
