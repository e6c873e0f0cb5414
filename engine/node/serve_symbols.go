package node

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

const (
	maxSymbols    = 32 << 20         // bytes of an answer
	maxSymbolTime = 20 * time.Second // for an answer
)

// symbolMemory returns the bytes that an answer with symbols may take: the
// symbols twice, and one sliver with all it is extended by.
func symbolMemory(p walrus.Params) int64 {
	return 2*maxSymbols + int64(p.N)*int64(p.Symbol)
}

// A source is a sliver of which symbols are wanted, and their places in it.
type source struct {
	at      walrus.SliverID
	targets []int // of the other axis; they are also the places
}

// recoverySymbols answers with symbols and proofs. What cannot be had, takes
// too long or does not fit is left out, unless that is all.
func (h *Handler) recoverySymbols(w http.ResponseWriter, r *http.Request) error {
	id, err := blobOf(r)
	if err != nil {
		return err
	}
	q, err := query(r, "id", "targetSliver", "targetType", "proofAxis")
	if err != nil {
		return err
	}
	meta, err := h.metadata(r.Context(), id)
	if err != nil {
		return otherwise(err, errNoSliver)
	}
	sources, err := h.sources(id, q)
	if err != nil {
		return err
	}
	params, err := meta.Params()
	if err != nil {
		return err
	}
	if err := h.work.acquire(r.Context()); err != nil {
		return err
	}
	defer h.work.release()
	ctx, cancel := context.WithTimeout(r.Context(), maxSymbolTime)
	defer cancel()
	if err := h.reserve(ctx, symbolMemory(params)); err != nil {
		return err
	}
	defer h.memory.Release(symbolMemory(params))

	symbols, err := h.expand(ctx, id, meta, params, sources)
	if len(symbols) == 0 {
		if err == nil || ctx.Err() != nil {
			err = errBusy
		}
		return shortOtherwise(err, errNoSliver)
	}
	slices.SortFunc(symbols, func(a, b walrus.GeneralRecoverySymbol) int { return a.ID().Compare(b.ID()) })
	return writeBytes(w, walrus.AppendRecoverySymbols(nil, symbols))
}

// sources returns which slivers of the node hold what a query asks for.
func (h *Handler) sources(id walrus.BlobID, q url.Values) ([]source, error) {
	axes, err := proofAxes(q)
	if err != nil {
		return nil, err
	}
	var all []source
	add := func(at walrus.SliverID, target int) {
		i := slices.IndexFunc(all, func(s source) bool { return s.at == at })
		if i < 0 {
			i = len(all)
			all = append(all, source{at: at})
		}
		all[i].targets = append(all[i].targets, target)
	}
	if q.Has("id") {
		if q.Has("targetSliver") || q.Has("targetType") {
			return nil, invalid(reasonFilter, "id and targetSliver exclude one another")
		}
		ids, err := h.symbolIDs(q["id"])
		if err != nil {
			return nil, err
		}
		for _, s := range ids {
			for _, axis := range axes {
				at, target := walrus.SliverID{Axis: axis, Index: s.Row}, s.Column
				if axis == walrus.Secondary {
					at.Index, target = target, at.Index
				}
				if h.assigned(id, at) == nil {
					add(at, target)
					break
				}
			}
		}
	} else {
		target, err := h.targetOf(q)
		if err != nil {
			return nil, err
		}
		for _, at := range h.slivers(id) {
			if at.Axis != target.Axis && slices.Contains(axes, at.Axis) {
				add(at, target.Index)
			}
		}
	}
	if len(all) == 0 {
		return nil, invalid(reasonNoSymbol, "none of these symbols is on a shard of this node")
	}
	return all, nil
}

// proofAxes returns on which axes proofs may be, the first being the first
// choice.
func proofAxes(q url.Values) ([]walrus.Axis, error) {
	if !q.Has("proofAxis") {
		return []walrus.Axis{walrus.Primary, walrus.Secondary}, nil
	}
	axis, err := walrus.ParseAxis(q.Get("proofAxis"))
	if err != nil {
		return nil, badRequest("query: %v", err)
	}
	return []walrus.Axis{axis}, nil
}

func (h *Handler) symbolIDs(texts []string) ([]walrus.SymbolID, error) {
	ids := make([]walrus.SymbolID, len(texts))
	for i, text := range texts {
		id, err := walrus.ParseSymbolID(text)
		if err != nil {
			return nil, badRequest("query: %v", err)
		}
		if id.Row >= h.opts.N || id.Column >= h.opts.N {
			return nil, invalid(reasonSymbolRange, "symbol %s: there are %d rows and columns", id, h.opts.N)
		}
		ids[i] = id
	}
	slices.SortFunc(ids, walrus.SymbolID.Compare)
	return slices.Compact(ids), nil
}

// targetOf returns the one sliver whose symbols a query asks for.
func (h *Handler) targetOf(q url.Values) (walrus.SliverID, error) {
	if !q.Has("targetSliver") && !q.Has("targetType") {
		return walrus.SliverID{}, invalid(reasonNoSymbols, "no symbols are asked for")
	}
	if !q.Has("targetSliver") || !q.Has("targetType") {
		return walrus.SliverID{}, invalid(reasonFilter, "targetSliver and targetType belong together")
	}
	axis, err := walrus.ParseAxis(q.Get("targetType"))
	if err != nil {
		return walrus.SliverID{}, badRequest("query: %v", err)
	}
	index, err := parseIndex(q.Get("targetSliver"))
	if err != nil {
		return walrus.SliverID{}, err
	}
	if index >= h.opts.N {
		return walrus.SliverID{}, invalid(reasonSymbolRange, "sliver %d: there are %d", index, h.opts.N)
	}
	return walrus.SliverID{Axis: axis, Index: index}, nil
}

func parseIndex(s string) (int, error) {
	i, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, badRequest("query: %q is no index of a sliver", s)
	}
	return int(i), nil
}

// expand returns the symbols of sources. err says why the last that is missing
// is.
func (h *Handler) expand(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, sources []source) (symbols []walrus.GeneralRecoverySymbol, err error) {
	room := maxSymbols / params.RecoverySymbolLen()
	for _, s := range sources {
		if room == 0 || ctx.Err() != nil {
			break
		}
		s.targets = s.targets[:min(len(s.targets), room)]
		got, sourceErr := h.expandOne(ctx, id, meta, params, s)
		if sourceErr != nil {
			err = sourceErr
			continue
		}
		symbols = append(symbols, got...)
		room -= len(got)
	}
	return symbols, err
}

func (h *Handler) expandOne(ctx context.Context, id walrus.BlobID, meta *walrus.Metadata, params walrus.Params, s source) ([]walrus.GeneralRecoverySymbol, error) {
	data := make([]byte, params.SliverLen(s.at.Axis))
	if err := h.store.ReadSliver(ctx, id, params, s.at, data, 0); err != nil {
		return nil, err
	}
	x, err := meta.Expand(s.at, data)
	if err != nil {
		h.log.Error("sliver in the store is false", "blob", id.String(), "sliver", s.at.String(), "error", err)
		return nil, fmt.Errorf("%s is false: %w", s.at, fs.ErrNotExist)
	}
	symbols := make([]walrus.GeneralRecoverySymbol, len(s.targets))
	for i, target := range s.targets {
		symbols[i] = x.Recovery(target)
		symbols[i].Data = slices.Clone(symbols[i].Data) // lets go of the sliver
	}
	return symbols, nil
}

// decodingSymbols answers with symbols as they are, of systematic targets
// only: these are parts of slivers, and no proof is asked for.
func (h *Handler) decodingSymbols(w http.ResponseWriter, r *http.Request) error {
	id, err := blobOf(r)
	if err != nil {
		return err
	}
	q, err := query(r, "targetSlivers", "targetType")
	if err != nil {
		return err
	}
	params, err := h.geometry(r.Context(), id)
	if err != nil {
		return otherwise(err, errNoSliver)
	}
	axis, targets, err := systematicTargets(q, params)
	if err != nil {
		return err
	}
	if err := h.work.acquire(r.Context()); err != nil {
		return err
	}
	defer h.work.release()
	ctx, cancel := context.WithTimeout(r.Context(), maxSymbolTime)
	defer cancel()
	if err := h.reserve(ctx, symbolMemory(params)); err != nil {
		return err
	}
	defer h.memory.Release(symbolMemory(params))

	var last error = invalid(reasonNoSymbol, "no such symbol is on a shard of this node")
	all := map[int][]walrus.EitherDecodingSymbol{}
	room := maxSymbols / params.RecoverySymbolLen()
	for _, at := range h.slivers(id) {
		for _, target := range targets {
			if at.Axis == axis || room == 0 || ctx.Err() != nil {
				continue
			}
			data := make([]byte, params.Symbol)
			if err := h.store.ReadSliver(ctx, id, params, at, data, int64(target*params.Symbol)); err != nil {
				last = shortOtherwise(err, errNoSliver)
				continue
			}
			all[target] = append(all[target], walrus.EitherDecodingSymbol{
				Target:         axis,
				DecodingSymbol: walrus.DecodingSymbol{Source: at.Index, Data: data},
			})
			room--
		}
	}
	if len(all) == 0 {
		if ctx.Err() != nil {
			return errBusy
		}
		return last
	}
	return writeBytes(w, walrus.AppendDecodingSymbols(nil, all))
}

// systematicTargets returns the targets of a query for decoding symbols.
func systematicTargets(q url.Values, params walrus.Params) (walrus.Axis, []int, error) {
	axis, err := walrus.ParseAxis(q.Get("targetType"))
	if err != nil {
		return 0, nil, badRequest("query: %v", err)
	}
	var targets []int
	for _, text := range q["targetSlivers"] {
		i, err := parseIndex(text)
		if err != nil {
			return 0, nil, err
		}
		if i >= params.Needed(axis) {
			return 0, nil, invalid(reasonSymbolRange, "%s sliver %d is not one of the %d systematic ones", axis, i, params.Needed(axis))
		}
		targets = append(targets, i)
	}
	if len(targets) == 0 {
		return 0, nil, invalid(reasonNoTargets, "no target slivers are named")
	}
	slices.Sort(targets)
	return axis, slices.Compact(targets), nil
}
