package main

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Options that mount(8) passes on or that mean something to others who read
// fstab. A dataset cannot be written, whatever rw says.
var ignoredOptions = []string{
	"ro", "rw", "defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group",
	"atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime",
	"exec", "dev", "suid", "nodev", "nosuid", "async", "silent", "loud", "mand", "nomand", "iversion", "noiversion",
	"default_permissions", "allow_root", "fsname", "subtype", "comment", "helper", "uhelper",
}

// Options that the kernel takes.
var kernelOptions = []string{"noexec", "sync", "dirsync", "nosymfollow", "context", "fscontext", "defcontext", "rootcontext"}

// setOptions sets the flags that -o names: as flags are called, with dashes or
// underscores. Flags on the command line come first. Unknown
// options are an error, unless mount(8) says to be sloppy.
func (m *mounter) setOptions(options []string) error {
	for _, o := range options {
		for _, opt := range splitOptions(o) {
			if err := m.setOption(opt); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mounter) setOption(opt string) error {
	key, value, hasValue := strings.Cut(opt, "=")
	switch {
	case key == "" || slices.Contains(ignoredOptions, key) || strings.HasPrefix(key, "x-") || strings.HasPrefix(key, "X-"):
		return nil
	case slices.Contains(kernelOptions, key):
		m.extra = append(m.extra, opt)
		return nil
	}
	name := strings.ReplaceAll(key, "_", "-")
	flag := m.flags.Lookup(name)
	if flag == nil || flag.Hidden || name == "option" || name == "foreground" {
		if m.sloppy {
			return nil
		}
		hint := "floe help mount lists the flags that can be options"
		if near := nearest(name, m.optionNames()); near != "" {
			hint = "did you mean " + near + "?"
		}
		return usagef("-o %s: there is no such option: %s", key, hint)
	}
	if how, ok := m.flags.given(name); ok && strings.HasPrefix(how, "--") {
		return nil
	}
	if !hasValue {
		if flag.NoOptDefVal == "" {
			return usagef("-o %s needs a value: -o %[1]s=...", key)
		}
		value = flag.NoOptDefVal
	}
	if err := m.flags.Set(name, value); err != nil {
		return usagef("-o %s: %w", key, err)
	}
	return nil
}

func (m *mounter) optionNames() []string {
	names := slices.Clone(kernelOptions)
	m.flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// splitOptions splits at commas, but not at \, or within double quotes, as
// SELinux contexts have them.
func splitOptions(s string) []string {
	var all []string
	var cur strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && (s[i+1] == ',' || s[i+1] == '\\'):
			i++
			cur.WriteByte(s[i])
		case c == '"':
			quoted = !quoted
			cur.WriteByte(c)
		case c == ',' && !quoted:
			all = append(all, cur.String())
			cur.Reset()
		default:
			cur.WriteByte(c)
		}
	}
	return append(all, cur.String())
}
