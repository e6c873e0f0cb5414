package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/tests/bench/result"
)

// machine says what is measured on: nothing by which it could be found.
func (b *bench) machine() *result.Machine {
	m := &result.Machine{
		Time: time.Now().UTC().Truncate(time.Minute), Cores: runtime.NumCPU(), Go: runtime.Version(),
		Processor: afterColon("/proc/cpuinfo", "model name"), FileSystem: fileSystem(b.scratch),
		Scale: b.scale, Repeats: b.repeats, Limit: b.limit.Seconds(),
		Latency: b.network.RoundTrip.Seconds(), Rate: b.network.Rate,
	}
	if kib, err := strconv.ParseInt(strings.TrimSuffix(afterColon("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.Memory = kib << 10
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

// afterColon returns the value of the first line of a file that begins so.
func afterColon(file, name string) string {
	data, _ := os.ReadFile(file)
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fileSystem returns the type of the file system a directory is on.
func fileSystem(dir string) string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return ""
	}
	device := strconv.Itoa(int(unix.Major(st.Dev))) + ":" + strconv.Itoa(int(unix.Minor(st.Dev)))
	data, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(line, " - ")
		if f := strings.Fields(before); len(f) > 2 && f[2] == device {
			return strings.Fields(after)[0]
		}
	}
	return ""
}
