package fs

import (
	"fmt"
	"sync/atomic"
)

// Stats are figures of one mount since it was mounted or resumed.
type Stats struct {
	Requests    map[string]uint64 // received, by operation
	Bytes       uint64            // of files, given to the kernel
	Serving     int               // requests being served now
	Errors      uint64            // requests answered with EIO
	Interrupted uint64            // requests answered with EINTR

	// ReadAheadKB is how far the kernel reads ahead on this mount, and so how
	// large a request becomes: 128 unless raised, which takes root.
	// ReadAheadErr says why it is not as asked for.
	ReadAheadKB  int
	ReadAheadErr error
}

// Stats returns the figures of s. It may be called at any time.
func (s *Server) Stats() Stats {
	l := s.loop
	st := Stats{
		Requests: make(map[string]uint64), Bytes: l.bytes.Load(), Serving: l.requests.count(),
		Errors: l.errors.Load(), Interrupted: l.interrupted.Load(),
		ReadAheadKB: s.readAheadKB, ReadAheadErr: s.readAheadErr,
	}
	for op := range l.received {
		if n := l.received[op].Load(); n > 0 {
			st.Requests[opcode(op).String()] = n
		}
	}
	return st
}

// counters are what the loop counts. On two cores one line of cache for all
// of them does no harm.
type counters struct {
	received                   [64]atomic.Uint64 // by opcode
	bytes, errors, interrupted atomic.Uint64
}

// An opcode says what a request asks for.
type opcode uint32

// Operations of the FUSE protocol that need more than a name here.
const (
	opLookup      opcode = 1
	opForget      opcode = 2
	opGetattr     opcode = 3
	opReadlink    opcode = 5
	opRead        opcode = 15
	opStatfs      opcode = 17
	opGetxattr    opcode = 22
	opListxattr   opcode = 23
	opInit        opcode = 26
	opReaddir     opcode = 28
	opAccess      opcode = 34
	opInterrupt   opcode = 36
	opDestroy     opcode = 38
	opIoctl       opcode = 39
	opBatchForget opcode = 42
	opReaddirplus opcode = 44
	opLseek       opcode = 46
)

var opNames = map[opcode]string{
	opLookup: "lookup", opForget: "forget", opGetattr: "getattr", opReadlink: "readlink", opRead: "read",
	opStatfs: "statfs", opGetxattr: "getxattr", opListxattr: "listxattr", opInit: "init", opReaddir: "readdir",
	opAccess: "access", opInterrupt: "interrupt", opDestroy: "destroy", opIoctl: "ioctl",
	opBatchForget: "batch_forget", opReaddirplus: "readdirplus", opLseek: "lseek",
	4: "setattr", 14: "open", 18: "release", 20: "fsync", 25: "flush", 27: "opendir", 29: "releasedir",
	30: "fsyncdir", 37: "bmap", 40: "poll", 50: "syncfs", 52: "statx",
}

func (op opcode) String() string {
	if s, ok := opNames[op]; ok {
		return s
	}
	return fmt.Sprintf("op%d", uint32(op))
}
