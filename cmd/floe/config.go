package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

// The configuration file sets flags by their names, for all commands that
// have them:
//
//	# ~/.config/floe/config.toml
//	store      = "dir:/data/floe"   # what --from and --to are if not given
//	cache-dir  = "/scratch/floe"
//	cache-size = "200GiB"
//
// FLOE_CONFIG names another file.

// storeKey stands for --from and --to in the file, as FLOE_STORE does among
// the variables.
const storeKey = "store"

func configPath(e *env) string {
	if p := e.get("FLOE_CONFIG"); p != "" {
		return e.abs(p)
	}
	return filepath.Join(e.places().config, "config.toml")
}

// readConfig returns the lines of the configuration file, by key.
func readConfig(e *env) (map[string]any, error) {
	path := configPath(e)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && e.get("FLOE_CONFIG") == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var lines map[string]any
	if err := toml.Unmarshal(data, &lines); err != nil {
		return nil, usagef("configuration %s: %w", path, err)
	}
	keys := configKeys()
	for key := range lines {
		if !slices.Contains(keys, key) {
			hint := ""
			if near := nearest(key, keys); near != "" {
				hint = fmt.Sprintf(": did you mean %s?", near)
			}
			return nil, usagef("configuration %s: there is no setting %q%s", path, key, hint)
		}
	}
	return lines, nil
}

// configKeys returns what may stand in a configuration file.
func configKeys() []string {
	keys := []string{storeKey}
	for _, c := range commands {
		f := newFlags(c)
		c.new(f)
		f.VisitAll(func(flag *pflag.Flag) {
			if key := f.configKey(flag.Name); key != "" && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		})
	}
	return keys
}

// configKey returns the key that sets a flag, "" if none does: flags that mean
// something else in each command have none.
func (f *flags) configKey(name string) string {
	v, special := f.variable[name]
	switch {
	case v == storeVariable:
		return storeKey
	case special:
		return ""
	}
	return name
}

// fromFile sets the flags that neither the command line nor a variable has.
func (f *flags) fromFile(e *env) error {
	lines, err := readConfig(e)
	if err != nil {
		return err
	}
	for key, value := range lines {
		var err error
		f.VisitAll(func(flag *pflag.Flag) {
			if f.configKey(flag.Name) != key || f.origin[flag.Name] != "" || err != nil {
				return
			}
			f.origin[flag.Name] = configPath(e)
			err = f.setAll(flag.Name, value)
		})
		if err != nil {
			return usagef("configuration %s: %s: %w", configPath(e), key, err)
		}
	}
	return nil
}

// setAll sets a flag to a value, or to each of a list.
func (f *flags) setAll(name string, value any) error {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, v := range list {
		if err := f.Set(name, fmt.Sprint(v)); err != nil {
			return err
		}
	}
	return nil
}
