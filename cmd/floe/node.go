package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/floefs/floe/engine/committee"
	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
)

var nodeCommand = command{
	name:     "node",
	group:    "serve",
	brief:    "serve a store to others, as a storage node",
	complete: "file",
	help: `Usage: floe node --store dir:PATH [--shards LIST] [FLAGS]

  floe node --store dir:/data/node --shards 0-24 --listen 10.0.0.1:9185
  floe node --store dir:/data/node --shards 0-24 --key node.key --name alpha

Speaks the HTTP API of Walrus storage nodes. Holds the slivers of its shards,
and stores nothing it has not proven. Prints its lines of the committee file,
and then serves until it is told to end. Whoever reaches it can read and store:
keep it behind a firewall if that should not be everybody.
`,
	new: func(f *flags) action {
		n := &nodeServer{}
		f.StringVar(&n.listen, "listen", "127.0.0.1:9185", "listen on `ADDRESS`; port 0 takes a free one")
		f.StringVar(&n.store, "store", "", "hold slivers in `PLACE`, dir:PATH; made if it is not there")
		f.StringVar(&n.shards, "shards", "", "hold the shards in `LIST`, as 0-24,99")
		f.otherwise("shards", "all")
		f.IntVar(&n.of, "n-shards", 100, "be one of a committee of `N` shards")
		f.Uint32Var(&n.epoch, "epoch", 0, "sign for epoch `N`")
		f.StringVar(&n.name, "name", "", "be called `NAME` in the committee file")
		f.otherwise("name", "its address")
		f.StringVar(&n.key, "key", "", "sign with the key in `FILE`, of floe keygen")
		f.otherwise("key", "none: sign nothing")
		f.StringVar(&n.tls.network, "network-key", "", "serve https with the key in `FILE`, of floe keygen --network")
		f.StringVar(&n.tls.cert, "tls-cert", "", "serve https with the certificate in `FILE`")
		f.StringVar(&n.tls.key, "tls-key", "", "and its key in `FILE`")
		f.BoolVar(&n.readOnly, "read-only", false, "store nothing")
		f.BoolVarP(&n.verbose, "verbose", "v", false, "log more")
		f.private("listen", "store", "shards", "n-shards", "epoch", "name", "key", "network-key", "tls-cert", "tls-key", "read-only", "verbose")
		return n.run
	},
}

type nodeServer struct {
	listen, store, shards, name, key string
	of                               int
	epoch                            uint32
	tls                              nodeTLS
	readOnly, verbose                bool
}

// nodeMemory is what the garbage collector keeps a node within.
const nodeMemory = 384 << 20

func (n *nodeServer) run(ctx context.Context, e *env, args []string) error {
	if len(args) > 0 {
		return usagef("floe node takes no arguments: --store names what it serves")
	}
	opts, err := n.options(e)
	if err != nil {
		return err
	}
	cert, err := n.tls.certificate(e)
	if err != nil {
		return err
	}
	kind, path, err := e.placeOf(n.store)
	if n.store == "" || err == nil && kind != dirScheme {
		return usagef("floe node needs a store in a directory: --store dir:PATH")
	}
	if err != nil {
		return err
	}
	limitHeap(e, nodeMemory)
	store, err := dir.Open(path, !n.readOnly)
	if err != nil {
		return err
	}
	lock, err := lockStore(store, false)
	if err != nil {
		return err
	}
	defer lock.release()
	handler, err := node.NewHandler(store, opts)
	if err != nil {
		return usagef("--n-shards, --shards: %w", err)
	}
	ln, err := net.Listen("tcp", n.listen)
	if err != nil {
		return fmt.Errorf("%w: --listen names another address", err)
	}
	if _, err := fmt.Fprint(e.stdout, n.stanza(ln.Addr(), opts.Key)); err != nil {
		ln.Close()
		return err
	}
	return node.Serve(ctx, ln, handler, &node.ServeOptions{Certificate: cert, Logger: opts.Logger})
}

func (n *nodeServer) options(e *env) (node.HandlerOptions, error) {
	level := slog.LevelWarn
	if n.verbose {
		level = slog.LevelDebug
	}
	o := node.HandlerOptions{
		N: n.of, Epoch: walrus.Epoch(n.epoch), ReadOnly: n.readOnly,
		Logger: slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level})),
	}
	if n.of < walrus.MinShards || n.of > walrus.MaxShards {
		return o, usagef("--n-shards %d: it can be %d to %d", n.of, walrus.MinShards, walrus.MaxShards)
	}
	if n.shards != "" {
		var err error
		if o.Shards, err = committee.ParseShards(n.shards, n.of); err != nil {
			return o, usagef("--shards: %w", err)
		}
	}
	if n.key == "" {
		return o, nil
	}
	text, err := readSecret(e.abs(n.key), "floe keygen")
	if err == nil {
		o.Key, err = walrus.ParsePrivateKey(text)
	}
	if err != nil {
		return o, fmt.Errorf("--key %s: %w", n.key, err)
	}
	return o, nil
}

// readSecret returns what the file of a key holds.
func readSecret(path, maker string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s %s makes it", fs.ErrNotExist, maker, path)
	}
	return string(data), err
}

// stanza returns the node's lines of a committee file.
func (n *nodeServer) stanza(addr net.Addr, key *walrus.PrivateKey) string {
	var b strings.Builder
	fmt.Fprintln(&b, "[[node]]")
	if n.name != "" {
		fmt.Fprintf(&b, "name = %q\n", n.name)
	}
	shards := n.shards
	if shards == "" {
		shards = fmt.Sprintf("0-%d", n.of-1)
	}
	fmt.Fprintf(&b, "url = %q\nshards = %q\n", n.tls.scheme()+"://"+reachable(addr), shards)
	if key != nil {
		fmt.Fprintln(&b, publicKeyLines(key))
	}
	if n.tls.pin != nil {
		fmt.Fprintln(&b, networkKeyLine(*n.tls.pin))
	}
	return b.String()
}

// reachable returns an address that others can be told: of a node that listens
// on all addresses, the machine's name.
func reachable(addr net.Addr) string {
	t, ok := addr.(*net.TCPAddr)
	if !ok || !t.IP.IsUnspecified() {
		return addr.String()
	}
	name, err := os.Hostname()
	if err != nil {
		return addr.String()
	}
	return net.JoinHostPort(name, fmt.Sprint(t.Port))
}
