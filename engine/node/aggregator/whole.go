package aggregator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/walrus"
)

const (
	maxWhole  = 512 << 20 // bytes of blobs kept whole, and of the largest
	maxWholes = 64        // blobs kept whole, each an open file
	gulp      = 256 << 10 // bytes of a blob written at a time
)

// wholes keeps blobs as a server sent them, whole and not proven. Whoever reads
// a part waits until that much has come. The fetch goes on when readers give
// up: else one that takes longer than their patience would never end.
type wholes struct {
	at      *node.Endpoint
	ctx     context.Context // of all fetches
	stop    context.CancelFunc
	fetches sync.WaitGroup

	mu    sync.Mutex // guards what follows
	by    map[wholeKey]*whole
	order []wholeKey // as their fetches began
	size  int64      // of all
}

// A wholeKey is a blob, and how long a reader says it is.
type wholeKey struct {
	id   walrus.BlobID
	size int64
}

func newWholes(at *node.Endpoint) *wholes {
	s := &wholes{at: at, by: make(map[wholeKey]*whole)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// close ends all fetches and waits for them. Reads fail from then on.
func (s *wholes) close() {
	s.mu.Lock()
	s.stop() // from then on none begins
	s.mu.Unlock()
	s.fetches.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.order) > 0 {
		s.drop(s.order[0])
	}
}

// read fills p with bytes from first on of a blob.
func (s *wholes) read(ctx context.Context, id walrus.BlobID, size int64, p []byte, first int64) error {
	if size > maxWhole {
		return fmt.Errorf("%s sends blobs only whole, and this one has %d bytes: at most %d are taken at once", s.at, size, maxWhole)
	}
	for {
		w, err := s.get(wholeKey{id, size})
		if err != nil {
			return err
		}
		if err = w.read(ctx, p, first); !errors.Is(err, errDropped) {
			return err
		}
	}
}

// get returns a blob that is there, or begins to fetch it.
func (s *wholes) get(k wholeKey) (*whole, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.by[k]; w != nil && !w.stale() {
		return w, nil
	}
	if s.ctx.Err() != nil {
		return nil, os.ErrClosed
	}
	s.drop(k)
	for s.size+k.size > maxWhole || len(s.order) == maxWholes {
		s.drop(s.order[0])
	}
	f, err := os.CreateTemp("", "floe-blob-")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	ctx, cancel := context.WithCancel(s.ctx)
	w := &whole{file: f, cancel: cancel, more: make(chan struct{})}
	s.by[k], s.order, s.size = w, append(s.order, k), s.size+k.size
	s.fetches.Go(func() {
		defer cancel()
		if err := w.fetch(ctx, s.at, k); err != nil {
			s.failed(k, w)
		}
	})
	return w, nil
}

// failed forgets a blob that could not be fetched: the next read tries again.
func (s *wholes) failed(k wholeKey, w *whole) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[k] == w {
		s.drop(k)
	}
}

// drop forgets a blob, if it is there. mu is held.
func (s *wholes) drop(k wholeKey) {
	w := s.by[k]
	if w == nil {
		return
	}
	delete(s.by, k)
	for i, o := range s.order {
		if o == k {
			s.order = append(s.order[:i], s.order[i+1:]...)
			break
		}
	}
	s.size -= k.size
	w.drop()
}

// errDropped says that a blob was forgotten while it was being read.
var errDropped = errors.New("the blob was forgotten")

// A whole is a blob, as far as it has come.
type whole struct {
	cancel context.CancelFunc // of its fetch

	mu   sync.RWMutex // guards what follows; held to read while file is read
	file *os.File
	have int64         // bytes, from the first on
	more chan struct{} // closed, and another, when have or err changes
	err  error         // why there will not be more
	done time.Time     // when all had come
}

// stale reports whether the server should be asked again.
func (w *whole) stale() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.err != nil || !w.done.IsZero() && time.Since(w.done) > remembered
}

// read waits for the bytes from first on and fills p.
func (w *whole) read(ctx context.Context, p []byte, first int64) error {
	for {
		w.mu.RLock()
		if w.have >= first+int64(len(p)) {
			_, err := w.file.ReadAt(p, first)
			w.mu.RUnlock()
			return err
		}
		err, more := w.err, w.more
		w.mu.RUnlock()
		if err != nil {
			return err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// fetch asks a server for the blob.
func (w *whole) fetch(ctx context.Context, at *node.Endpoint, k wholeKey) error {
	err := w.download(ctx, at, k)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err, w.done = err, time.Now()
		w.tell()
	}
	return err
}

func (w *whole) download(ctx context.Context, at *node.Endpoint, k wholeKey) error {
	resp, err := at.Send(ctx, node.Request{Method: http.MethodGet, Path: blobPath(k.id)})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return node.StatusOf(resp)
	}
	if n := resp.ContentLength; n >= 0 && n != k.size {
		return fmt.Errorf("%w: blob of %d bytes, want %d", node.ErrProtocol, n, k.size)
	}
	buf := make([]byte, min(gulp, k.size))
	for off := int64(0); off < k.size; {
		n := min(int64(len(buf)), k.size-off)
		if _, err := io.ReadFull(resp.Body, buf[:n]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := w.write(buf[:n], off); err != nil {
			return err
		}
		off += n
	}
	if n, err := io.ReadFull(resp.Body, buf[:1]); n > 0 || err != io.EOF {
		return fmt.Errorf("%w: blob of more than %d bytes", node.ErrProtocol, k.size)
	}
	return nil
}

// write appends to what has come.
func (w *whole) write(p []byte, off int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if _, err := w.file.WriteAt(p, off); err != nil {
		return fmt.Errorf("keeping a blob that is sent whole: %w", err)
	}
	w.have = off + int64(len(p))
	w.tell()
	return nil
}

// tell wakes all who wait. mu is held.
func (w *whole) tell() {
	close(w.more)
	w.more = make(chan struct{})
}

// drop ends the fetch and closes the file. Who waits is told so; the reason why
// a fetch failed stays.
func (w *whole) drop() {
	w.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.file.Close()
	w.have = 0
	if w.err == nil {
		w.err = errDropped
		w.tell()
	}
}
