package node_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// storeToServe is the variable that makes this test binary a node.
const storeToServe = "FLOE_TEST_SERVE_STORE"

func TestMain(m *testing.M) {
	if path := os.Getenv(storeToServe); path != "" {
		if err := serveStore(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serveStore(path string) error {
	s, err := dir.Open(path, true)
	if err != nil {
		return err
	}
	h, err := node.NewHandler(s, node.HandlerOptions{N: nodetest.N})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + ln.Addr().String())
	return node.Serve(context.Background(), ln, h, nil)
}

// mustServe starts a process that is a node, and returns its URL and what
// kills it.
func mustServe(t *testing.T, path string) (url string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), storeToServe+"="+path)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "http://") {
		t.Fatalf("the node says %q, %v", line, err)
	}
	return strings.TrimSpace(line), kill
}

// A node that is killed at any moment has, when it starts again, everything
// that it said it stored, and nothing that is not whole.
func TestKillingANode(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	path := t.TempDir() + "/store"
	var uploads []*upload
	for i := range 6 {
		uploads = append(uploads, &upload{Encoded: nodetest.Encode(t, nodetest.N, nodetest.Bytes(seed+uint64(i), 1<<20))})
	}
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		url, kill := mustServe(t, path)
		c := newClient(t, url, nil)
		acknowledged := make(chan struct{}, 1) // says that something was stored
		var wg sync.WaitGroup
		for _, u := range uploads {
			order := nodetest.All(u.Params)
			r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			wg.Go(func() { u.run(t.Context(), c, order, acknowledged) })
		}
		select {
		case <-acknowledged:
		case <-time.After(20 * time.Second):
			t.Error("nothing was stored within 20 s")
		}
		time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
		kill()
		wg.Wait()
		s, err := dir.Open(path, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range uploads {
			u.check(t, s)
		}
	}
}

// An upload is a blob that is being stored, over several lives of a node.
type upload struct {
	*walrus.Encoded
	done []walrus.SliverID // that the node said it has, some perhaps twice
}

// run stores slivers until one cannot be stored.
func (u *upload) run(ctx context.Context, c *node.Client, order []walrus.SliverID, acknowledged chan<- struct{}) {
	if c.PutMetadata(ctx, u.ID, u.Metadata.Append(nil)) != nil {
		return
	}
	for _, at := range order {
		if c.PutSliver(ctx, u.ID, u.Params, at, u.Sliver(at)) != nil {
			return
		}
		u.done = append(u.done, at)
		select {
		case acknowledged <- struct{}{}:
		default:
		}
	}
}

// check looks at all files that the store has of the blob.
func (u *upload) check(t *testing.T, s *dir.Store) {
	t.Helper()
	names, err := os.ReadDir(s.BlobDir(u.ID))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	there := map[walrus.SliverID]bool{}
	for _, n := range names {
		at, ok := sliverNamed(n.Name())
		if !ok {
			continue
		}
		got, err := os.ReadFile(s.BlobDir(u.ID) + "/" + n.Name())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Metadata.ProveSliver(at, got); err != nil {
			t.Errorf("blob %s: %v", u.ID, err)
		}
		there[at] = true
	}
	if len(there) > 0 {
		if good, _ := s.CheckMetadata(u.ID); good == 0 {
			t.Errorf("blob %s has slivers and no metadata", u.ID)
		}
	}
	for _, at := range u.done {
		if !there[at] {
			t.Errorf("blob %s: %s was stored and is gone", u.ID, at)
		}
	}
}

// sliverNamed returns the sliver that a file of a directory store holds.
func sliverNamed(name string) (at walrus.SliverID, ok bool) {
	var axis byte
	if n, err := fmt.Sscanf(name, "%c%d", &axis, &at.Index); n != 2 || err != nil {
		return at, false
	}
	if axis == 's' {
		at.Axis = walrus.Secondary
	}
	return at, axis == 'p' || axis == 's'
}
