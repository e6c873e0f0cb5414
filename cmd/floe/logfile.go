package main

import (
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// logLimit is how large a log grows. Then it becomes FILE.1, in the place of
// an earlier one.
const logLimit = 32 << 20

// A logFile is a log that does not grow without end.
type logFile struct {
	path     string
	standard bool // standard output and error go here too

	mu   sync.Mutex // guards f and size
	f    *os.File
	size int64
}

func openLog(path string, standard bool) (*logFile, error) {
	l := &logFile{path: path, standard: standard}
	return l, l.open()
}

func appendTo(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
}

func (l *logFile) open() error {
	f, err := appendTo(l.path)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, fi.Size()
	if l.standard {
		for fd := 1; fd <= 2; fd++ {
			unix.Dup3(int(f.Fd()), fd, 0)
		}
	}
	return nil
}

// Write implements io.Writer. A log that cannot be written is no reason to
// stop.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(p)) > logLimit {
		old := l.f
		if os.Rename(l.path, l.path+".1") == nil && l.open() == nil {
			old.Close()
		}
	}
	n, err := l.f.Write(p)
	l.size += int64(n)
	return n, err
}
