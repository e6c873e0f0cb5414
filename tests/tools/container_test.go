package tools

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/floefs/floe/tests/floe"
)

// containerReads runs a container whose root file system is one static
// binary, as a user who owns nothing of the mount, without a network.
func containerReads(t *testing.T, g *ground) {
	floe.NeedTools(t, "runc", "busybox", "sha256sum")
	bundle := t.TempDir()
	root := filepath.Join(bundle, "rootfs")
	for _, dir := range []string{"bin", "data", "proc"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	box, err := exec.LookPath("busybox")
	must(t, err)
	bin, err := os.ReadFile(box)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "bin/busybox"), bin, 0o755))

	script := `
		cd /data && echo "uid $(/bin/busybox id -u)" &&
		/bin/busybox find . -type f ! -perm 400 -exec /bin/busybox sha256sum {} + &&
		{ /bin/busybox cat data/4095 2>&1 || :; } &&
		{ /bin/busybox touch data/new 2>&1 || :; }`
	config, err := json.Marshal(containerConfig(g.mount, []string{"/bin/busybox", "sh", "-c", script}))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o644))
	out := output(t, bundle, "runc", "--root", filepath.Join(bundle, "state"), "run", "--bundle", bundle, fmt.Sprintf("floe-test-%d", os.Getpid()))

	got := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range []string{"uid 4321", "cat: can't open 'data/4095': Permission denied", "touch: data/new: Read-only file system"} {
		i := slices.Index(got, line)
		if i < 0 {
			t.Fatalf("the container does not say %q; it says %.2000s", line, out)
		}
		got = slices.Delete(got, i, i+1)
	}
	want := output(t, g.source, "find", ".", "-type", "f", "!", "-perm", "400", "-exec", "sha256sum", "{}", "+")
	// The two spell odd names differently; the hashes are what counts.
	sums := func(lines []string) []string {
		var all []string
		for _, l := range lines {
			if sum, _, ok := strings.Cut(strings.TrimPrefix(l, `\`), "  "); ok && len(sum) == 64 {
				all = append(all, sum)
			}
		}
		slices.Sort(all)
		return all
	}
	wantSums := sums(strings.Split(want, "\n"))
	sameLines(t, "hashes in the container", sums(got), wantSums)
	t.Logf("%d files", len(wantSums))
}

// containerConfig is an OCI runtime configuration with the mount bound at
// /data.
func containerConfig(mount string, args []string) map[string]any {
	type m = map[string]any
	return m{
		"ociVersion": "1.0.2",
		"root":       m{"path": "rootfs", "readonly": true},
		"process": m{
			"user": m{"uid": 4321, "gid": 4321}, "args": args, "cwd": "/", "env": []string{"PATH=/bin"}, "noNewPrivileges": true,
			"capabilities": m{"bounding": []string{}, "effective": []string{}, "permitted": []string{}},
		},
		"mounts": []m{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/data", "type": "bind", "source": mount, "options": []string{"rbind", "ro", "nosuid", "nodev"}},
		},
		"linux": m{"namespaces": []m{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"}}},
	}
}
