package committee

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsOnesOwnIfNobodyElseCanWriteToIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "two.toml")
	if err := os.WriteFile(path, []byte(two), 0o600); err != nil {
		t.Fatal(err)
	}
	const other = 12345
	me := os.Geteuid()
	for _, c := range []struct {
		mode     os.FileMode
		uid, gid int
		own      bool
	}{
		{0o600, me, me, true}, {0o644, me, me, true}, {0o664, me, me, true}, {0o644, me, other, true},
		{0o646, me, me, false}, {0o664, me, other, false},
		{0o600, other, me, false}, {0o644, other, other, false},
	} {
		if me != 0 && (c.uid != me || c.gid != os.Getegid()) {
			continue // only root can give files away
		}
		if err := os.Chown(path, c.uid, c.gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if os.Geteuid() != 0 && err != nil {
			t.Fatal(err)
		}
		if got.Own != c.own {
			t.Errorf("mode %o, owner %d, group %d, read by %d: own is %v", c.mode, c.uid, c.gid, me, got.Own)
		}
	}
}
