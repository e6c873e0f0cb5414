package main

import (
	"context"
	"path/filepath"
	"strings"
	"unicode"
)

var mountHelperCommand = command{
	name: "mount.floe",
	help: `Usage: mount.floe ID|NAME DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]

What mount(8) calls for file systems of type floe, when floe is linked to
/sbin/mount.floe; it exits with the codes of mount(8). Otherwise it is floe
mount -o OPTIONS.
`,
	new: func(f *flags) action {
		var fake, sloppy, verbose, noTable bool
		var options []string
		var namespace, kind string
		f.BoolVarP(&fake, "fake", "f", false, "only check the command line")
		f.BoolVarP(&sloppy, "sloppy", "s", false, "ignore options that floe does not know")
		f.BoolVarP(&verbose, "verbose", "v", false, "log more")
		f.BoolVarP(&noTable, "no-mtab", "n", false, "(ignored)")
		f.StringVarP(&namespace, "namespace", "N", "", "(ignored: mount(8) has entered it)")
		f.StringVarP(&kind, "types", "t", "", "(ignored)")
		f.StringArrayVarP(&options, "options", "o", nil, "`OPTIONS`, with commas between")
		f.private("fake", "sloppy", "verbose", "no-mtab", "namespace", "types", "options")
		return func(ctx context.Context, e *env, args []string) error {
			if len(args) != 2 {
				return usagef("mount.floe needs a dataset and a directory")
			}
			mf := newFlags(mountCommand)
			m := newMounter(mf)
			line := make([]string, 0, 8)
			for _, o := range options {
				line = append(line, "--option="+o)
			}
			if verbose {
				line = append(line, "--verbose")
			}
			if sloppy {
				line = append(line, "--sloppy")
			}
			rest, err := mf.parse(e, append(line, args...))
			if err != nil {
				return err
			}
			if fake {
				_, err := e.subject(args[0])
				return err
			}
			return m.run(ctx, e, rest)
		}
	},
}

// isMountHelper reports whether mount(8) calls us.
func isMountHelper(argv []string) bool {
	return filepath.Base(argv[0]) == mountHelperCommand.name || len(argv) > 1 && argv[1] == mountHelperCommand.name
}

// mountCode turns an exit code into one that mount(8) knows.
func mountCode(code int) int {
	switch code {
	case exitOK:
		return 0
	case exitUsage, exitDenied:
		return 1
	case exitInterrupted:
		return 8
	}
	return 32
}

// shellQuote returns s so that a shell takes it for one word.
func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, special) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func special(r rune) bool {
	return r < 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/-_.+=@:,", r)
}
