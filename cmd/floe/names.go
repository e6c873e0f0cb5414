package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/floefs/floe/engine/walrus"
)

// A named is what a name stands for. Names are the user's own: what a store
// calls a dataset is somebody's claim and is never followed.
type named struct {
	Name  string        `json:"-"`
	ID    walrus.BlobID `json:"id"`
	Store string        `json:"store"` // URL of where it was put
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// checkName says whether name can be given to a dataset.
func checkName(name string) error {
	switch {
	case !nameForm.MatchString(name) || name[0] == '-' || name[0] == '.':
		return usagef("%q cannot be a name: use up to 64 letters, digits, '.', '_' and '-', and begin with none of the last two but '_'", name)
	case isID(name):
		return usagef("%q cannot be a name: it looks like a dataset id", name)
	}
	return nil
}

func (e *env) nameFile(name string) string { return filepath.Join(e.places().data, "names", name) }

// setName makes name stand for a dataset. Durable on return.
func (e *env) setName(n named) error {
	if err := checkName(n.Name); err != nil {
		return err
	}
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	path := e.nameFile(n.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keeping the name %s: %w", n.Name, err)
	}
	if err := replaceFile(path, append(data, '\n')); err != nil {
		return fmt.Errorf("keeping the name %s: %w", n.Name, err)
	}
	return nil
}

// replaceFile makes path hold data: whole and durable, or not at all.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// named returns what name stands for; an error wraps fs.ErrNotExist if that is
// nothing.
func (e *env) named(name string) (named, error) {
	n := named{Name: name}
	if err := checkName(name); err != nil {
		return n, err
	}
	data, err := os.ReadFile(e.nameFile(name))
	if other := e.otherData(); errors.Is(err, fs.ErrNotExist) && other != "" {
		data, err = os.ReadFile(filepath.Join(other, "names", name))
	}
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, fmt.Errorf("what the name %s stands for: %w", name, err)
	}
	return n, err
}

// names returns all names, sorted.
func (e *env) names() ([]named, error) {
	files, err := os.ReadDir(filepath.Join(e.places().data, "names"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []named
	for _, f := range files {
		if checkName(f.Name()) != nil {
			continue
		}
		if n, err := e.named(f.Name()); err == nil {
			all = append(all, n)
		}
	}
	return all, err
}

// forgetNames removes the names of a dataset and returns them.
func (e *env) forgetNames(id walrus.BlobID) ([]string, error) {
	all, err := e.names()
	var gone []string
	for _, n := range all {
		if n.ID != id {
			continue
		}
		if err := os.Remove(e.nameFile(n.Name)); err != nil {
			return gone, fmt.Errorf("forgetting the name %s: %w", n.Name, err)
		}
		gone = append(gone, n.Name)
	}
	return gone, err
}
