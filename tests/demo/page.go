package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// A page prints what happens, in colour on a terminal.
type page struct{ steps int }

const (
	bold  = "1"
	faint = "2"
	green = "32"
	cyan  = "36"
)

func paint(code, s string) string {
	fi, err := os.Stdout.Stat()
	if err != nil || fi.Mode()&os.ModeCharDevice == 0 || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *page) title(name, what string) {
	fmt.Printf("\n  %s  %s\n  %s\n", paint(bold, name), what, paint(faint, strings.Repeat("─", 64)))
}

func (p *page) step(what, command string) {
	p.steps++
	fmt.Printf("\n  %s %s\n    %s\n", paint(cyan, fmt.Sprintf("%d", p.steps)), paint(bold, what), paint(faint, "$ "+command))
}

func (p *page) fact(name, value string) { fmt.Printf("    %-12s %s\n", name, value) }
func (p *page) note(text string)        { fmt.Printf("    %s\n", text) }
func (p *page) good(text string)        { fmt.Printf("    %s %s\n", paint(green, "✓"), text) }

func (p *page) close(lines ...string) {
	fmt.Printf("\n  %s\n", paint(faint, strings.Repeat("─", 64)))
	for _, l := range lines {
		fmt.Printf("  %s\n", l)
	}
	fmt.Println()
}

func since(t time.Time) string { return time.Since(t).Round(10 * time.Millisecond).String() }

func short(id string) string { return id[:8] + "…" }

func bytesText(n int64) string {
	const units = "kMGT"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, u := float64(n)/1000, 0
	for v >= 1000 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	return fmt.Sprintf("%.1f %cB", v, units[u])
}
