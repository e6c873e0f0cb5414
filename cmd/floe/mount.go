package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/fs"
)

var mountCommand = command{
	name:     "mount",
	group:    "use",
	brief:    "mount a dataset as a read-only directory",
	complete: "dataset",
	help: `Usage: floe mount [FLAGS] ID|NAME|walrus:ID DIR

  floe mount flowers /mnt/flowers          mounts, and goes on in the background
  floe mount -f flowers /mnt/flowers       stays until it is unmounted
  floe mount --allow-other --uid 1000 flowers /mnt/flowers
  floe mount walrus:BLOBID /mnt/blob       a Walrus blob, or what is in a quilt
  mount -t floe flowers /mnt/flowers       the same by mount(8), see below

Files are fetched as they are read, and every byte is proven against the id
before a program gets it. Returns when the mount can be used. DIR must exist.
As root it needs nothing installed, else fusermount3 (package fuse3).

For mount(8) and /etc/fstab, link floe to /sbin/mount.floe:
  floe#flowers  /mnt/flowers  floe  nofail,_netdev,cache-size=50G  0 0
`,
	new: func(f *flags) action {
		m := newMounter(f)
		return m.run
	},
}

type mounter struct {
	sources
	flags      *flags
	foreground bool
	allowOther bool
	uid, gid   int
	options    []string // -o
	logFile    string
	verbose    bool
	sloppy     bool // ignore unknown options
	readyFD    int  // where to say that the mount is ready; 0: nobody waits

	extra []string // options for the kernel, from -o
}

func newMounter(f *flags) *mounter {
	m := &mounter{flags: f}
	f.BoolVarP(&m.foreground, "foreground", "f", false, "stay in the foreground and log to standard error")
	f.BoolVar(&m.allowOther, "allow-other", false, "let other users in, as the files' modes permit")
	f.IntVar(&m.uid, "uid", -1, "show user `N` as the owner of everything")
	f.IntVar(&m.gid, "gid", -1, "show group `N` as the group of everything")
	m.sources.flags(f)
	m.strictFlag(f)
	f.StringArrayVarP(&m.options, "option", "o", nil, "`OPTIONS` as mount(8) writes them: any of these flags, with\ncommas between, and ro, noexec, context=...")
	f.StringVar(&m.logFile, "log-file", "", "log to `FILE`")
	f.otherwise("log-file", "~/.local/state/floe/log/DIR.log; with -f standard error")
	f.BoolVarP(&m.verbose, "verbose", "v", false, "log more")
	f.IntVar(&m.readyFD, "ready-fd", 0, "")
	f.BoolVar(&m.sloppy, "sloppy", false, "")
	for _, n := range []string{"ready-fd", "sloppy"} {
		f.MarkHidden(n)
		f.variable[n] = "-"
	}
	f.private("option", "foreground", "verbose")
	f.otherwise("uid", "you")
	f.otherwise("gid", "yours")
	return m
}

func (m *mounter) run(ctx context.Context, e *env, args []string) error {
	if len(args) != 2 {
		return usagef("floe mount needs a dataset and a directory: floe mount NAME DIR")
	}
	if err := m.setOptions(m.options); err != nil {
		return err
	}
	dir := e.abs(args[1])
	if !m.foreground {
		return m.background(ctx, e, dir)
	}
	err := m.serve(ctx, e, args[0], dir)
	if m.readyFD > 0 && err != nil { // the parent tells what went wrong, if it still waits
		tellParent(m.readyFD, readyMessage{Error: err.Error(), Code: exitCode(ctx, err)})
	}
	return err
}

// serve mounts and returns when the mount is gone.
func (m *mounter) serve(ctx context.Context, e *env, arg, dir string) error {
	log, err := m.logger(e, dir)
	if err != nil {
		return err
	}
	m.sources.log = log
	if err := m.check(e); err != nil {
		return err
	}
	s, err := e.subject(arg)
	if err != nil {
		return err
	}
	if s.path != "" {
		return usagef("%s: a dataset is mounted whole: mount %s, and use %s in it", arg, s, s.path)
	}
	rd, err := m.open(e, s, true)
	if err != nil {
		return err
	}
	defer rd.Close()
	limitHeap(e, rd.memory+rd.memory/2+64<<20)
	ds, err := rd.dataset(ctx, s)
	if err != nil {
		return err
	}
	if m.readyFD > 0 {
		os.Chdir("/") // hold no directory that somebody may want to unmount
	}
	began := time.Now()
	server, err := fs.Mount(ctx, dir, ds, m.mountOptions(log))
	if err != nil {
		return mountError(dir, err)
	}
	st := &served{Server: server, reader: rd, dataset: ds, subject: s, since: began, log: log, env: e}
	return m.attend(ctx, st)
}

// attend serves status while the mount lives, and ends it on signals: the
// first asks, the second does not ask.
func (m *mounter) attend(ctx context.Context, st *served) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	if ctx.Err() != nil { // it came while mounting
		signals <- syscall.SIGTERM
	}
	control, err := listenControl(st)
	if err != nil {
		st.log.Warn("floe status will not reach this mount", "error", err)
	} else {
		defer control.Close()
	}
	m.ready(st)
	for tries := 0; ; {
		select {
		case <-st.Done():
			st.log.Info("unmounted", "dir", st.Dir())
			return st.Wait()
		case sig := <-signals:
			tries++
			if tries > 2 {
				return exitWith(exitInterrupted, fmt.Errorf("%s: given up while in use", st.Dir()))
			}
			st.log.Info("signal", "signal", sig.String())
			go st.unmount(tries > 1)
		}
	}
}

// served is a mount and all that belongs to it.
type served struct {
	*fs.Server
	reader  *reader
	dataset *engine.Dataset
	subject subject
	since   time.Time
	log     *slog.Logger
	env     *env
}

func (st *served) unmount(lazy bool) {
	var busy *fs.BusyError
	switch err := st.Unmount(lazy); {
	case errors.As(err, &busy):
		st.log.Warn("still in use, serving on; a second signal detaches", "error", err)
		fmt.Fprintf(st.env.stderr, "floe: %s: it is served on; a second signal detaches it\n", printable(err.Error()))
	case err != nil:
		st.log.Error("cannot unmount", "error", err)
	}
}

func (m *mounter) mountOptions(log *slog.Logger) *fs.Options {
	o := &fs.Options{AllowOther: m.allowOther, ReadTimeout: m.timeout, Extra: m.extra, Logger: log}
	if m.uid >= 0 {
		uid := uint32(m.uid)
		o.UID = &uid
	}
	if m.gid >= 0 {
		gid := uint32(m.gid)
		o.GID = &gid
	}
	return o
}

// mountError gives the error of a mount that failed its exit code.
func mountError(dir string, err error) error {
	if p, ok := mountOn(dir); ok {
		return exitWith(exitBusy, fmt.Errorf("%w: floe umount %s", err, shellQuote(p.Dir)))
	}
	if isNotExist(err) {
		return fmt.Errorf("%w: mkdir it first", err)
	}
	return err
}

// mountOn returns the floe mount on dir, if there is one. It asks the mount
// nothing.
func mountOn(dir string) (p fs.MountPoint, ok bool) {
	all, _ := fs.Mounts()
	real := dir
	if parent, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
		real = filepath.Join(parent, filepath.Base(dir))
	}
	for _, m := range all {
		if m.Dir == dir || m.Dir == real {
			p, ok = m, true
		}
	}
	if ok {
		return p, true
	}
	// dir itself may be a symlink. It is no floe mount, so it can be asked.
	if fi, err := os.Lstat(dir); err == nil && fi.Mode()&os.ModeSymlink != 0 {
		if to, err := os.Readlink(dir); err == nil {
			if !filepath.IsAbs(to) {
				to = filepath.Join(filepath.Dir(dir), to)
			}
			if to != dir {
				return mountOn(to)
			}
		}
	}
	return p, false
}

// logger returns where the mount logs to.
func (m *mounter) logger(e *env, dir string) (*slog.Logger, error) {
	var w io.Writer = e.stderr
	if path := m.logPath(e, dir); path != "" {
		f, err := openLog(path, m.readyFD > 0)
		if err != nil {
			return nil, fmt.Errorf("log: %w: --log-file names another", err)
		}
		w = f
	}
	level := slog.LevelInfo
	if m.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), nil
}

// logPath returns the file to log to, "" for standard error.
func (m *mounter) logPath(e *env, dir string) string {
	switch {
	case m.logFile != "":
		return e.abs(m.logFile)
	case m.foreground && m.readyFD == 0:
		return ""
	}
	return filepath.Join(e.places().state, "log", logName(dir))
}
