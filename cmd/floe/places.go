package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
)

// places are the directories floe keeps things in: those of the XDG base
// directory specification, or of the system for a root without a home, as
// when mount(8) runs at boot.
type places struct {
	data   string // stores and names
	cache  string
	state  string // logs, evidence
	config string
	run    string // control sockets of mounts
}

func (e *env) places() places {
	home := e.home()
	if home == "" {
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

// evidenceDir returns where false slivers are kept, with who served them.
func (e *env) evidenceDir() string { return filepath.Join(e.places().state, "evidence") }

// home returns the user's home directory; "" for a root without one.
func (e *env) home() string {
	if home := e.get("HOME"); home != "" || e.root {
		return home
	}
	return passwdHome()
}

// passwdHome returns the home that the list of users has, "/" if it has none.
func passwdHome() string {
	if u, err := user.Current(); err == nil && filepath.IsAbs(u.HomeDir) {
		return u.HomeDir
	}
	return "/"
}

// otherData returns where else data of a root without a home may be: mount(8)
// takes the home away, and what root has put at a prompt should mount then too.
func (e *env) otherData() string {
	if e.home() == "" {
		return filepath.Join(passwdHome(), ".local/share/floe")
	}
	return ""
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
