package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/floefs/floe/fs"
)

var umountCommand = command{
	name:     "umount",
	group:    "use",
	brief:    "unmount a dataset",
	complete: "mount",
	help: `Usage: floe umount [--lazy] DIR...

  floe umount /mnt/flowers
  floe umount --lazy /mnt/flowers     though it is in use

Returns when the mount is gone and all that was to be cached is on disk. If
programs use the mount, it stays, the programs are listed, and the exit code is
8. With --lazy it disappears at once, and those who use it go on until they
let go. It also clears away mounts whose process has died.
`,
	new: func(f *flags) action {
		u := &unmounter{}
		f.BoolVarP(&u.lazy, "lazy", "l", false, "detach it now, even if it is in use")
		f.private("lazy")
		return u.run
	},
}

type unmounter struct{ lazy bool }

func (u *unmounter) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe umount needs the directory that is mounted: floe status lists those there are")
	}
	return e.each(ctx, args, func(arg string) error { return u.unmount(ctx, e, arg) })
}

func (u *unmounter) unmount(ctx context.Context, e *env, arg string) error {
	m, ok := mountOn(e.abs(arg))
	if !ok {
		return exitWith(exitNotFound, fmt.Errorf("%s is not a floe mount: floe status lists those there are", arg))
	}
	_, conn, askErr := e.askMount(ctx, m)
	if conn != nil {
		defer conn.Close()
	}
	err := fs.Unmount(m.Dir, u.lazy)
	if err != nil && dead(m.Dir) { // its process is gone, so nobody can be using it
		err = fs.Unmount(m.Dir, true)
	}
	var busy *fs.BusyError
	if errors.As(err, &busy) {
		return inUse(busy)
	}
	if err != nil {
		return err
	}
	if askErr == nil && !u.lazy {
		awaitEnd(ctx, conn)
	}
	return nil
}

// inUse lists who uses a mount.
func inUse(busy *fs.BusyError) error {
	text := fmt.Sprintf("%s is in use", busy.Dir)
	for i, h := range busy.Holders {
		if i == 10 {
			text += fmt.Sprintf(", and %d more", len(busy.Holders)-i)
			break
		}
		sep := "; "
		if i == 0 {
			sep = " by "
		}
		text += sep + h.String()
	}
	return exitWith(exitBusy, fmt.Errorf("%s: end them, or floe umount --lazy %s", text, shellQuote(busy.Dir)))
}

// awaitEnd waits until the other end of conn is closed: until the process that
// served the mount has put everything away.
func awaitEnd(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	defer stop()
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	io.Copy(io.Discard, conn)
}
