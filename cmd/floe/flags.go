package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/floefs/floe/engine/walrus"
)

// flags are the flags of one command. Each can also be set by a variable and
// by a line in the configuration file; the command line comes first, then the
// variable, then the file.
type flags struct {
	*pflag.FlagSet
	command  string
	variable map[string]string // flag to variable, where that is not FLOE_ and its name
	origin   map[string]string // flag to where its value comes from
	oneDash  []string          // long flags that may be written with one dash
	args     []string          // what was parsed
}

func newFlags(c command) *flags {
	f := &flags{
		FlagSet:  pflag.NewFlagSet(c.name, pflag.ContinueOnError),
		command:  c.name,
		variable: make(map[string]string), origin: make(map[string]string),
	}
	f.SortFlags = false
	f.Usage = func() {}
	f.BoolP("help", "?", false, "explain this command")
	f.MarkHidden("help")
	f.variable["help"] = "-"
	return f
}

// private takes the variables of flags out of the common name space: they
// mean something else in other commands.
func (f *flags) private(names ...string) {
	for _, n := range names {
		f.variable[n] = "FLOE_" + upper(f.command) + "_" + upper(n)
	}
}

// variableOf returns the variable that sets a flag, "" if none does.
func (f *flags) variableOf(name string) string {
	v, ok := f.variable[name]
	switch {
	case !ok:
		return "FLOE_" + upper(name)
	case v == "-":
		return ""
	}
	return v
}

func upper(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// A dataset id may begin with '-', one in 64 does. isID reports whether arg is
// one, or one and a path.
func isID(arg string) bool {
	id, _, _ := strings.Cut(arg, "/")
	_, err := walrus.ParseBlobID(id)
	return err == nil
}

// shield makes arguments that are ids unlike flags, by a byte that no argument
// can contain; bare takes it away.
func shield(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if strings.HasPrefix(a, "-") && isID(a) {
			a = "\x00" + a
		}
		out[i] = a
	}
	return out
}

func bare(arg string) string { return strings.TrimPrefix(arg, "\x00") }

// parse sets the flags and returns the other arguments.
func (f *flags) parse(e *env, args []string) ([]string, error) {
	f.args = args
	args = shield(args)
	for i, a := range args {
		if name, ok := strings.CutPrefix(a, "-"); ok && slices.Contains(f.oneDash, name) {
			args[i] = "-" + a
		}
	}
	err := f.ParseAll(args, func(flag *pflag.Flag, value string) error {
		f.origin[flag.Name] = "--" + flag.Name
		return f.Set(flag.Name, bare(value))
	})
	if err != nil {
		return nil, f.explain(err)
	}
	if help, _ := f.GetBool("help"); help {
		return nil, pflag.ErrHelp
	}
	if err := f.fromVariables(e); err != nil {
		return nil, err
	}
	if err := f.fromFile(e); err != nil {
		return nil, err
	}
	rest := make([]string, 0, f.NArg())
	for _, a := range f.Args() {
		rest = append(rest, bare(a))
	}
	return rest, nil
}

// explain turns an error of pflag into one that helps.
func (f *flags) explain(err error) error {
	var none *pflag.NotExistError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &none):
		name := none.GetSpecifiedName()
		var names []string
		f.VisitAll(func(flag *pflag.Flag) {
			if !flag.Hidden {
				names = append(names, flag.Name)
			}
		})
		what := "--" + name
		if short := none.GetSpecifiedShortnames(); short != "" {
			what = "-" + name
		} else if near := nearest(name, names); near != "" {
			return usagef("floe %s has no flag %s: did you mean --%s?", f.command, what, near)
		}
		return usagef("floe %s has no flag %s: floe help %[1]s lists its flags", f.command, what)
	}
	return usagef("floe %s: %w: see floe help %[1]s", f.command, err)
}

// fromVariables sets the flags that the command line has not.
func (f *flags) fromVariables(e *env) error {
	var first error
	f.VisitAll(func(flag *pflag.Flag) {
		name := f.variableOf(flag.Name)
		if name == "" || f.origin[flag.Name] != "" || first != nil {
			return
		}
		if value := e.get(name); value != "" {
			f.origin[flag.Name] = name
			if err := f.Set(flag.Name, value); err != nil {
				first = usagef("variable %s: %w", name, err)
			}
		}
	})
	return first
}

// given reports whether a flag has been set in some way, and how.
func (f *flags) given(name string) (how string, ok bool) {
	how, ok = f.origin[name]
	return how, ok
}

// otherwise says what happens if a flag is not given, where its default value
// does not.
func (f *flags) otherwise(name, text string) { f.Lookup(name).DefValue = text }

func (f *flags) defaultOf(flag *pflag.Flag) string {
	d, err := time.ParseDuration(flag.DefValue)
	if err != nil || flag.Value.Type() != "duration" {
		return flag.DefValue
	}
	text := d.String() // 1m0s
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return text
}

// describe explains the flags, a line each.
func (f *flags) describe() string {
	type row struct{ left, right string }
	var rows []row
	width := 0
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(flag)
		left := "      --" + flag.Name
		if flag.Shorthand != "" {
			left = "  -" + flag.Shorthand + ", --" + flag.Name
		}
		switch {
		case value != "" && flag.NoOptDefVal != "":
			left += "[=" + value + "]"
		case value != "":
			left += " " + value
		}
		var notes []string
		if d := f.defaultOf(flag); d != "" && d != "false" && d != "[]" && d != "0" && d != "0s" {
			notes = append(notes, "default "+d)
		}
		if v := f.variableOf(flag.Name); v != "" {
			notes = append(notes, v)
		}
		if len(notes) > 0 {
			note := "(" + strings.Join(notes, "; ") + ")"
			last := usage[strings.LastIndexByte(usage, '\n')+1:]
			if len(last)+len(note) > 72 {
				usage += "\n" + note
			} else {
				usage += " " + note
			}
		}
		width = max(width, len(left))
		rows = append(rows, row{left, usage})
	})
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%-*s   %s\n", width, r.left, strings.ReplaceAll(r.right, "\n", "\n"+strings.Repeat(" ", width+3)))
	}
	return b.String()
}
