// Package fs mounts a dataset as a read-only FUSE file system.
//
// # What the kernel does
//
// A FUSE file system is a queue. A process that calls stat(2) or read(2) below
// the mountpoint makes the kernel put a request on /dev/fuse; this package
// takes it, asks the engine, writes the answer, and the kernel lets the
// process go on. A round trip costs about 50 µs, a page cache hit none, so the
// whole art is not to be asked:
//
//   - What a dataset holds never changes. Names, names that are not there,
//     attributes, symlinks, directories and pages are given to the kernel for
//     ever; nothing is ever invalidated. A second look costs what it costs on
//     a local disk, and never reaches this process.
//   - OPEN and OPENDIR are answered ENOSYS, once each. From then on the kernel
//     opens files by itself (FUSE_NO_OPEN_SUPPORT), keeps their pages and
//     caches their listings, as if each open had said FOPEN_KEEP_CACHE and
//     FOPEN_CACHE_DIR. There is no RELEASE then, no FLUSH after the first and
//     no file handle: a request names its file by inode number only.
//   - Reads are asked for by the kernel's read-ahead, in requests as large as
//     the read_ahead_kb of the mount. See [Stats.ReadAheadKB].
//   - READDIRPLUS gives attributes with the names as long as somebody looks at
//     them (`ls -l`), and READDIR only names when nobody does (`find`).
//   - Permissions are checked by the kernel (default_permissions), writes fail
//     in the kernel (MS_RDONLY): neither gets here.
//
// # Numbers
//
// The node number, by which the kernel names a file to us, is the entry's
// number in the dataset ([catalog.Entry.Number]). No two entries share one,
// or the kernel would serve one's pages as the other's. What stat(2) shows is
// the number of the first link, so that hard links look like hard links. A
// position in a directory is the number relative to the directory, plus 2 for
// "." and "..". None of this needs a table in memory: a process that takes
// over the mount ([Resume]) knows all of it from the dataset.
//
// # Waiting
//
// There is no pool of workers that slow requests could fill. Whoever reads a
// request from the queue serves it, and sees to it first that somebody else is
// reading ([loop]). A reply has no buffer before its bytes exist: reads are
// answered straight from the engine's buffers. So any number of reads may hang
// on a dead network, and what is cached is still read at full speed.
//
// A reader that got a signal is let go: at once if it is being killed, else
// after a second ([requests.interrupt]). What it waited for is fetched all the
// same, for the others and for its next try. No request waits longer than
// [Options.ReadTimeout].
package fs

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/floefs/floe/engine"
)

// Options are a mount's settings; nil and zero mean the defaults.
type Options struct {
	AllowOther  bool          // let other users than the mounting one in; as modes permit
	UID, GID    *uint32       // owner of everything; default: who mounts
	ReadTimeout time.Duration // after which a request that got no bytes fails with EIO; default 60 s
	ReadAheadKB int           // how far the kernel reads ahead, in KiB; default 1024
	Extra       []string      // further mount options, as for mount -o: noexec, context=..., ...
	Logger      *slog.Logger  // default: silent
}

func (o *Options) withDefaults() Options {
	var v Options
	if o != nil {
		v = *o
	}
	if v.UID == nil {
		u := uint32(os.Geteuid())
		v.UID = &u
	}
	if v.GID == nil {
		g := uint32(os.Getegid())
		v.GID = &g
	}
	if v.ReadTimeout <= 0 {
		v.ReadTimeout = 60 * time.Second
	}
	if v.ReadAheadKB <= 0 {
		v.ReadAheadKB = 1024
	}
	if v.Logger == nil {
		v.Logger = slog.New(slog.DiscardHandler)
	}
	return v
}

// A Server serves one mount.
//
// The process it runs in must not touch its own mountpoint, not even by a
// stat(2) or by a child it starts there: some of these wait for the server.
type Server struct {
	dir  string // absolute, without symlinks
	dev  string // the file system's MAJ:MIN, as mountinfo shows it
	loop *loop

	readAheadKB  int // 0 if it could not be read
	readAheadErr error

	done chan struct{} // closed when nothing of the server runs any more

	mu sync.Mutex // serialises Unmount
}

// Mount mounts d on dir, an existing directory, and serves it until it is
// unmounted. When Mount returns, the mount is usable. ctx is for mounting
// only. A mount whose server has died is cleared away first; over a live one
// Mount refuses to mount.
func Mount(ctx context.Context, dir string, d *engine.Dataset, opts *Options) (*Server, error) {
	o := opts.withDefaults()
	dir, err := mountpoint(dir)
	if err != nil {
		return nil, err
	}
	source := "floe#" + d.ID().String()[:8]
	fd, err := mount(dir, source, &o)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, fd, nil, dir, d, o)
	if err != nil {
		detach(dir)
		return nil, fmt.Errorf("mounting on %s: %w", dir, err)
	}
	o.Logger.Info("mounted", "dataset", d.ID().String(), "dir", dir, "read_ahead_kb", s.readAheadKB)
	return s, nil
}

// Resume serves a mount that another process has mounted and served, and no
// longer serves: fd is its /dev/fuse descriptor, which Resume takes over, and
// init what its [Server.Handshake] returned. Requests that nobody answered are
// asked again; whoever waits for them notices nothing.
func Resume(ctx context.Context, fd *os.File, init []byte, dir string, d *engine.Dataset, opts *Options) (*Server, error) {
	n, err := dup(fd)
	if err != nil {
		return nil, fmt.Errorf("taking over %s: %w", dir, err)
	}
	fd.Close()
	s, err := start(ctx, n, init, dir, d, opts.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("taking over %s: %w", dir, err)
	}
	return s, nil
}

// start serves fd, shaking hands with the kernel first if init is nil. It
// closes fd if it fails.
func start(ctx context.Context, fd int, init []byte, dir string, d *engine.Dataset, o Options) (*Server, error) {
	s := &Server{dir: dir, done: make(chan struct{}), loop: newLoop(fd, d, &o)}
	if err := s.loop.handshake(ctx, init); err != nil {
		s.loop.close()
		return nil, err
	}
	s.loop.start()
	go func() {
		s.loop.wg.Wait()
		s.loop.close()
		close(s.done)
	}()
	if m, ok := topMount(dir); ok {
		s.dev = m.Dev
		s.readAheadKB, s.readAheadErr = setReadAhead(m.Dev, o.ReadAheadKB)
	} else {
		s.readAheadErr = fmt.Errorf("%s is not in this process's list of mounts", dir)
	}
	if s.readAheadErr != nil {
		o.Logger.Debug("read-ahead left as it is", "read_ahead_kb", s.readAheadKB, "error", s.readAheadErr)
	}
	return s, nil
}

// Dir returns where s is mounted: an absolute path without symlinks.
func (s *Server) Dir() string { return s.dir }

// Handshake returns what the kernel said first on this mount, which [Resume]
// needs. It stays the same for the life of the mount.
func (s *Server) Handshake() []byte { return s.loop.init }

// Done returns a channel that is closed when the mount is gone.
func (s *Server) Done() <-chan struct{} { return s.done }

// Wait returns when the mount is gone and the last request has been served:
// nil if it was unmounted, an error if the kernel or an administrator has cut
// the connection.
func (s *Server) Wait() error {
	<-s.done
	return s.loop.err
}

// Unmount unmounts s. If the mount is in use, it fails with a [*BusyError]
// that names by whom, and goes on serving; unless lazy, which takes it out of
// the directory tree at once and serves those who hold it until they let go.
// Without lazy, nothing of s runs any more when Unmount has succeeded.
// Unmounting what is no longer mounted succeeds.
func (s *Server) Unmount(lazy bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return nil
	default:
	}
	m, ok := topMount(s.dir)
	switch {
	case !ok || m.Dev != s.dev && !mountedOn(s.dir, s.dev):
		// Somebody else has detached it, and perhaps put something in its
		// place. Whoever still holds it is served until they let go.
		return nil
	case m.Dev != s.dev:
		return fmt.Errorf("unmounting %s: %s is mounted over it, unmount that first", s.dir, m.Source)
	}
	if err := unmount(m, lazy); err != nil {
		return err
	}
	if !lazy {
		<-s.done
	}
	return nil
}
