package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
)

var datasetsCommand = command{
	name:  "datasets",
	group: "keep",
	brief: "list the datasets of a store, and your names for them",
	help: `Usage: floe datasets [--json] [--from URL]

  floe datasets
  floe datasets --from dir:/data/floe

Lists what was put into the store, latest first, and names of yours that stand
for datasets in other stores.
`,
	new: func(f *flags) action {
		d := &datasets{}
		jsonFlag(f, &d.json)
		d.sources.fromFlag(f)
		return d.run
	},
}

type datasets struct {
	sources
	json bool
}

// A datasetJSON is one line of datasets --json.
type datasetJSON struct {
	Dataset string     `json:"dataset"`
	Names   []string   `json:"names"` // yours
	Store   string     `json:"store"`
	Created *time.Time `json:"created,omitempty"`
	Files   uint64     `json:"files"`
	Bytes   uint64     `json:"bytes"`
}

func (d *datasets) run(ctx context.Context, e *env, args []string) error {
	if len(args) > 0 {
		return usagef("floe datasets takes no arguments: floe stat %s shows one dataset", args[0])
	}
	list, err := d.list(e)
	p := e.printer(d.json)
	if len(list) == 0 && !d.json && err == nil {
		fmt.Fprintln(e.stderr, "there is no dataset yet: floe put DIR makes one")
	}
	for _, j := range list {
		if d.json {
			p.object(j)
			continue
		}
		created := "not listed there     " // a name of somebody else's dataset
		if j.Created != nil {
			created = j.Created.Local().Format(time.DateTime)
		}
		fmt.Fprintf(p, "%s  %-19s  %10s files  %10s  %s\n", j.Dataset, created, grouped(j.Files), humanBytes(j.Bytes), strings.Join(j.Names, " "))
	}
	return errors.Join(err, p.Flush())
}

// list returns the datasets of the stores, latest first, then those that only
// names know.
func (d *datasets) list(e *env) ([]datasetJSON, error) {
	names, err := e.names()
	var list []datasetJSON
	urls := d.from
	if len(urls) == 0 {
		urls = []string{""}
	}
	named := make(map[walrus.BlobID][]string)
	for _, n := range names {
		named[n.ID] = append(named[n.ID], n.Name)
	}
	for _, url := range urls {
		store, openErr := d.listedStore(e, url)
		if openErr != nil {
			if len(d.from) > 0 {
				err = errors.Join(err, openErr)
			}
			continue // no default store yet: no datasets
		}
		for r, e := range store.Datasets() {
			if e != nil {
				err = errors.Join(err, e)
			}
			list = append(list, datasetJSON{
				Dataset: r.ID.String(), Names: append([]string{}, named[r.ID]...), Store: storeURL(store.Path()),
				Created: &r.Created, Files: r.Files, Bytes: r.Bytes,
			})
			delete(named, r.ID)
		}
	}
	slices.SortStableFunc(list, func(a, b datasetJSON) int { return b.Created.Compare(*a.Created) })
	if len(d.from) > 0 {
		return list, err
	}
	for _, n := range names {
		if of, ok := named[n.ID]; ok {
			list = append(list, datasetJSON{Dataset: n.ID.String(), Names: of, Store: n.Store})
			delete(named, n.ID)
		}
	}
	return list, err
}

// listedStore opens a store that has a list of datasets.
func (d *datasets) listedStore(e *env, url string) (*dir.Store, error) {
	p, err := e.openPlace(url, &d.reach, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	defer p.close()
	return p.onlyStore("datasets")
}
