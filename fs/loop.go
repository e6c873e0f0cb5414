package fs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine"
)

const (
	maxRead       = 1 << 20 // bytes of one READ; the kernel's limit is max_pages_limit, 1 MiB unless changed
	maxBackground = 4096    // read-ahead requests in flight; 12 hung ones block the mount with the default

	// minWrite is what the kernel hears instead of maxRead for writes: it
	// refuses read buffers that could not take the largest write, and on a
	// read-only mount there is none.
	minWrite = 4096

	inHeaderSize  = 40
	outHeaderSize = 16

	// bufferSize is what a reader offers for one request: enough for any that
	// a read-only mount gets, and for the 4,000 FORGETs the kernel puts into
	// one when it drops its caches.
	bufferSize = 64 << 10

	// smallRequest is the size that all requests but batches of FORGETs stay
	// below: a header, a fixed part and a name of at most 255 bytes.
	smallRequest = 512
)

// A loop takes requests from /dev/fuse and answers them.
//
// Goroutines follow each other: all are alike, each reads a request and
// serves it itself, so a request that needs no waiting is served on the thread
// that the kernel woke for it. The last one to stop waiting for requests first
// starts another; one that comes back where enough are waiting ends. So there
// are as many goroutines as requests hang, and a few, and nothing queues
// behind anything.
type loop struct {
	fd      int
	tree    *tree
	proto   *gofuse.ProtocolServer
	log     *slog.Logger
	timeout time.Duration
	idle    int32 // how many goroutines wait for requests when there is nothing to do

	init []byte // the kernel's first message

	waiting  atomic.Int32 // goroutines that are, or soon will be, reading a request
	requests requests     // being served
	wg       sync.WaitGroup

	life context.Context // of all requests; ended when the connection is
	end  context.CancelFunc
	once sync.Once
	err  error // why the connection ended; nil: unmounted. Set by once, read after wg.Wait

	counters
}

func newLoop(fd int, d *engine.Dataset, o *Options) *loop {
	l := &loop{fd: fd, log: o.Logger.With("dataset", d.ID().String()), timeout: o.ReadTimeout}
	l.idle = int32(max(2, runtime.GOMAXPROCS(0)))
	l.life, l.end = context.WithCancel(context.Background())
	l.requests.by = make(map[uint64]*request)
	l.tree = newTree(d, l, o)
	l.proto = gofuse.NewProtocolServer(l.tree, &gofuse.MountOptions{
		Name:                     "floe",
		MaxWrite:                 maxRead, // from which it derives the pages of a request
		MaxBackground:            maxBackground,
		CongestionThreshold:      maxBackground / 4 * 3,
		EnableSymlinkCaching:     true,
		ExplicitDataCacheControl: true, // no change of an mtime drops pages
		IDMappedMount:            true, // for containers with user namespaces; harmless where nothing is created
		ExtraCapabilities:        gofuse.CAP_READDIRPLUS_AUTO | gofuse.CAP_NO_OPENDIR_SUPPORT | gofuse.CAP_ABORT_ERROR,
		// PASSTHROUGH would take one level of stacking from overlayfs; under
		// ASYNC_DIO readers with O_DIRECT wait where no signal reaches them.
		DisabledCapabilities: gofuse.CAP_PASSTHROUGH | gofuse.CAP_ASYNC_DIO,
		Logger:               slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
		PanicHandler: func(v any) gofuse.Status {
			l.panicked(v)
			return gofuse.EIO
		},
	})
	return l
}

// start begins to serve.
func (l *loop) start() {
	l.waiting.Store(l.idle)
	for range l.idle {
		l.wg.Add(1)
		go l.run()
	}
}

// run reads requests and serves them. Whoever starts it has counted it in
// l.waiting and l.wg.
func (l *loop) run() {
	defer l.wg.Done()
	w := workers.Get().(*worker)
	defer workers.Put(w)
	for {
		buf := readBuffers.Get().(*[bufferSize]byte)
		n, err := unix.Read(l.fd, buf[:])
		if err != nil {
			readBuffers.Put(buf)
			if err == unix.EINTR || err == unix.EAGAIN || err == unix.ENOENT { // ENOENT: taken back by the kernel
				continue
			}
			l.stop(err)
			return
		}
		r, ok := w.parse(buf[:n])
		readBuffers.Put(buf)
		if !ok || l.quick(w, r) {
			continue
		}
		if l.waiting.Add(-1) == 0 {
			l.waiting.Add(1)
			l.wg.Add(1)
			go l.run()
		}
		l.serve(w, r)
		if !l.wait() {
			return
		}
	}
}

// wait counts the caller as waiting, unless enough are. Whoever leaves saw at
// least one other that is counted, and that one will start a successor.
func (l *loop) wait() bool {
	for {
		n := l.waiting.Load()
		if n >= l.idle {
			return false
		}
		if l.waiting.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// stop notes that the connection is gone and lets go of all requests.
func (l *loop) stop(err error) {
	l.once.Do(func() {
		switch err {
		case unix.ENODEV: // unmounted
		case unix.ECONNABORTED:
			l.err = errors.New("the connection to the kernel was aborted")
		default:
			l.err = fmt.Errorf("reading from /dev/fuse: %w", err)
		}
		l.end()
	})
}

// close lets go of the descriptor, after which nothing may use l.fd.
func (l *loop) close() {
	l.end()
	unix.Close(l.fd)
}

// quick serves what never waits, and reports whether r was of that kind.
func (l *loop) quick(w *worker, r *request) bool {
	l.received[r.op%64].Add(1)
	switch r.op {
	case opRead, opLookup, opGetattr, opReaddir, opReaddirplus, opReadlink, opGetxattr, opListxattr, opLseek:
		return false
	case opForget, opBatchForget:
		// Numbers mean the same whether or not the kernel knows them, so there
		// is nothing to forget, and FORGET takes no answer.
	case opInterrupt:
		if !l.requests.interrupt(r.interrupts) {
			// Answered already, or not yet in the table: the kernel knows
			// which, and asks again in the second case.
			l.reply(w, r, unix.EAGAIN, nil)
		}
	case opStatfs, opAccess, opDestroy:
		l.protocol(w, r)
	case opInit:
		if reply, err := l.answerInit(w.in[:w.n]); err != nil {
			l.reply(w, r, unix.EIO, nil)
		} else {
			l.write(r, [][]byte{reply})
		}
	case opIoctl:
		l.reply(w, r, unix.ENOTTY, nil)
	default:
		// OPEN and OPENDIR, by which the kernel learns never to ask again;
		// FLUSH, FSYNC, STATX, POLL, BMAP, the same; and what a read-only
		// mount is never asked.
		l.reply(w, r, unix.ENOSYS, nil)
	}
	return true
}

// serve answers a request that may wait for bytes.
func (l *loop) serve(w *worker, r *request) {
	ctx, cancel := context.WithTimeout(l.life, l.timeout)
	defer cancel()
	l.requests.add(r, ctx, cancel)
	defer l.requests.remove(r)
	if r.op == opRead {
		l.read(ctx, w, r)
		return
	}
	l.protocol(w, r)
}

// protocol lets go-fuse decode r, call the tree, and encode the answer.
func (l *loop) protocol(w *worker, r *request) {
	out := w.out
	if need := outHeaderSize + int(r.size); need > len(out) {
		out = make([]byte, need)
	}
	w.vec[0] = w.in[:w.n]
	n, _ := l.proto.HandleRequest(w.vec[:1], [][]byte{out})
	if n == 0 { // it could not be decoded, which no kernel has done yet
		l.reply(w, r, unix.EIO, nil)
		return
	}
	l.write(r, [][]byte{out[:n]})
}

// reply answers r with an error, or with body if errno is 0.
func (l *loop) reply(w *worker, r *request, errno syscall.Errno, body [][]byte) {
	w.vec = append(w.vec[:0], w.head[:])
	w.vec = append(w.vec, body...)
	putHeader(w.head[:], r.unique, errno, body)
	l.write(r, w.vec)
	clear(w.vec[1:]) // keep no one's buffers
}

// putHeader writes the header of an answer.
func putHeader(head []byte, unique uint64, errno syscall.Errno, body [][]byte) {
	size := outHeaderSize
	for _, b := range body {
		size += len(b)
	}
	binary.NativeEndian.PutUint32(head[0:], uint32(size))
	binary.NativeEndian.PutUint32(head[4:], uint32(-int32(errno)))
	binary.NativeEndian.PutUint64(head[8:], unique)
}

// write gives the kernel an answer. It refuses one whose request it has
// dropped (ENOENT) or whose mount is gone (ENODEV, EPERM); neither matters.
func (l *loop) write(r *request, vec [][]byte) {
	var err error
	if len(vec) == 1 {
		_, err = unix.Write(l.fd, vec[0])
	} else {
		_, err = unix.Writev(l.fd, vec)
	}
	switch err {
	case nil, unix.ENOENT, unix.ENODEV, unix.EPERM:
		return
	}
	l.log.Error("the kernel refused an answer", "op", r.op.String(), "ino", r.node, "error", err)
	var head [outHeaderSize]byte
	putHeader(head[:], r.unique, unix.EIO, nil)
	unix.Write(l.fd, head[:]) // without any answer, the caller would hang for good
}

// panicked logs a bug that a request has met; the mount goes on.
func (l *loop) panicked(v any) {
	l.errors.Add(1)
	l.log.Error("internal error while serving a request", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}
