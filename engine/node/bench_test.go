package node_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/nodetest"
	"github.com/floefs/floe/engine/walrus"
)

// cpu returns the processor time this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What a range costs over the loopback, both ends together, beside a plain GET
// of the same bytes from http.FileServer.
func BenchmarkReadSliver(b *testing.B) {
	store := newDir(b)
	blob := nodetest.Encode(b, 100, nodetest.Bytes(1, 64<<20))
	var slivers []walrus.SliverID
	for i := range 8 {
		slivers = append(slivers, walrus.SliverID{Axis: walrus.Primary, Index: i})
	}
	nodetest.Put(b, store, blob, slivers...)
	h, err := node.NewHandler(store, node.HandlerOptions{N: 100})
	if err != nil {
		b.Fatal(err)
	}
	ours := newClient(b, serve(b, h), nil)
	plain := serve(b, http.FileServer(http.Dir(store.BlobDir(blob.ID))))
	tr := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	defer tr.CloseIdleConnections()

	for _, size := range []int{64 << 10, 1 << 20} {
		for _, workers := range []int{1, 8} {
			run := func(name string, read func(at walrus.SliverID, p []byte) error) {
				b.Run(fmt.Sprintf("%s/%dK/workers=%d", name, size>>10, workers), func(b *testing.B) {
					b.SetBytes(int64(size))
					b.SetParallelism((workers + 1) / 2) // of GOMAXPROCS
					var next atomic.Int64
					used := cpu()
					b.ResetTimer()
					b.RunParallel(func(pb *testing.PB) {
						p := make([]byte, size)
						for pb.Next() {
							if err := read(slivers[next.Add(1)%8], p); err != nil {
								b.Fatal(err)
							}
						}
					})
					b.ReportMetric((cpu()-used).Seconds()/(float64(b.N)*float64(size)/1e9), "cpu-s/GB")
				})
			}
			run("floe", func(at walrus.SliverID, p []byte) error {
				return ours.ReadSliver(b.Context(), blob.ID, blob.Params, at, p, 4096)
			})
			run("plain", func(at walrus.SliverID, p []byte) error {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, fmt.Sprintf("%s/p%d", plain, at.Index), nil)
				if err != nil {
					return err
				}
				req.Header.Set("Range", fmt.Sprintf("bytes=4096-%d", 4096+len(p)-1))
				resp, err := tr.RoundTrip(req)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				_, err = io.ReadFull(resp.Body, p)
				return err
			})
		}
	}
}

// serve serves h on the loopback until the test ends, and returns its URL.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return "http://" + ln.Addr().String()
}

func newClient(t testing.TB, url string, opts *node.NetworkOptions) *node.Client {
	t.Helper()
	if opts == nil {
		opts = &node.NetworkOptions{Nets: node.AnyNet}
	}
	nw := node.NewNetwork(opts)
	t.Cleanup(nw.Close)
	c, err := node.NewClient(nw, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What it costs to store a sliver that is proven, without a disk.
func BenchmarkPutSliver(b *testing.B) {
	for _, c := range []struct{ n, size int }{{100, 16 << 20}, {1000, 1 << 20}} {
		b.Run(fmt.Sprintf("shards=%d/blob=%dM", c.n, c.size>>20), func(b *testing.B) {
			blob := nodetest.Encode(b, c.n, nodetest.Bytes(1, c.size))
			store := memory{}
			client := newClient(b, start(b, store, node.HandlerOptions{N: c.n}), nil)
			if err := client.PutMetadata(b.Context(), blob.ID, blob.Metadata.Append(nil)); err != nil {
				b.Fatal(err)
			}
			at := walrus.SliverID{Axis: walrus.Primary, Index: 1}
			b.SetBytes(int64(blob.Params.SliverLen(at.Axis)))
			b.ReportAllocs()
			for b.Loop() {
				delete(store, blob.ID.String()+at.String()) // else it is only compared
				if err := client.PutSliver(b.Context(), blob.ID, blob.Params, at, blob.Sliver(at)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMetadata(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("shards=%d", n), func(b *testing.B) {
			blob := nodetest.Encode(b, n, nodetest.Bytes(1, 5003))
			store := newDir(b)
			nodetest.Put(b, store, blob, walrus.SliverID{})
			client := newClient(b, start(b, store, node.HandlerOptions{N: n}), nil)
			for b.Loop() {
				if _, err := client.Metadata(b.Context(), blob.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
