package flip

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/cachestore"
	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/fs"
	"github.com/floefs/floe/tests/world"
)

// serverVariable makes the test binary a server of mounts: whoever reads a
// mount must not be the process that serves it.
const serverVariable = "FLOE_FLIP_SERVER"

// An order tells the server to mount, or without an ID to unmount.
type order struct {
	ID                walrus.BlobID
	Shards            int
	Store, Cache, Mnt string // Cache is empty if there is none
}

// An answer says how that went. That of an unmount says what it has cost.
type answer struct {
	Error string
	cost
}

// serve obeys orders until there are no more.
func serve(in io.Reader, out io.Writer) {
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if orders.Decode(&o) != nil {
			return
		}
		m, err := o.mount()
		if err != nil {
			answers.Encode(answer{Error: err.Error()})
			m.close()
			continue
		}
		answers.Encode(answer{})
		orders.Decode(&o)
		a := answer{}
		if err := m.server.Unmount(false); err != nil {
			a.Error = err.Error()
			m.server.Unmount(true)
		}
		a.cost = m.close()
		a.Asked, a.Decoded = m.meter.Asked(), m.meter.Decoded(o.Shards)
		answers.Encode(a)
	}
}

// A mounted is a mount and what it reads from.
type mounted struct {
	meter  *world.Meter
	cache  *cachestore.Store
	engine *engine.Engine
	server *fs.Server
}

func (o order) mount() (m mounted, err error) {
	store, err := dir.Open(o.Store, false)
	if err != nil {
		return m, err
	}
	var c engine.Cache
	if o.Cache != "" {
		if m.cache, err = cachestore.Open(o.Cache, nil); err != nil {
			return m, err
		}
		c = m.cache
	}
	m.meter = world.NewMeter(store)
	m.engine = engine.New(m.meter.Client(), c, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ds, err := m.engine.Open(ctx, o.ID)
	if err != nil {
		return m, err
	}
	m.server, err = fs.Mount(ctx, o.Mnt, ds, &fs.Options{ReadTimeout: 30 * time.Second})
	return m, err
}

func (m mounted) close() (c cost) {
	if m.engine != nil {
		m.engine.Close()
	}
	if m.cache != nil {
		c.Rebuilt = m.cache.Stats().Rebuilt
		m.cache.Close()
	}
	return c
}

// A server is a process that mounts.
type server struct {
	mnt     string
	orders  *json.Encoder
	answers *json.Decoder
}

func newServer(t *testing.T, w *bench) *server {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), serverVariable+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{mnt: filepath.Join(w.Dir, "mnt"), orders: json.NewEncoder(in), answers: json.NewDecoder(out)}
	t.Cleanup(func() {
		unix.Unmount(s.mnt, unix.MNT_DETACH) // if a test has failed in the middle
		in.Close()
		cmd.Wait()
	})
	if err := os.Mkdir(s.mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// tell gives an order and waits for the answer.
func (s *server) tell(o order) (cost, error) {
	var a answer
	err := s.orders.Encode(o)
	if err == nil {
		err = s.answers.Decode(&a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	return a.cost, err
}

// runMounted is run through a mount, of whose server this process is none.
func (r *round) runMounted(s *server) (o outcome, err error) {
	defer func() {
		if e := r.restore(); err == nil {
			err = e
		}
	}()
	if err := r.prepare(); err != nil {
		return 0, err
	}
	mount := order{ID: r.ID, Shards: r.shards, Store: r.Store.Path(), Mnt: s.mnt}
	if r.cached {
		mount.Cache = r.cacheDir
	}
	_, err = s.tell(mount)
	switch {
	case r.refused(err):
		return clearError, nil
	case err != nil && r.wear == ruined && r.namesBlob(err):
		return clearError, nil
	case err != nil:
		return 0, err
	}
	failed, err := r.readMounted(s.mnt)
	c, e := s.tell(order{Shards: r.shards})
	if err = errors.Join(err, e); err != nil {
		return 0, err
	}
	return r.judge(failed, c)
}

// readMounted reads below mnt. If the flip happens while it is mounted, what
// was read before it is read again, around the kernel's cache.
func (r *round) readMounted(mnt string) (failed []error, err error) {
	read := func(x read, direct bool) {
		if err := r.Tree.CompareMounted(mnt, x.item, x.off, x.n, direct); err != nil {
			failed = append(failed, err)
		}
	}
	if r.live {
		read(r.reads[0], false)
		err = r.change()
	}
	for _, x := range r.reads {
		read(x, r.live)
	}
	return failed, err
}
