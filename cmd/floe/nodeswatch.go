package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// watch shows how nodes are, again and again, until ctx ends: that is how a
// watch is meant to end, and no error. On a terminal each picture takes the
// place of the one before.
func (n *nodesTool) watch(ctx context.Context, e *env, look func(context.Context, int) ([]nodeJSON, error)) error {
	p := e.printer(n.json)
	tick := time.NewTicker(n.interval)
	defer tick.Stop()
	drawn := 0 // lines on the screen
	for first := true; ; first = false {
		all, err := look(ctx, 1)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && first && len(all) == 0 {
			return err
		}
		now := time.Now()
		for i := range all {
			all[i].Time = &now
		}
		if p.terminal && !n.json {
			width, height := terminalSize(e.stdout)
			drawn = redraw(p, n.picture(all, err, now), drawn, width, height)
		} else {
			if !n.json {
				fmt.Fprintln(p, now.Format(time.RFC3339))
			}
			n.write(p, all)
			if err != nil {
				e.complain(err)
			}
		}
		if err := p.Flush(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// picture returns the lines of what a terminal shows.
func (n *nodesTool) picture(all []nodeJSON, err error, now time.Time) []string {
	var text bytes.Buffer
	p := &printer{Writer: bufio.NewWriter(&text), terminal: true}
	fmt.Fprintf(p, "%s, every %s; Ctrl-C ends it\n", now.Format(time.TimeOnly), n.interval)
	if len(all) == 0 && err == nil {
		fmt.Fprintln(p, nothingMounted)
	}
	n.write(p, all)
	if err != nil {
		fmt.Fprintf(p, "floe: %s\n", printable(err.Error()))
	}
	p.Flush()
	return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
}

// redraw writes lines over the drawn ones above the cursor, and returns how
// many those are now. What does not fit is cut: a terminal would break lines
// and roll, and the count be wrong.
func redraw(w io.Writer, lines []string, drawn, width, height int) int {
	if fit := max(0, height-2); len(lines) > fit+1 {
		lines = append(lines[:fit:fit], fmt.Sprintf("… and %s more", count(len(lines)-fit, "line", "lines")))
	}
	if drawn > 0 {
		fmt.Fprintf(w, "\x1b[%dA", drawn)
	}
	fmt.Fprint(w, "\r\x1b[J")
	for _, line := range lines {
		fmt.Fprintln(w, cut(line, width))
	}
	return len(lines)
}

// cut returns a line that fits into width columns.
func cut(line string, width int) string {
	if r := []rune(line); len(r) >= width {
		return string(r[:max(0, width-2)]) + "…"
	}
	return line
}

// terminalSize returns the columns and lines of the terminal that w is.
func terminalSize(w any) (width, height int) {
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		if ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && ws.Col > 0 && ws.Row > 0 {
			return int(ws.Col), int(ws.Row)
		}
	}
	return 80, 24
}
