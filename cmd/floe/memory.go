package main

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// defaultMemory returns the smaller of 256 MiB and an eighth of what this
// process may take.
func defaultMemory() int64 {
	most := int64(256 << 20)
	if limit := memoryLimit(); limit > 0 {
		most = min(most, limit/8)
	}
	return most
}

// limitHeap has the garbage collector keep the process within bytes, unless
// the user has said so by GOMEMLIMIT.
func limitHeap(e *env, bytes int64) {
	if e.get("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}

// memoryLimit returns how much memory this process's control group allows, or
// the machine has if that is less; 0 if neither can be told.
func memoryLimit() int64 {
	limit := machineMemory()
	for _, file := range limitFiles() {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		if err == nil && n > 0 && (limit == 0 || n < limit) { // "max" is no number
			limit = n
		}
	}
	return limit
}

func machineMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if f := strings.Fields(sc.Text()); len(f) >= 2 && f[0] == "MemTotal:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// limitFiles returns the files that hold the limits of this process's control
// group and of those around it, for both versions of control groups. Inside a
// container the group's own path may not exist; then its root is the group.
func limitFiles() []string {
	files := []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return files
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); { // 4:memory:/a/b or 0::/a/b
		part := strings.SplitN(sc.Text(), ":", 3)
		if len(part) != 3 {
			continue
		}
		root, name := "/sys/fs/cgroup", "memory.max"
		if part[1] != "" {
			root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
			if part[1] != "memory" {
				continue
			}
		}
		for p := part[2]; p != "/" && p != "." && p != ""; p = filepath.Dir(p) {
			files = append(files, filepath.Join(root, p, name))
		}
	}
	return files
}
