package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// places are the directories floe keeps things in: those of the XDG base
// directory specification, or of the system for a root without a home, as
// when mount(8) runs at boot.
type places struct {
	data   string // stores and names
	cache  string
	state  string // logs
	config string
	run    string // control sockets of mounts
}

func (e *env) places() places {
	home := e.get("HOME")
	if e.root && home == "" {
		return places{
			data: "/var/lib/floe", cache: "/var/cache/floe", state: "/var/log/floe",
			config: "/etc/floe", run: e.runDir(),
		}
	}
	// A relative path in these variables is to be ignored, says the specification.
	at := func(variable, otherwise string) string {
		if p := e.get(variable); filepath.IsAbs(p) {
			return filepath.Join(p, "floe")
		}
		return filepath.Join(home, otherwise, "floe")
	}
	return places{
		data: at("XDG_DATA_HOME", ".local/share"), cache: at("XDG_CACHE_HOME", ".cache"),
		state: at("XDG_STATE_HOME", ".local/state"), config: at("XDG_CONFIG_HOME", ".config"),
		run: e.runDir(),
	}
}

// runDir returns where this user's mounts have their control sockets. Root's
// are always in one place, however root came to be.
func (e *env) runDir() string {
	if p := e.get("FLOE_RUN_DIR"); filepath.IsAbs(p) {
		return p
	}
	if e.root {
		return "/run/floe"
	}
	if p := e.get("XDG_RUNTIME_DIR"); filepath.IsAbs(p) {
		return filepath.Join(p, "floe")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("floe-%d", os.Geteuid()))
}

// runDirOf returns where the mounts of another user have theirs.
func (e *env) runDirOf(uid int) string {
	switch {
	case uid == os.Geteuid():
		return e.runDir()
	case uid == 0:
		return "/run/floe"
	}
	return fmt.Sprintf("/run/user/%d/floe", uid)
}
