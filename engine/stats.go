package engine

import "sync/atomic"

// Stats counts what an Engine has done since it was made. Bytes, but for
// FalseRuns.
type Stats struct {
	Served    int64 // file bytes given to readers
	Cached    int64 // proven from the cache
	Fetched   int64 // read from blobs, proven or not
	Ahead     int64 // of these, before a reader asked
	Unused    int64 // of these, given up before a reader took them
	FalseRuns int64 // runs of chunks in which something proved false
}

type counters struct{ served, cached, fetched, ahead, unused, lies atomic.Int64 }

// Stats returns the counts so far.
func (e *Engine) Stats() Stats {
	s := &e.stats
	return Stats{s.served.Load(), s.cached.Load(), s.fetched.Load(), s.ahead.Load(), s.unused.Load(), s.lies.Load()}
}
