package committee

import (
	"os"
	"syscall"
)

// own reports whether nobody but the user that this process runs as, or root,
// can have written an open file: it belongs to one of them, and others may not
// write to it. That its group may is no matter if that is the owner's alone,
// which by convention has the owner's number.
func own(f *os.File) bool {
	fi, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return false
	}
	mode := fi.Mode().Perm()
	return mode&0o002 == 0 && (mode&0o020 == 0 || st.Gid == st.Uid)
}
