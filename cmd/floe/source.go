package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/floefs/floe/cachestore"
	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// A subject is a dataset, or a place in it, as the user writes it:
// ID[/path], NAME[/path], or walrus:ID[/path] for a Walrus blob as it is.
type subject struct {
	arg   string // as written
	id    walrus.BlobID
	bare  bool   // a Walrus blob as it is
	name  string // the user's for it, "" if it was given by its id
	store string // URL of where the name says it is
	path  string // without slashes at its ends
}

// subject finds out what arg means.
func (e *env) subject(arg string) (subject, error) {
	s := subject{arg: arg}
	head, path, _ := strings.Cut(strings.TrimPrefix(arg, "floe#"), "/")
	s.path = strings.Trim(path, "/")
	var err error
	if id, ok := strings.CutPrefix(head, barePrefix); ok {
		s.bare = true
		if s.id, err = walrus.ParseBlobID(id); err != nil {
			return s, usagef("%s: %w", arg, err)
		}
		return s, nil
	}
	if s.id, err = walrus.ParseBlobID(head); err == nil {
		return s, nil
	}
	n, err := e.named(head)
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("no dataset is called %q%s: %w", head, e.didYouMean(head), errNotNamed)
	}
	if err != nil {
		return s, err
	}
	s.id, s.name, s.store = n.ID, n.Name, n.Store
	return s, nil
}

// barePrefix stands before the ids of Walrus blobs as they are.
const barePrefix = "walrus:"

// datasetOnly is subject for a command that makes no sense for other blobs.
// Instead tells what to do.
func (e *env) datasetOnly(arg, instead string) (subject, error) {
	s, err := e.subject(arg)
	if err == nil && s.bare {
		err = usagef("%s is a Walrus blob as it is, not a dataset: %s", s, instead)
	}
	return s, err
}

// errNotNamed reads as what to do about it.
var errNotNamed = exitWith(exitNotFound, errors.New("floe datasets lists those there are"))

func (e *env) didYouMean(name string) string {
	all, _ := e.names()
	var names []string
	for _, n := range all {
		names = append(names, n.Name)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}

// String returns what the user calls the dataset.
func (s subject) String() string {
	if s.name != "" {
		return s.name
	}
	if s.bare {
		return barePrefix + s.id.String()
	}
	return s.id.String()
}

// address returns what anybody may call the dataset.
func (s subject) address() string {
	s.name = ""
	return s.String()
}

// sources says where datasets are read from and what is kept of them.
type sources struct {
	reach
	from      []string
	cacheDir  string
	cacheSize size
	cacheMode string
	minFree   size
	memory    size
	timeout   time.Duration
	offline   bool
	strict    bool         // check Walrus blobs by encoding them anew
	log       *slog.Logger // nil: silent
}

// fromFlag declares the flags that say where to read, and how.
func (s *sources) fromFlag(f *flags) {
	f.StringArrayVar(&s.from, "from", nil, "read from `PLACE`: dir:PATH, s3://BUCKET/PREFIX, a committee\nfile or the URL of an aggregator; repeat it for more, the best\nfirst")
	f.otherwise("from", "where put left the dataset")
	f.variable["from"] = storeVariable
	s.reachFlags(f)
}

// strictFlag declares the flag of commands that can check a Walrus blob.
func (s *sources) strictFlag(f *flags) {
	f.BoolVar(&s.strict, "strict", false, "of walrus:ID, encode the blob anew and compare ids first")
}

// flags declares the flags of commands that read datasets.
func (s *sources) flags(f *flags) {
	s.fromFlag(f)
	s.cacheSize = 10 << 30
	f.StringVar(&s.cacheDir, "cache-dir", "", "keep proven chunks in `DIR`")
	f.otherwise("cache-dir", "~/.cache/floe")
	f.Var(&s.cacheSize, "cache-size", "disk the cache may take")
	f.StringVar(&s.cacheMode, "cache", "auto", "keep what is read `WHEN`: always; auto, not if the store is on\nthe cache's own file system")
	f.Var(&s.minFree, "min-free", "disk the cache leaves free for others")
	f.otherwise("min-free", "a tenth of it, at most 1GiB")
	f.Var(&s.memory, "memory", "memory for reads in flight and for recent chunks")
	f.otherwise("memory", "an eighth of what there is, at most 256MiB")
	f.DurationVar(&s.timeout, "read-timeout", time.Minute, "fail a read that got no bytes for `TIME`")
	f.BoolVar(&s.offline, "offline", false, "read only what is in the cache")
}

// check finds mistakes in the values of flags.
func (s *sources) check(e *env) error {
	for _, url := range s.from {
		if _, _, err := e.placeOf(url); err != nil {
			return err
		}
	}
	if s.timeout < 0 {
		return usagef("--read-timeout %s: it must be more than nothing", s.timeout)
	}
	if s.cacheMode != "auto" && s.cacheMode != "always" {
		return usagef("--cache %s: it can be auto or always", s.cacheMode)
	}
	return nil
}

// A reader is all that takes part in reading datasets from one set of places.
type reader struct {
	*engine.Engine
	blobs  *blob.Client
	places []*place
	nodes  []member          // of all places
	cache  *cachestore.Store // nil: none
	dir    string            // of the cache
	memory int64
	near   bool     // all nodes lie beside the cache
	strict bool     // see sources
	from   []string // as the user gave them
}

// open opens the places that hold s and the cache. Commands that end soon do
// without a cache if reading it would gain them nothing.
func (r *sources) open(e *env, s subject, lasting bool) (*reader, error) {
	rd := &reader{dir: r.cacheDir, memory: int64(r.memory), near: true, from: r.from, strict: r.strict}
	if rd.dir == "" {
		rd.dir = e.places().cache
	}
	rd.dir = e.abs(rd.dir)
	if rd.memory == 0 {
		rd.memory = defaultMemory()
	}
	if !r.offline {
		if err := rd.openPlaces(e, r, s); err != nil {
			return nil, err
		}
	}
	var cache engine.Cache
	if lasting || r.offline || !rd.near {
		var err error
		rd.cache, err = cachestore.Open(rd.dir, &cachestore.Options{
			Size: int64(r.cacheSize), MinFree: int64(r.minFree), Logger: r.log,
		})
		if err != nil {
			return nil, fmt.Errorf("opening the cache: %w: --cache-dir names another directory", err)
		}
		cache = rd.cache
	}
	rd.blobs = blob.New(blobMembers(rd.nodes), &blob.Options{Logger: r.log, Evidence: e.evidenceDir()})
	rd.Engine = engine.New(rd.blobs, cache, &engine.Options{Memory: rd.memory, Fetch: r.timeout, Logger: r.log, Near: rd.near && !r.offline})
	return rd, nil
}

// openPlaces opens the places to read s from: those that were asked for, or
// the one its name remembers, or the default.
func (rd *reader) openPlaces(e *env, r *sources, s subject) error {
	urls := r.from
	if len(urls) == 0 {
		urls = []string{s.store}
	}
	near := func(path string) bool { return r.cacheMode == "auto" && sameFS(path, rd.dir) }
	for _, url := range urls {
		p, err := e.openPlace(url, &r.reach, near)
		if err != nil {
			return err
		}
		rd.places = append(rd.places, p)
		rd.nodes = append(rd.nodes, p.members...)
	}
	for _, n := range rd.nodes {
		rd.near = rd.near && n.Near
	}
	return nil
}

// dataset opens s.
func (rd *reader) dataset(ctx context.Context, s subject) (*engine.Dataset, error) {
	d, err := rd.find(ctx, s)
	if err == nil {
		return d, nil
	}
	return nil, rd.absent(err, s)
}

// find opens s, and does not say what to do if it cannot.
func (rd *reader) find(ctx context.Context, s subject) (*engine.Dataset, error) {
	if !s.bare {
		if rd.strict {
			return nil, usagef("--strict is for Walrus blobs as they are, walrus:ID: of a dataset every byte is proven by its own hash")
		}
		d, err := rd.Engine.Open(ctx, s.id)
		if errors.Is(err, catalog.ErrMalformed) {
			err = fmt.Errorf("%w: if it is another Walrus blob, walrus:%s is it as it is", err, s.id)
		}
		return d, err
	}
	b, err := rd.OpenBlob(ctx, s.id)
	if err != nil {
		return nil, err
	}
	if rd.strict {
		if err := b.CheckStrictly(ctx); err != nil {
			return nil, fmt.Errorf("checking blob %s: %w", s.id, err)
		}
	}
	return b.Dataset(ctx)
}

// blobsOf returns the blobs that s consists of.
func (rd *reader) blobsOf(ctx context.Context, s subject) (iter.Seq2[walrus.BlobID, error], error) {
	if s.bare {
		_, err := rd.OpenBlob(ctx, s.id)
		return func(yield func(walrus.BlobID, error) bool) { yield(s.id, nil) }, err
	}
	d, err := rd.find(ctx, s)
	if err != nil {
		return nil, err
	}
	return d.Blobs(ctx), nil
}

// absent makes an error that says that s is nowhere readable.
func (rd *reader) absent(err error, s subject) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return rd.advise(err, s)
	}
	var where []string
	for _, p := range rd.places {
		if !p.rows() { // which was not asked
			where = append(where, p.url)
		}
	}
	if s.bare {
		return exitWith(exitNotFound, fmt.Errorf("blob %s is not in %s: --from names another place", s.id, strings.Join(where, ", ")))
	}
	return exitWith(exitNotFound, fmt.Errorf("dataset %s is not in %s: floe datasets lists what is, --from names another place", s, strings.Join(where, ", ")))
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// advise adds to an error what to do about it.
func (rd *reader) advise(err error, s subject) error {
	if errors.Is(err, blob.ErrNoMetadata) {
		return rd.noMetadata(s)
	}
	if len(rd.nodes) == 0 && errors.Is(err, blob.ErrUnavailable) {
		return exitWith(exitTryLater, fmt.Errorf("what this takes of %s is not in the cache %s: leave out --offline", s, rd.dir))
	}
	if errors.Is(err, blob.ErrUnavailable) || errors.Is(err, merkle.ErrMismatch) {
		return fmt.Errorf("%w: floe verify%s tells what is damaged", err, rd.typed(s))
	}
	return err
}

// typed returns s as it is to be typed behind a command that is to read the
// same places.
func (rd *reader) typed(s subject) (words string) {
	for _, url := range rd.from {
		words += " --from " + shellQuote(url)
	}
	return words + " " + s.String()
}

// Close ends all reads. What waits to be cached is written first.
func (rd *reader) Close() error {
	err := rd.Engine.Close()
	if rd.cache != nil {
		err = errors.Join(err, rd.cache.Close())
	}
	for _, p := range rd.places {
		p.close()
	}
	return err
}

// opened is a dataset opened for one command, and a place in it.
type opened struct {
	subject
	*engine.Dataset
	rd    *reader
	entry catalog.Entry // at the subject's path
}

// at opens the dataset that arg names, and finds the place in it.
func (r *sources) at(ctx context.Context, e *env, arg string) (*opened, error) {
	if err := r.check(e); err != nil {
		return nil, err
	}
	s, err := e.subject(arg)
	if err != nil {
		return nil, err
	}
	rd, err := r.open(e, s, false)
	if err != nil {
		return nil, err
	}
	o := &opened{subject: s, rd: rd}
	if o.Dataset, err = rd.dataset(ctx, s); err == nil {
		o.entry, err = o.find(ctx)
	}
	if err != nil {
		rd.Close()
		return nil, err
	}
	return o, nil
}

func (o *opened) find(ctx context.Context) (catalog.Entry, error) {
	entry, err := o.Resolve(ctx, o.path)
	if errors.Is(err, fs.ErrNotExist) {
		return entry, exitWith(exitNotFound, fmt.Errorf("%s has no %s: floe ls%s lists what it has", o.subject, o.path, o.rd.typed(o.subject)))
	}
	if err != nil {
		return entry, o.rd.advise(err, o.subject)
	}
	return entry, nil
}

// each opens the places that args name, one after the other, and calls do for
// each.
func (r *sources) each(ctx context.Context, e *env, args []string, do func(o *opened) error) error {
	return e.each(ctx, args, func(arg string) error {
		o, err := r.at(ctx, e, arg)
		if err != nil {
			return err
		}
		defer o.rd.Close()
		return do(o)
	})
}

// name returns what the place is called: the last part of its path, or what
// the user calls the dataset.
func (o *opened) name() string {
	if o.path == "" {
		return o.subject.String()
	}
	return filepath.Base(o.path)
}

func modTime(e catalog.Entry) time.Time { return time.Unix(e.Sec, int64(e.Nsec)) }
