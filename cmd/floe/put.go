package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
	floefs "github.com/floefs/floe/fs"
	"github.com/floefs/floe/merkle"
)

var putCommand = command{
	name:     "put",
	group:    "use",
	brief:    "pack a directory into a dataset; prints its id",
	complete: "file",
	help: `Usage: floe put [FLAGS] DIR

  floe put ./flowers                       prints the id of the dataset
  floe put --name flowers ./flowers        that can also be called flowers
  floe put --base flowers ./flowers        a new version: stores what changed
  floe put --exclude '*.tmp' --exclude .git ./flowers
  floe put --to committee.toml ./flowers   on many machines
  floe put --to https://PUBLISHER ./flowers    on Walrus, through a publisher

The id appears on standard output when everything is on disk for good; all else
is said on standard error. The same directory gives the same id on every
machine. An interrupted put goes on where it was when it is typed again.

The nodes of a committee that have keys are asked to sign that they store it
all. What a quorum of them has signed is kept with your names, and can be checked
without them: floe verify --certificate.

A publisher registers, stores and certifies blobs, for as long as --epochs says,
and whoever runs it pays; FLOE_PUBLISHER_TOKEN is the token it may want. An
upload relay (relay:https://HOST) only stores them: it takes blobs that have been
registered on Sui, for good, by other means, and --json prints the certificates
with which they can be certified there. Both see what is put.

Stored are files, directories, symlinks, hard links, modes, times to the
nanosecond, user xattrs and holes. What a dataset cannot hold (devices, sockets,
setuid bits, owners) is left out and counted.
`,
	new: func(f *flags) action {
		p := &putter{}
		f.StringVar(&p.to, "to", "", "put into `PLACE`: dir:PATH, s3://BUCKET/PREFIX or a committee file;\nor through the URL of a publisher, or relay:URL")
		f.otherwise("to", "~/.local/share/floe/store")
		f.variable["to"] = storeVariable
		f.StringVar(&p.name, "name", "", "call the dataset `NAME` from now on")
		f.StringVar(&p.base, "base", "", "take unchanged files over from dataset `ID|NAME`")
		f.StringArrayVar(&p.exclude, "exclude", nil, "leave out what matches `GLOB`: a name anywhere, or a path from DIR;\nrepeat it for more")
		f.BoolVarP(&p.oneFS, "one-file-system", "x", false, "leave out what is mounted below DIR")
		f.IntVar(&p.shards, "n-shards", 0, "encode each blob for `N` shards, 4 to 1000")
		f.otherwise("n-shards", "100, or what the base or the committee has; 1000 for publishers")
		f.Var(&p.blobSize, "blob-size", "bytes of a blob, a multiple of 16KiB")
		f.otherwise("blob-size", "64MiB, or what the base has")
		f.IntVar(&p.epochs, "epochs", 0, "ask a publisher to store for `N` epochs")
		f.otherwise("epochs", "1")
		p.reachFlags(f)
		f.BoolVarP(&p.quiet, "quiet", "q", false, "say nothing but the id")
		f.private("name", "base", "n-shards", "epochs", "quiet")
		jsonFlag(f, &p.json)
		return p.run
	},
}

type putter struct {
	reach
	to, name, base string
	exclude        []string
	oneFS          bool
	shards, epochs int
	blobSize       size
	quiet, json    bool
}

// putMemory is what the garbage collector keeps put within. Buffers and
// encoders for blobs of 64 MiB take most of it; the process may take 512 MiB.
const putMemory = 440 << 20

func (p *putter) run(ctx context.Context, e *env, args []string) error {
	if len(args) != 1 {
		return usagef("floe put needs one directory: floe put DIR")
	}
	if err := p.check(); err != nil {
		return err
	}
	limitHeap(e, putMemory)
	source := e.abs(args[0])
	if err := checkSource(source, args[0]); err != nil {
		return err
	}
	to, err := p.place(e)
	if err != nil {
		return err
	}
	defer to.close()
	if err := p.agree(to); err != nil {
		return err
	}
	release, err := to.lock()
	if err != nil {
		return err
	}
	defer release()

	opts, close, err := p.options(ctx, e, to, source)
	if err != nil {
		return err
	}
	defer close()
	began := time.Now()
	show := newProgress(e, p.quiet)
	opts.Progress = func(at publish.Progress) { show.show(func() string { return progressLine(at, began) }) }
	nodes := blob.New(blobMembers(to.members), &blob.Options{Evidence: e.evidenceDir()})
	writer, err := nodes.Writer()
	var sink publish.Sink = writer
	if to.through != nil {
		sink, err = to.through, nil
	}
	if err != nil {
		return err
	}
	res, err := publish.Dir(ctx, source, sink, opts)
	show.end()
	if err != nil {
		return p.explain(err, to)
	}
	if err := p.remember(e, to, res); err != nil {
		return err
	}
	p.summarize(show, to, res, began)
	tellFailed(show, to, nodes.Nodes(), res.ID)
	cert, err := p.certify(ctx, e, show, to, writer, res)
	if err != nil {
		return err
	}
	return p.answer(e, to, res, cert, began)
}

// place opens the place to put to.
func (p *putter) place(e *env) (*place, error) {
	kind, path, err := e.placeOf(p.to)
	if err != nil {
		return nil, err
	}
	if kind == httpScheme || kind == relayScheme {
		return p.throughPlace(e, kind, path)
	}
	if p.epochs != 0 {
		return nil, usagef("--epochs: only publishers are asked for how long they store: leave the flag out")
	}
	return e.createPlace(p.to, &p.reach)
}

// agree takes the number of shards from what is put to, if it has one.
func (p *putter) agree(to *place) error {
	if to.through != nil {
		return p.agreeThrough(to)
	}
	if to.committee == nil {
		return nil
	}
	if n := to.committee.Shards; p.shards != 0 && p.shards != n {
		return usagef("--n-shards %d: %s has %d: leave the flag out", p.shards, to.url, n)
	}
	p.shards = to.committee.Shards
	if _, err := walrus.NewParams(p.shards, uint64(p.blobSize)); err != nil {
		return usagef("--blob-size: %w", err)
	}
	return nil
}

// check finds mistakes in the values of flags.
func (p *putter) check() error {
	if p.name != "" {
		if err := checkName(p.name); err != nil {
			return err
		}
	}
	if _, err := publish.NewMatcher(p.exclude); err != nil {
		return usagef("--exclude: %w", err)
	}
	if p.blobSize < 0 || p.blobSize%merkle.ChunkSize != 0 {
		return usagef("--blob-size %s: it must be a multiple of 16KiB", &p.blobSize)
	}
	if p.shards != 0 {
		if _, err := walrus.NewParams(p.shards, uint64(p.blobSize)); err != nil {
			return usagef("--n-shards, --blob-size: %w", err)
		}
	}
	return nil
}

// checkSource says early what cannot be put.
func checkSource(path, arg string) error {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %s: %w", arg, fs.ErrNotExist)
	case err != nil:
		return err
	case !fi.IsDir():
		return usagef("%s is not a directory: floe put takes one", arg)
	}
	return nil
}

// options returns what publish is to do, and a function that ends what it
// needs.
func (p *putter) options(ctx context.Context, e *env, to *place, source string) (*publish.Options, func(), error) {
	places := e.places()
	o := &publish.Options{
		Shards: p.shards, BlobSize: int64(p.blobSize), Exclude: p.exclude, OneFileSystem: p.oneFS,
		Avoid:   []string{places.cache},
		Journal: filepath.Join(places.state, "put", to.journalName()),
	}
	if to.through != nil {
		o.Journal = "" // whoever has a blob says so when it is put
	}
	for _, m := range to.members {
		if m.store != nil {
			o.Avoid = append(o.Avoid, m.store.Path())
		}
	}
	lines, err := readConfig(e)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range []any{e.get("FLOE_CACHE_DIR"), lines["cache-dir"]} {
		if dir, ok := c.(string); ok && dir != "" {
			o.Avoid = append(o.Avoid, e.abs(dir))
		}
	}
	mounts, err := floefs.Mounts()
	if err != nil {
		return nil, nil, err
	}
	for _, m := range mounts {
		if m.Dir != source { // a mounted dataset can be put, if it is asked for
			o.Avoid = append(o.Avoid, m.Dir)
		}
	}
	if p.base == "" {
		return o, func() {}, nil
	}
	s, err := e.datasetOnly(p.base, "leave out --base")
	if err != nil {
		return nil, nil, fmt.Errorf("--base: %w", err)
	}
	src := &sources{from: []string{to.url}, reach: p.reach, cacheMode: "auto"}
	rd, err := src.open(e, s, false)
	if err != nil {
		return nil, nil, fmt.Errorf("--base: %w", err)
	}
	base, err := rd.dataset(ctx, s)
	if err != nil {
		rd.Close()
		return nil, nil, fmt.Errorf("--base: %w", err)
	}
	o.Base = base
	return o, func() { rd.Close() }, nil
}

// journalName is that of the journal of what a place has. A committee with
// other nodes is another place.
func (p *place) journalName() string {
	var name []byte
	if p.store != nil {
		name = []byte(p.store.Path())
	} else {
		for _, m := range p.members {
			name = fmt.Appendln(name, m.url, m.shards)
		}
	}
	h := merkle.Blake3(name)
	return hex.EncodeToString(h[:8])
}

// explain adds to an error what to do about it.
func (p *putter) explain(err error, to *place) error {
	if to.through != nil {
		err = to.through.explain(err)
	}
	switch {
	case errors.Is(err, publish.ErrChanged):
		return fmt.Errorf("%w: put it again when nobody writes to it", err)
	case errors.Is(err, publish.ErrUnreadable):
		return fmt.Errorf("%w: --exclude leaves it out", err)
	}
	return err
}

// remember writes the dataset into the store's list and keeps its name. Only
// then is the id printed.
func (p *putter) remember(e *env, to *place, res publish.Result) error {
	if to.store != nil {
		r := dir.Record{ID: res.ID, Name: p.name, Created: time.Now().UTC(), Files: res.Files, Bytes: res.Bytes}
		if err := to.store.PutRecord(r); err != nil {
			return fmt.Errorf("noting the dataset in its store: %w", err)
		}
	}
	if p.name == "" {
		return nil
	}
	return e.setName(named{Name: p.name, ID: res.ID, Store: to.url})
}
