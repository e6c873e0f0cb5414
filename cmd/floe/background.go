package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// A mount goes on in a process of its own: floe starts itself again, in a new
// session, and waits until that process says on a pipe how it went.

// readyMessage is what is said on the pipe: that the mount is ready, or why
// there is none.
type readyMessage struct {
	Error string   `json:"error,omitempty"`
	Code  int      `json:"code,omitempty"`
	Lines []string `json:"lines,omitempty"` // for the user
}

const readyFD = 3 // of the pipe, in the process that mounts

// background mounts in another process and returns when the mount is ready.
func (m *mounter) background(ctx context.Context, e *env, dir string) error {
	path := m.logPath(e, dir)
	log, err := appendTo(path)
	if err != nil {
		return fmt.Errorf("log: %w: --log-file names another", err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	child := &exec.Cmd{
		Path:   "/proc/self/exe",
		Args:   append([]string{"floe", "mount", "--foreground", "--ready-fd=" + strconv.Itoa(readyFD)}, m.flags.args...),
		Dir:    e.dir,
		Stdout: log, Stderr: log, // what Go says when it panics
		ExtraFiles:  []*os.File{w},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = child.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("starting the process that serves the mount: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { child.Process.Signal(syscall.SIGTERM) })
	defer stop()
	var said readyMessage
	if err := json.NewDecoder(r).Decode(&said); err != nil {
		child.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("the process that serves the mount ended before it was ready: see %s", path)
	}
	if said.Code != 0 {
		child.Wait()
		return exitWith(said.Code, errors.New(said.Error))
	}
	for _, line := range said.Lines {
		fmt.Fprintln(e.stderr, line)
	}
	return nil
}

// tellParent says on the pipe how it went. A parent that is gone hears nothing.
func tellParent(fd int, said readyMessage) {
	w := os.NewFile(uintptr(fd), "ready")
	if w == nil {
		return
	}
	json.NewEncoder(w).Encode(said)
	w.Close()
}

// ready tells whoever waits that the mount can be used, and how to go on.
func (m *mounter) ready(st *served) {
	root := st.dataset.Root()
	lines := []string{
		fmt.Sprintf("mounted %s on %s", st.subject, printable(st.Dir())),
		fmt.Sprintf("  %s, %s", count(root.Files, "file", "files"), humanBytes(root.Bytes)),
		fmt.Sprintf("  floe status %s      floe umount %[1]s", printable(shellQuote(st.Dir()))),
	}
	if m.readyFD == 0 {
		for _, line := range lines {
			fmt.Fprintln(st.env.stderr, line)
		}
		return
	}
	tellParent(m.readyFD, readyMessage{Lines: lines})
}

// logName turns a mountpoint into the name of its log.
func logName(dir string) string {
	name := []byte(filepath.Clean(dir))
	for i, c := range name {
		if c == '/' {
			name[i] = '-'
		}
	}
	if len(name) > 200 {
		name = name[len(name)-200:]
	}
	for len(name) > 1 && name[0] == '-' {
		name = name[1:]
	}
	return string(name) + ".log"
}
