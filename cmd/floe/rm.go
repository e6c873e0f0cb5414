package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/fs"
)

var rmCommand = command{
	name:     "rm",
	group:    "keep",
	brief:    "remove a dataset from its store",
	complete: "dataset",
	help: `Usage: floe rm [FLAGS] ID|NAME...

  floe rm flowers
  floe rm --from dir:/data/floe flowers

Removes the dataset, your names for it and certificates of it, and those of its
blobs that no other dataset of the store needs; prints how much that freed. It asks nothing. It
refuses while the dataset is mounted, and removes no blob as long as it cannot
read what another dataset of the store needs.
`,
	new: func(f *flags) action {
		r := &remover{}
		jsonFlag(f, &r.json)
		r.sources.fromFlag(f)
		return r.run
	},
}

type remover struct {
	sources
	json bool
}

func (r *remover) run(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return usagef("floe rm needs a dataset: floe datasets lists those there are")
	}
	r.cacheMode = "auto"
	p := e.printer(r.json)
	for _, arg := range args {
		if err := r.remove(ctx, e, p, arg); err != nil {
			return errors.Join(err, p.Flush())
		}
	}
	return p.Flush()
}

func (r *remover) remove(ctx context.Context, e *env, p *printer, arg string) error {
	if err := r.check(e); err != nil {
		return err
	}
	s, err := e.datasetOnly(arg, "floe rm removes what floe put has put")
	if err != nil {
		return err
	}
	if s.path != "" {
		return usagef("%s: datasets are removed whole; to leave something out, put them again with --exclude", arg)
	}
	if err := e.refuseMounted(ctx, s); err != nil {
		return err
	}
	if len(r.from) > 1 {
		return usagef("floe rm removes from one store")
	}
	rd, err := r.open(e, s, false)
	if err != nil {
		return err
	}
	defer rd.Close()
	store, err := rd.places[0].onlyStore("rm")
	if err != nil {
		return err
	}
	lock, err := lockStore(store, true)
	if err != nil {
		return err
	}
	defer lock.release()
	blobs, freed, err := removeDataset(ctx, rd, store, s)
	if err != nil {
		return err
	}
	gone, err := e.forgetNames(s.id)
	if err == nil {
		err = e.forgetCertificates(s.id)
	}
	if err != nil {
		return err
	}
	if r.json {
		return p.object(struct {
			Dataset string   `json:"dataset"`
			Names   []string `json:"names"`
			Blobs   int      `json:"blobs_removed"`
			Freed   int64    `json:"bytes_freed"`
		}{s.id.String(), append([]string{}, gone...), blobs, freed})
	}
	_, err = fmt.Fprintf(p, "removed %s: %s freed, %s\n", s, humanBytes(freed), count(blobs, "blob", "blobs"))
	return err
}

// refuseMounted fails if a dataset is mounted.
func (e *env) refuseMounted(ctx context.Context, s subject) error {
	mounts, err := fs.Mounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		// Who serves it knows best; if nobody answers, what the kernel shows.
		mounted := m.Source == "floe#"+s.id.String()[:8]
		if st, conn, err := e.askMount(ctx, m); err == nil {
			conn.Close()
			mounted = strings.TrimPrefix(st.Dataset, barePrefix) == s.id.String()
		}
		if mounted {
			return exitWith(exitBusy, fmt.Errorf("%s is mounted on %s: floe umount %[2]s", s, shellQuote(m.Dir)))
		}
	}
	return nil
}

// removeDataset removes a dataset's record and those of its blobs that no
// other dataset of the store has. The record goes first: what is left of a
// removal that was interrupted is not listed.
func removeDataset(ctx context.Context, rd *reader, store *dir.Store, s subject) (blobs int, freed int64, err error) {
	needed := make(map[walrus.BlobID]bool)
	listed := false
	for rec, err := range store.Datasets() {
		if rec.ID == s.id {
			listed = true
			continue
		}
		if err == nil {
			err = blobsOf(ctx, rd.Engine, rec.ID, func(id walrus.BlobID) { needed[id] = true })
		}
		if err != nil {
			return 0, 0, fmt.Errorf("nothing was removed, as it is not known what dataset %s needs: %w: floe verify%s tells what is damaged", rec.ID, err, rd.typed(subject{id: rec.ID}))
		}
	}
	mine := []walrus.BlobID{s.id}
	ownErr := blobsOf(ctx, rd.Engine, s.id, func(id walrus.BlobID) { mine = append(mine, id) })
	if ownErr != nil && (!listed || ctx.Err() != nil) {
		return 0, 0, rd.absent(ownErr, s)
	}
	if listed {
		if err := store.RemoveRecord(s.id); err != nil {
			return 0, 0, err
		}
	}
	// The header blob goes last: it tells what else there is to remove.
	for i := len(mine) - 1; i >= 0; i-- {
		id := mine[i]
		if needed[id] {
			continue
		}
		needed[id] = true // it may be in the table twice
		n, err := store.Remove(ctx, id)
		freed += n
		if err != nil && !isNotExist(err) {
			return blobs, freed, fmt.Errorf("removing blob %s: %w: type floe rm again", id, err)
		}
		if err == nil {
			blobs++
		}
	}
	if ownErr != nil {
		return blobs, freed, fmt.Errorf("the dataset was removed, but not all of its blobs, since its table cannot be read: %w", ownErr)
	}
	return blobs, freed, nil
}

// blobsOf calls visit for every blob of a dataset.
func blobsOf(ctx context.Context, eng *engine.Engine, id walrus.BlobID, visit func(walrus.BlobID)) error {
	d, err := eng.Open(ctx, id)
	if err != nil {
		return err
	}
	for blob, err := range d.Blobs(ctx) {
		if err != nil {
			return err
		}
		visit(blob)
	}
	return nil
}
