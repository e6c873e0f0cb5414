package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/node/nodetest"
)

// openTerminal returns a pseudo-terminal and the side of it that programs see.
func openTerminal(t *testing.T, cols, rows uint16) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

// screen is what a terminal shows that gets lines, and the two sequences by
// which they are drawn over.
type screen struct {
	lines []string
	row   int
}

func (s *screen) write(text string) {
	for text != "" {
		var up int
		switch {
		case strings.HasPrefix(text, "\x1b[J"):
			s.lines, text = s.lines[:s.row], text[3:]
		case strings.HasPrefix(text, "\x1b["):
			fmt.Sscanf(text, "\x1b[%dA", &up)
			s.row, text = s.row-up, text[strings.IndexByte(text, 'A')+1:]
		case text[0] == '\r':
			text = text[1:]
		default:
			line, rest, _ := strings.Cut(text, "\n")
			s.lines = append(s.lines[:s.row], strings.TrimSuffix(line, "\r"))
			s.row, text = s.row+1, rest
		}
	}
}

// On a terminal a picture takes the place of the one before, fits, and changes
// as a node does. Ctrl-C is not a failure.
func TestNodesAreWatchedInPlace(t *testing.T) {
	store, err := dir.Open(t.TempDir()+"/store", true)
	if err != nil {
		t.Fatal(err)
	}
	n := nodetest.Serve(t, store, node.HandlerOptions{N: 4, Shards: []int{0, 1, 2, 3}})
	e := testEnv(t)
	file := e.dir + "/four.toml"
	text := fmt.Sprintf("n_shards = 4\n[[node]]\nname = \"one\"\nurl = %q\nshards = \"0-3\"\n", n.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const cols = 120
	user, program := openTerminal(t, cols, 24)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	e.stdout, e.stderr = program, os.Stderr
	ended := make(chan int)
	go func() {
		ended <- e.run(ctx, []string{"floe", "nodes", "--watch", "--interval", "20ms", "--from", file})
	}()

	var shown screen
	buf, pending := make([]byte, 64<<10), ""
	see := func(what string) {
		t.Helper()
		user.SetReadDeadline(time.Now().Add(20 * time.Second))
		for frames := 0; ; {
			k, err := user.Read(buf)
			if err != nil {
				t.Fatalf("nothing more is shown, and not %q: %v; %q", what, err, shown.lines)
			}
			text := pending + string(buf[:k])
			end := strings.LastIndexByte(text, '\n') + 1
			shown.write(text[:end])
			pending = text[end:]
			for _, l := range shown.lines {
				if len([]rune(l)) >= cols {
					t.Fatalf("a line of %d characters: %q", len([]rune(l)), l)
				}
			}
			if strings.Contains(strings.Join(shown.lines, "\n"), what) {
				if frames++; frames == 3 { // so it is drawn over and over
					break
				}
			}
		}
		if len(shown.lines) > 4 {
			t.Errorf("pictures pile up: %q", shown.lines)
		}
	}
	see(": Active")
	n.Set(nodetest.Dead, 0)
	see("does not answer")
	n.Set(nodetest.None, 0)
	see(": Active")
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("ended with %d", code)
	}
}

func TestAPictureFitsItsTerminal(t *testing.T) {
	var lines []string
	for range 30 {
		lines = append(lines, strings.Repeat("x", 60))
	}
	var out strings.Builder
	if n := redraw(&out, lines, 0, 40, 10); n != 9 {
		t.Errorf("%d lines are drawn where 10 fit", n)
	}
	if !strings.Contains(out.String(), "… and 22 lines more") {
		t.Errorf("what is left out is not said: %q", out.String())
	}
}
