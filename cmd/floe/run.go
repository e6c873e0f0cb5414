package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

// env is all that a subcommand knows of the world around it.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	lookup func(string) (string, bool) // environment variables
	dir    string                      // where relative paths start
	root   bool                        // the user is root
}

// An action does what a command line asks for.
type action func(ctx context.Context, e *env, args []string) error

// A command is one subcommand of floe.
type command struct {
	name  string
	group string                // of the list that help prints; "" hides the command
	brief string                // what it does, for that list
	help  string                // usage and examples; help adds the flags
	new   func(f *flags) action // declares flags and returns what runs when they are set

	// complete names what its arguments are: "dataset", "mount", "command" or
	// "file", which is the default.
	complete string
}

// commands are all there are, in the order of help. They are set by init, since
// help and completion, which are commands, read them.
var commands []command

func init() {
	commands = []command{
		putCommand, mountCommand, umountCommand, statusCommand,
		lsCommand, statCommand, duCommand, findCommand, catCommand, cpCommand,
		verifyCommand, repairCommand, mirrorCommand, nodesCommand,
		nodeCommand, serveCommand, keygenCommand,
		datasetsCommand, rmCommand, cacheCommand, warmCommand, pinCommand, unpinCommand,
		blobIDCommand, versionCommand, completionCommand, helpCommand,
		completeCommand, mountHelperCommand,
	}
}

func commandNamed(name string) (command, bool) {
	for _, c := range commands {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

// run runs the command line argv and returns its exit code. What goes wrong
// is told on stderr.
func run(ctx context.Context, argv []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, lookup: os.LookupEnv, root: os.Geteuid() == 0}
	e.dir, _ = os.Getwd()
	return e.run(ctx, argv)
}

func (e *env) run(ctx context.Context, argv []string) int {
	err := e.dispatch(ctx, argv)
	code := exitCode(ctx, err)
	if isMountHelper(argv) {
		code = mountCode(code)
	}
	switch {
	case ctx.Err() != nil && err != nil:
		fmt.Fprintln(e.stderr, "floe: interrupted")
	case err != nil && !errors.Is(err, errTold):
		e.complain(err)
	}
	return code
}

// complain tells the user of an error.
func (e *env) complain(err error) { fmt.Fprintf(e.stderr, "floe: %s\n", printable(err.Error())) }

// dispatch finds the command, sets its flags and runs it.
func (e *env) dispatch(ctx context.Context, argv []string) error {
	args := argv[1:]
	if isMountHelper(argv) && filepath.Base(argv[0]) == mountHelperCommand.name {
		args = append([]string{mountHelperCommand.name}, args...)
	}
	if len(args) == 0 {
		writeOverview(e.stderr)
		return errTold.as(exitUsage)
	}
	switch args[0] {
	case "-h", "--help":
		writeOverview(e.stdout)
		return nil
	case "-v", "--version":
		args[0] = versionCommand.name
	}
	c, ok := commandNamed(args[0])
	if !ok {
		return unknownCommand(args[0])
	}
	f := newFlags(c)
	act := c.new(f)
	if c.name == completeCommand.name {
		return act(ctx, e, args[1:]) // half a command line, flags and all
	}
	rest, err := f.parse(e, args[1:])
	if errors.Is(err, pflag.ErrHelp) {
		writeHelp(e.stdout, c)
		return nil
	}
	if err != nil {
		return err
	}
	return act(ctx, e, rest)
}

func unknownCommand(name string) error {
	var names []string
	for _, c := range commands {
		if c.group != "" {
			names = append(names, c.name)
		}
	}
	if strings.HasPrefix(name, "-") {
		return usagef("flags follow the command: floe help lists the commands")
	}
	if near := nearest(name, names); near != "" {
		return usagef("there is no command %q: did you mean floe %s?", name, near)
	}
	return usagef("there is no command %q: floe help lists those there are", name)
}

// each calls do for each of args. It goes on after one that fails, and returns
// the first error.
func (e *env) each(ctx context.Context, args []string, do func(arg string) error) error {
	var first error
	for _, arg := range args {
		err := do(arg)
		if err == nil {
			continue
		}
		if ctx.Err() != nil || len(args) == 1 {
			return err
		}
		if !errors.Is(err, errTold) {
			e.complain(err)
		}
		if first == nil {
			first = errTold.like(err)
		}
	}
	return first
}

// abs returns path as an absolute one.
func (e *env) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(e.dir, path)
}

// get returns an environment variable, "" if it is not set.
func (e *env) get(name string) string {
	v, _ := e.lookup(name)
	return v
}
