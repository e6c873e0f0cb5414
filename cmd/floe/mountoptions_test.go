package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOptionsOfMountAreFlags(t *testing.T) {
	f := newFlags(mountCommand)
	m := newMounter(f)
	if _, err := f.parse(testEnv(t), []string{"--uid=5", "-o", "rw,noauto,x-systemd.automount,cache_size=1G,uid=7,gid=8,allow_other", "-o", `read-timeout=5s,cache-dir=/a\,b,noexec,context="a:b,c"`, "ID", "DIR"}); err != nil {
		t.Fatal(err)
	}
	if err := m.setOptions(m.options); err != nil {
		t.Fatal(err)
	}
	if m.uid != 5 || m.gid != 8 || m.cacheSize != 1<<30 || !m.allowOther || m.timeout != 5*time.Second || m.cacheDir != "/a,b" {
		t.Errorf("got %+v", m)
	}
	if !slices.Equal(m.extra, []string{"noexec", `context="a:b,c"`}) {
		t.Errorf("for the kernel: %q", m.extra)
	}
}

func TestUnknownOptionsOfMountAreRefusedUnlessSloppy(t *testing.T) {
	for _, opt := range []string{"cachesize=5", "bogus", "cache-dir", "foreground", "ready-fd=3", "option=x"} {
		f := newFlags(mountCommand)
		m := newMounter(f)
		if err := m.setOptions([]string{opt}); exitCode(t.Context(), err) != exitUsage {
			t.Errorf("-o %s: %v", opt, err)
		}
		m.sloppy = true
		if err := m.setOptions([]string{opt}); err != nil && opt != "cache-dir" {
			t.Errorf("-s -o %s: %v", opt, err)
		}
	}
}

func TestSplitOptions(t *testing.T) {
	for in, want := range map[string][]string{
		"":                {""},
		"a,b=c":           {"a", "b=c"},
		`a\,b,c`:          {"a,b", "c"},
		`a\\,b`:           {`a\`, "b"},
		`context="x,y",z`: {`context="x,y"`, "z"},
	} {
		if got := splitOptions(in); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestMountHelperExitsAsMountDoes(t *testing.T) {
	for code, want := range map[int]int{
		exitOK: 0, exitOther: 32, exitUsage: 1, exitNotFound: 32, exitDenied: 1, exitTooFew: 32, exitBusy: 32, exitInterrupted: 8,
	} {
		if got := mountCode(code); got != want {
			t.Errorf("%d: %d, want %d", code, got, want)
		}
	}
	for _, argv := range [][]string{{"/sbin/mount.floe", "a"}, {"floe", "mount.floe"}} {
		if !isMountHelper(argv) {
			t.Errorf("%s is not taken for the helper of mount", strings.Join(argv, " "))
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"/mnt/a": "/mnt/a", "/mnt/a b": "'/mnt/a b'", "it's": `'it'\''s'`, "": "''", "/ü": "/ü", "$x": "'$x'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
