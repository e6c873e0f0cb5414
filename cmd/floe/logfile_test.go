package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestLogsDoNotGrowWithoutEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log", "mnt.log")
	l, err := openLog(path, false)
	if err != nil {
		t.Fatal(err)
	}
	line := bytes.Repeat([]byte("x"), 1<<20)
	for range 3*(logLimit>>20) + 1 {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]int64{path: 1 << 20, path + ".1": logLimit} {
		fi, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Size() != want {
			t.Errorf("%s has %d bytes, want %d", filepath.Base(file), fi.Size(), want)
		}
	}
}

func TestLogsAreNamedByTheirMount(t *testing.T) {
	for dir, want := range map[string]string{"/mnt/a": "mnt-a.log", "/": "-.log", "/mnt/a b/": "mnt-a b.log"} {
		if got := logName(dir); got != want {
			t.Errorf("%s: %s, want %s", dir, got, want)
		}
	}
}
