package tools

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tarCopies(t *testing.T, g *ground) {
	archive, copied := filepath.Join(t.TempDir(), "tree.tar"), filepath.Join(t.TempDir(), "copy")
	must(t, os.Mkdir(copied, 0o755))
	// --sparse has tar seek for holes.
	output(t, g.mount, "tar", "--xattrs", "--sparse", "-cf", archive, ".")
	output(t, copied, "tar", "--xattrs", "-xpf", archive)
	sameTrees(t, g.source, copied)

	// And the other way: what tar made of the source is on the mount. Of
	// directories tar compares the device as well.
	output(t, g.source, "tar", "--xattrs", "--sparse", "-cf", archive, ".")
	if out, err := try(t, g.mount, "tar", "--compare", "-f", archive); err != nil || out != "" {
		t.Errorf("tar --compare: %v\n%s", err, out)
	}
}

func cpCopies(t *testing.T, g *ground) {
	copied := filepath.Join(t.TempDir(), "copy")
	must(t, os.Mkdir(copied, 0o755))
	output(t, "/", "cp", "-a", g.mount+"/.", copied)
	sameTrees(t, g.source, copied)
	if du := output(t, copied, "du", "-k", "data/sparse"); !strings.HasPrefix(du, "1024\t") {
		t.Errorf("cp found other holes: %s", du)
	}
}

func rsyncAgrees(t *testing.T, g *ground) {
	for _, way := range [][2]string{{g.source, g.mount}, {g.mount, g.source}} {
		out := output(t, "/", "rsync", "-n", "-aHAX", "--checksum", "--delete", "--no-owner", "--no-group", "-i", way[0]+"/", way[1]+"/")
		if out != "" {
			t.Errorf("rsync from %s to %s would:\n%.2000s", way[0], way[1], out)
		}
	}
}

func writesFail(t *testing.T, g *ground) {
	for _, command := range []string{
		"touch data/1", "touch data/new", "mkdir data/new", "rmdir data/empty", "rm -f data/1", "rm -rf data/numbers", "mv data/1 data/2", "mv -f data/0 data/1",
		"cp /etc/hostname data/new", "ln data/1 data/new", "ln -s data/1 data/new", "chmod 777 data/1", "chown 1 data/1", "chgrp -h 1 data/relative",
		"setfattr -n user.x -v y data/1", "setfattr -x user.colour data/1", "truncate -s 0 data/1", "dd if=/dev/zero of=data/1 count=1",
		"sed -i s/a/b/ text/net/net.go", "tee data/1", "mkfifo data/new",
	} {
		args := strings.Fields(command)
		if _, err := try(t, g.mount, args[0], args[1:]...); err == nil || !strings.Contains(err.Error(), "Read-only file system") {
			t.Errorf("%s: %v", command, err)
		}
	}
	sameTrees(t, g.source, g.mount)
}
