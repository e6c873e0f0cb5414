package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/floefs/floe/cachestore"
	"github.com/floefs/floe/engine/walrus"
)

var cacheCommand = command{
	name:  "cache",
	group: "keep",
	brief: "look at the cache of proven chunks, check it, make it smaller",
	help: `Usage: floe cache ls|check|gc [FLAGS]

  floe cache ls                     how much is cached, of which blobs
  floe cache check                  look for damage
  floe cache gc                     keep to the budget now
  floe cache gc --cache-size 1G     shrink to 1 GiB
  floe cache gc --cache-size 0      empty it

The cache is never believed: what is read from it is proven again, so damage
costs time and never changes a byte. It may be deleted at any time.
`,
	new: func(f *flags) action {
		c := &cacheTool{flags: f}
		c.size = 10 << 30
		f.StringVar(&c.dir, "cache-dir", "", "the cache in `DIR`")
		f.otherwise("cache-dir", "~/.cache/floe")
		f.Var(&c.size, "cache-size", "disk the cache may take")
		f.Var(&c.minFree, "min-free", "disk the cache leaves free for others")
		f.otherwise("min-free", "a tenth of it, at most 1GiB")
		jsonFlag(f, &c.json)
		return c.run
	},
}

type cacheTool struct {
	flags   *flags
	dir     string
	size    size
	minFree size
	json    bool
}

func (c *cacheTool) run(ctx context.Context, e *env, args []string) error {
	do := map[string]func(context.Context, *env, *printer, *cachestore.Store) error{
		"ls": c.list, "check": c.check, "gc": c.collect,
	}
	if len(args) != 1 || do[args[0]] == nil {
		return usagef("floe cache can ls, check and gc: floe help cache")
	}
	if c.dir == "" {
		c.dir = e.places().cache
	}
	c.dir = e.abs(c.dir)
	opts := &cachestore.Options{Size: math.MaxInt64 / 2, MinFree: -1} // looking must not evict
	if args[0] == "gc" {
		opts.Size, opts.MinFree = max(int64(c.size), 1<<20), int64(c.minFree)
	}
	store, err := cachestore.Open(c.dir, opts)
	if err != nil {
		return fmt.Errorf("opening the cache: %w", err)
	}
	defer store.Close()
	p := e.printer(c.json)
	return errors.Join(do[args[0]](ctx, e, p, store), p.Flush())
}

// A cachedJSON is a line of cache ls --json.
type cachedJSON struct {
	Blob   string `json:"blob"`
	Bytes  int64  `json:"bytes"`
	Chunks int    `json:"chunks"`
	Pinned bool   `json:"pinned"`
}

func (c *cacheTool) list(ctx context.Context, e *env, p *printer, store *cachestore.Store) error {
	blobs := store.Blobs()
	slices.SortFunc(blobs, func(a, b cachestore.Blob) int { return int(min(max(b.Bytes-a.Bytes, -1), 1)) })
	for _, b := range blobs {
		id := walrus.BlobID(b.Key).String()
		if c.json {
			p.object(cachedJSON{id, b.Bytes, b.Chunks, b.Pinned})
			continue
		}
		pinned := ""
		if b.Pinned {
			pinned = "  pinned"
		}
		chunks := "" // only who owns the cache knows
		if b.Chunks > 0 {
			chunks = "  " + count(b.Chunks, "chunk", "chunks")
		}
		fmt.Fprintf(p, "%s  %10s%s%s\n", id, humanBytes(b.Bytes), chunks, pinned)
	}
	if !c.json {
		st := store.Stats()
		p.Flush()
		fmt.Fprintf(e.stderr, "%s: %s, %s\n", printable(c.dir), humanBytes(st.Bytes), count(len(blobs), "blob", "blobs"))
	}
	return nil
}

// A checkedJSON is the answer of cache check --json.
type checkedJSON struct {
	Dir      string   `json:"dir"`
	Sound    bool     `json:"sound"`
	Blobs    int      `json:"blobs"`
	Segments int      `json:"segments"`
	Chunks   int64    `json:"chunks"`
	Bytes    int64    `json:"bytes"`
	Damage   string   `json:"damage,omitempty"`
	Found    int      `json:"segments_found"`
	Lost     int      `json:"chunks_lost"`
	Foreign  []string `json:"foreign,omitempty"`
}

func (c *cacheTool) check(ctx context.Context, e *env, p *printer, store *cachestore.Store) error {
	r, err := store.Check(ctx)
	if err != nil {
		return err
	}
	j := checkedJSON{
		Dir: c.dir, Sound: r.Damage == nil, Blobs: r.Blobs, Segments: r.Segments, Chunks: r.Chunks, Bytes: r.Bytes,
		Found: r.Found, Lost: r.Lost, Foreign: r.Foreign,
	}
	if r.Damage != nil {
		j.Damage = r.Damage.Error()
	}
	if c.json {
		return p.object(j)
	}
	fmt.Fprintf(p, "%s: %s in %s, %s\n", p.name(c.dir), humanBytes(r.Bytes), count(r.Blobs, "blob", "blobs"), count(r.Chunks, "chunk", "chunks"))
	if r.Damage != nil {
		fmt.Fprintf(p, "its index was damaged and has been made anew: %s\n", printable(j.Damage))
	}
	if r.Found > 0 {
		fmt.Fprintf(p, "%s that the index did not know are known again\n", count(r.Found, "segment", "segments"))
	}
	if r.Lost > 0 {
		fmt.Fprintf(p, "%s that were missing are forgotten\n", count(r.Lost, "chunk", "chunks"))
	}
	for _, name := range r.Foreign {
		fmt.Fprintf(p, "not the cache's, left alone: %s\n", p.name(name))
	}
	return nil
}

func (c *cacheTool) collect(ctx context.Context, e *env, p *printer, store *cachestore.Store) error {
	before := store.Stats().Bytes
	err := store.Trim(ctx, min(int64(c.size), store.Stats().Limit))
	if errors.Is(err, cachestore.ErrNotOwner) {
		return exitWith(exitBusy, fmt.Errorf("a mount has the cache %s and keeps it within its own --cache-size: unmount it, or mount it with another", c.dir))
	}
	if err != nil {
		return err
	}
	after := store.Stats().Bytes
	if c.json {
		return p.object(struct {
			Dir   string `json:"dir"`
			Bytes int64  `json:"bytes"`
			Freed int64  `json:"bytes_freed"`
		}{c.dir, after, max(0, before-after)})
	}
	_, err = fmt.Fprintf(p, "freed %s; %s are left\n", humanBytes(max(0, before-after)), humanBytes(after))
	return err
}
