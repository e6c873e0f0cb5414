package dir

import (
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/walrus"
)

const (
	longRead = 256 << 10 // bytes from which on a read is likely one of a sequence
	ahead    = 4 << 20   // bytes that the disk is told to fetch behind it
)

// readAhead tells the kernel that what lies behind a long read will be wanted:
// the rest of the sliver's file and the beginning of the next sliver's, where
// the blob goes on. Each read opens its file anew, so the kernel cannot see
// the sequence itself. It is a hint, and fails as one.
func (s *Store) readAhead(f raw, id walrus.BlobID, at walrus.SliverID, off int64) {
	left := int64(ahead)
	if n := min(left, f.size-off); n > 0 {
		unix.Fadvise(f.fd, off, n, unix.FADV_WILLNEED)
		left -= n
	}
	if left == 0 || at.Axis != walrus.Primary {
		return
	}
	at.Index++
	next, err := openRaw(filepath.Join(s.BlobDir(id), sliverName(at)))
	if err != nil {
		return
	}
	defer next.close()
	unix.Fadvise(next.fd, 0, left, unix.FADV_WILLNEED)
}
