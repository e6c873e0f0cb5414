package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"syscall"
	"testing"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/merkle"
)

func TestTerminalsGetNoControlCharacters(t *testing.T) {
	for in, want := range map[string]string{
		"plain name.txt": "plain name.txt",
		"ünï 漢字":         "ünï 漢字",
		"a\x1b[31mb":     `a\x1b[31mb`,
		"a\nb\tc":        `a\nb\tc`,
		"a\x7f":          `a\x7f`,
		"a\xffb":         `a\xffb`,
		"a\u0085b":       `a\u0085b`, // NEL, a control character of two bytes
		"a\u202eb":       `a\u202eb`, // turns the rest of the line around
		"a\u200bb":       `a\u200bb`, // cannot be seen
		"a\U000e0041b":   `a\U000e0041b`,
		`a\b`:            `a\\b`,
	} {
		if got := escaped(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if got := printable(`a\b` + "\n"); got != `a\b\n` {
		t.Errorf("got %s", got)
	}
}

func TestNamesInJSON(t *testing.T) {
	j := toJSON("a/\xff", catalog.Entry{Name: "\xff", Type: catalog.File})
	data, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	json.Unmarshal(data, &got)
	if got["name_b64"] != "/w==" || got["path_b64"] != "YS//" || got["name"] != nil {
		t.Errorf("got %s", data)
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "4096": 4096, "512MiB": 512 << 20, "512M": 512 << 20, "10G": 10 << 30, "10g": 10 << 30, "1.5GiB": 3 << 29,
		"2TB": 2e12, "1kB": 1000, "7B": 7, "10 GiB": 10 << 30, "9223372036854775807": math.MaxInt64,
	} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "x", "5x", "-", "1.2.3G", "5Gi B", "99999999999T", "NaN", "1e5G", "GiB"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("%s: %d, want an error", in, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 1536: "1.50 KiB", 10 << 20: "10.0 MiB", 999 << 30: "999 GiB", 1 << 40: "1.00 TiB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 10 << 30: "10GiB", 1000: "1000", 1536: "1536", 3 << 20: "3MiB"} {
		if got := exactBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	if got := grouped(1234567); got != "1,234,567" {
		t.Errorf("got %s", got)
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("disk on fire"), 1},
		{usagef("what?"), 2},
		{fmt.Errorf("x: %w", fs.ErrNotExist), 3},
		{fmt.Errorf("x: %w", merkle.ErrMismatch), 4},
		{fmt.Errorf("x: %w", catalog.ErrMalformed), 4},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), 5},
		{fmt.Errorf("x: %w", fs.ErrPermission), 6},
		{fmt.Errorf("x: %w", blob.ErrUnavailable), 7},
		{fmt.Errorf("%w: %w", blob.ErrUnavailable, fs.ErrNotExist), 7},
		{fmt.Errorf("x: %w", syscall.EBUSY), 8},
		{fmt.Errorf("x: %w", context.Canceled), 130},
		{errTold.like(blob.ErrUnavailable), 7},
	} {
		if got := exitCode(t.Context(), c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := exitCode(ctx, errors.New("anything")); got != exitInterrupted {
		t.Errorf("interrupted: %d", got)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"mount", "umount", "status", "stat", "ls", "verify"}
	for in, want := range map[string]string{"moutn": "mount", "unmount": "umount", "lss": "ls", "verfy": "verify", "zzzzz": ""} {
		if got := nearest(in, names); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	e := testEnv(t)
	for _, bad := range []string{"", ".", "..", "a/b", "-x", ".hidden", "a b", "ü", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", string(make([]byte, 65))} {
		if err := checkName(bad); err == nil {
			t.Errorf("%q is taken for a name", bad)
		}
	}
	want := named{Name: "a.b-c_1", ID: [32]byte{1, 2, 3}, Store: "dir:/x"}
	if err := e.setName(want); err != nil {
		t.Fatal(err)
	}
	if got, err := e.named(want.Name); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	s, err := e.subject("floe#a.b-c_1/x/y/")
	if err != nil || s.id != want.ID || s.path != "x/y" || s.store != want.Store {
		t.Errorf("got %+v, %v", s, err)
	}
	if gone, err := e.forgetNames(want.ID); err != nil || len(gone) != 1 {
		t.Errorf("forgot %q, %v", gone, err)
	}
	if _, err := e.named(want.Name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it was forgotten: %v", err)
	}
}

func TestRelativeXDGDirectoriesAreIgnored(t *testing.T) {
	e := testEnv(t)
	vars := map[string]string{"HOME": "/h", "XDG_DATA_HOME": "rel", "XDG_CACHE_HOME": "/c"}
	e.lookup = func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	if p := e.places(); p.data != "/h/.local/share/floe" || p.cache != "/c/floe" {
		t.Errorf("got %+v", p)
	}
	delete(vars, "HOME")
	e.root = true
	if p := e.places(); p.data != "/var/lib/floe" || p.run != "/run/floe" {
		t.Errorf("root without a home: got %+v", p)
	}
}
