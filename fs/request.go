package fs

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// A request is one question of the kernel, decoded as far as the loop needs.
type request struct {
	op     opcode
	unique uint64 // the kernel's name for the request
	node   uint64 // the entry it is about
	tid    uint32 // the thread that waits for it; 0 if there is none or it lives in another PID namespace

	off        int64  // READ
	size       uint32 // READ, READDIR, READDIRPLUS, GETXATTR, LISTXATTR: bytes there is room for
	interrupts uint64 // INTERRUPT: which request

	ctx         context.Context // of serving it; set by requests.add
	cancel      context.CancelFunc
	interrupted atomic.Bool // the caller got a signal and is to be let go
}

// A worker is the memory of one goroutine of the loop.
type worker struct {
	n    int // bytes of the request in in
	in   [smallRequest]byte
	head [outHeaderSize]byte
	vec  [][]byte
	out  []byte // for answers that go-fuse encodes
}

var workers = sync.Pool{New: func() any { return &worker{vec: make([][]byte, 1, 80), out: make([]byte, 8<<10)} }}

// readBuffers are what requests are read into. Their pages are touched first:
// a process that dies of a page fault in the middle of a read(2) of /dev/fuse
// takes the request with it.
var readBuffers = sync.Pool{New: func() any {
	b := new([bufferSize]byte)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return b
}}

// parse decodes b and keeps of it what is needed later, so that the large
// buffer is free while the request waits. It is false for what is no request.
func (w *worker) parse(b []byte) (*request, bool) {
	if len(b) < inHeaderSize {
		return nil, false
	}
	r := &request{
		op:     opcode(binary.NativeEndian.Uint32(b[4:])),
		unique: binary.NativeEndian.Uint64(b[8:]),
		node:   binary.NativeEndian.Uint64(b[16:]),
		tid:    binary.NativeEndian.Uint32(b[32:]),
	}
	w.n = copy(w.in[:], b)
	body := b[inHeaderSize:]
	switch r.op {
	case opRead, opReaddir, opReaddirplus: // struct fuse_read_in
		if len(body) < 40 {
			return nil, false
		}
		r.off = int64(binary.NativeEndian.Uint64(body[8:]))
		r.size = binary.NativeEndian.Uint32(body[16:])
	case opGetxattr, opListxattr: // struct fuse_getxattr_in
		if len(body) < 8 {
			return nil, false
		}
		r.size = binary.NativeEndian.Uint32(body)
	case opInterrupt:
		if len(body) < 8 {
			return nil, false
		}
		r.interrupts = binary.NativeEndian.Uint64(body)
	}
	return r, true
}

// requests are those being served that may wait, by their kernel's name.
type requests struct {
	mu sync.Mutex
	by map[uint64]*request // guarded by mu
}

func (q *requests) add(r *request, ctx context.Context, cancel context.CancelFunc) {
	r.ctx, r.cancel = ctx, cancel
	q.mu.Lock()
	q.by[r.unique] = r
	q.mu.Unlock()
}

func (q *requests) remove(r *request) {
	q.mu.Lock()
	delete(q.by, r.unique)
	q.mu.Unlock()
}

func (q *requests) get(unique uint64) *request {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.by[unique]
}

func (q *requests) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.by)
}
