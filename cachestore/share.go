package cachestore

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A notice tells the owner what another process has done.
type notice struct {
	kind uint8
	k    Key
	off  int64
	n    int // chunks
}

const (
	noticePut  = 1 // n chunks at off have been written
	noticeUse  = 2 // n chunks at off have been read
	noticeRoom = 3 // n chunks did not find room
)

// FORMAT: notice. See the package comment.
const (
	noticeMagic = "FCN1"
	noticeLen   = 4 + 1 + 32 + 8 + 4
	noticeMax   = 1 << 16 // chunks
	noticeBatch = 256     // of uses, a second
)

func (n notice) append(b []byte) []byte {
	b = append(b, noticeMagic...)
	b = append(b, n.kind)
	b = append(b, n.k[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(n.off))
	return binary.LittleEndian.AppendUint32(b, uint32(n.n))
}

func parseNotice(b []byte) (n notice, ok bool) {
	if len(b) != noticeLen || string(b[:4]) != noticeMagic {
		return n, false
	}
	n.kind = b[4]
	copy(n.k[:], b[5:])
	n.off = int64(binary.LittleEndian.Uint64(b[37:]))
	n.n = int(binary.LittleEndian.Uint32(b[45:]))
	return n, n.kind >= noticePut && n.kind <= noticeRoom && n.n > 0 && n.n <= noticeMax && inRange(n.off, n.n)
}

// socketPath names the owner's socket by descriptor, since the name of a
// socket must be shorter than that of many a directory.
func (d *dir) socketPath() string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.top.Fd(), socketName)
}

// notify tells the owner, if it listens. The system queues few datagrams; what
// finds no room there is told a little later.
func (s *Store) notify(n notice) {
	s.tellMu.Lock()
	if len(s.untold) < untoldMax {
		s.untold = append(s.untold, n)
	}
	s.tellMu.Unlock()
	if !s.tellRest() {
		s.wake() // the keeper tries again
	}
}

const (
	untoldMax  = 4096                  // notices that wait
	perMessage = 64                    // notices in one datagram
	tellDelay  = 10 * time.Millisecond // after which what waits is tried again
	tellLast   = 20                    // tries before the end
)

func (s *Store) untoldLeft() bool {
	s.tellMu.Lock()
	defer s.tellMu.Unlock()
	return len(s.untold) > 0
}

// tellRest sends the notices that wait. It returns false if some are left.
func (s *Store) tellRest() bool {
	s.tellMu.Lock()
	defer s.tellMu.Unlock()
	for len(s.untold) > 0 {
		n := min(len(s.untold), perMessage)
		buf := make([]byte, 0, perMessage*noticeLen)
		for _, x := range s.untold[:n] {
			buf = x.append(buf)
		}
		err := unix.Sendto(s.tell, buf, 0, &unix.SockaddrUnix{Name: s.dir().socketPath()})
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN, unix.ENOBUFS:
			return false
		case nil:
			s.untold = s.untold[n:]
		default:
			s.untold = nil // nobody listens
		}
	}
	s.untold = nil
	return true
}

// notifyUse tells the owner which segments have been used, some at a time.
func (s *Store) notifyUse() {
	s.mu.Lock()
	var used []ref
	for len(s.touched) > 0 && len(used) < noticeBatch {
		r := s.touched[len(s.touched)-1]
		s.touched = s.touched[:len(s.touched)-1]
		if b := s.blobs[r.k]; b != nil {
			if g := b.find(r.no); g != nil {
				g.flags &^= flagTouched
				used = append(used, r)
			}
		}
	}
	s.mu.Unlock()
	for _, r := range used {
		s.notify(notice{kind: noticeUse, k: r.k, off: int64(r.no) * segSize, n: 1})
	}
}

// A receiver hands the notices of others to the keeper.
type receiver struct {
	conn *net.UnixConn
	quit chan struct{} // closed by close
	done sync.WaitGroup
}

// receive starts a receiver; nil if the file system has no sockets.
func (s *Store) receive() *receiver {
	remove(s.dir().top, socketName)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.dir().socketPath(), Net: "unixgram"})
	if err != nil {
		s.log.Info("other processes cannot tell the cache what they put", "error", err)
		return nil
	}
	conn.SetReadBuffer(1 << 20)
	r := &receiver{conn: conn, quit: make(chan struct{})}
	r.done.Go(func() {
		buf := make([]byte, (perMessage+1)*noticeLen)
		for {
			size, _, err := conn.ReadFromUnix(buf)
			if err != nil {
				return // closed
			}
			// While the keeper is busy others keep what they have to tell.
			for rest := buf[:size]; len(rest) >= noticeLen; rest = rest[noticeLen:] {
				if n, ok := parseNotice(rest[:noticeLen]); ok {
					select {
					case s.notices <- n:
					case <-r.quit:
						return
					}
				}
			}
		}
	})
	return r
}

func (r *receiver) close() {
	close(r.quit)
	r.conn.Close()
	r.done.Wait()
}

// noticed marks what another process has put.
func (s *Store) noticed(n notice) {
	if !s.owner.Load() {
		return
	}
	switch n.kind {
	case noticeRoom:
		limit := s.limit()
		s.shrink(limit - slack(limit))
		s.publish()
		return
	case noticeUse:
		s.mu.Lock()
		if b := s.blobs[n.k]; b != nil {
			s.touch(b, n.off, n.n)
		}
		s.mu.Unlock()
		return
	}
	size, alloc, regular, err := allocatedAt(s.dir().blobs, blobName(n.k))
	defer s.settled.Add(claimOf(n.n)) // after its bytes are part of used
	if err != nil || !regular || n.off >= size {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blobOf(n.k)
	s.setAlloc(b, alloc)
	s.markPresent(b, n.off, n.n)
	s.touch(b, n.off, n.n)
}

// listBlobs returns the blobs that lie in d, with as many chunks as the index
// on disk says; the owner may be ahead of it.
func (d *dir) listBlobs(pins map[Key]int) (list []Blob) {
	chunks := make(map[Key]int)
	if f, err := openFile(d.top, indexName, os.O_RDONLY); err == nil {
		guard(func() error {
			_, err := loadIndex(f, func(k Key, g segment) { chunks[k] += g.count() })
			return err
		})
		f.Close()
	}
	names, _ := readNames(d.blobs)
	for _, name := range names {
		k, ok := parseName(name)
		_, alloc, regular, err := allocatedAt(d.blobs, name)
		if ok && err == nil && regular {
			list = append(list, Blob{Key: k, Bytes: alloc, Chunks: chunks[k], Pinned: pins[k] > 0})
		}
	}
	return list
}

// roomShared is room for a process that does not own the index: only the owner
// can make any.
func (s *Store) roomShared(n int64) bool {
	if _, free, err := s.dir().space(); err == nil && free-n < s.minFree {
		return false
	}
	if s.claimMore(n) {
		return true
	}
	s.notify(notice{kind: noticeRoom, n: count(int(n))})
	return false
}

// weighIndex counts the index as part of what the cache takes.
func (s *Store) weighIndex() {
	var sum int64
	for _, name := range []string{indexName, badName} {
		if _, alloc, regular, err := allocatedAt(s.dir().top, name); err == nil && regular {
			sum += alloc
		}
	}
	s.used.Add(sum - s.keep.indexUse)
	s.keep.indexUse = sum
}
