package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// A progress shows how far a command has come: on a terminal a line that is
// redrawn, elsewhere a line now and then. It may be used concurrently.
type progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration

	mu    sync.Mutex // guards what follows
	next  time.Time
	shown bool // there is a line to be overwritten
}

func newProgress(e *env, quiet bool) *progress {
	p := &progress{w: e.stderr, terminal: isTerminal(e.stderr), every: 5 * time.Second}
	if quiet {
		p.w = io.Discard
	}
	if p.terminal {
		p.every = 200 * time.Millisecond
	}
	p.next = time.Now().Add(p.every)
	return p
}

// show shows the line that say makes, if it is time for one.
func (p *progress) show(say func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(p.every)
	line := printable(say())
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	width, _ := terminalSize(p.w)
	fmt.Fprintf(p.w, "\r\x1b[K%s", cut(line, width))
	p.shown = true
}

// say writes a line that stays.
func (p *progress) say(format string, a ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintln(p.w, printable(fmt.Sprintf(format, a...)))
}

// end takes the line away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// rate writes how fast n bytes have come since began.
func rate(n int64, began time.Time) string {
	seconds := time.Since(began).Seconds()
	return fmt.Sprintf("%.0f MB/s", float64(n)/1e6/max(seconds, 0.001))
}
