package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/floefs/floe/cachestore"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/fs"
)

// # FORMAT: control socket
//
// Each mount has a Unix socket, named by its device, MAJ-MIN.sock. Whoever
// connects gets its status, one JSON object on a line, at once; the connection
// then stays open until the process that serves the mount is about to end.
// Nothing goes by way of the mount, so a mount that hangs can be asked too.

// A mountStatus is what is to be known of a mount.
type mountStatus struct {
	Mountpoint    *string   `json:"mountpoint,omitempty"` // as whoever asks sees it
	MountpointB64 []byte    `json:"mountpoint_b64,omitempty"`
	Dataset       string    `json:"dataset"`
	Name          string    `json:"name,omitempty"`
	PID           int       `json:"pid"`
	Since         time.Time `json:"since"`
	Version       string    `json:"version"`

	Entries uint64 `json:"entries"`
	Files   uint64 `json:"files"`
	Bytes   uint64 `json:"bytes"`

	Places  []string     `json:"places"`   // where it is read from, the best first
	InPlace bool         `json:"in_place"` // there, so that nothing is cached
	Nodes   []nodeStatus `json:"nodes"`
	Cache   *cacheStatus `json:"cache,omitempty"`
	Reads   readStatus   `json:"reads"`
	Kernel  kernelStatus `json:"kernel"`
	Memory  memoryStatus `json:"memory"`
}

// readStatus is what was read of the dataset, in bytes.
type readStatus struct {
	Served    int64 `json:"served"`
	Cached    int64 `json:"cached"`     // of these, proven from the cache
	Fetched   int64 `json:"fetched"`    // from nodes
	Ahead     int64 `json:"ahead"`      // of these, before anybody asked
	Unused    int64 `json:"unused"`     // of these, given up before anybody did
	FalseRuns int64 `json:"false_runs"` // runs of chunks in which something proved false
}

type nodeStatus struct {
	Name        string  `json:"name"`
	URL         string  `json:"url"`
	Shards      int     `json:"shards,omitempty"` // that it holds of its committee
	Rows        bool    `json:"rows,omitempty"`   // an aggregator: it has bytes of blobs and no metadata
	Near        bool    `json:"near"`             // read in place
	Error       string  `json:"error,omitempty"`  // why it cannot be reached now
	Requests    int64   `json:"requests"`
	Errors      int64   `json:"errors"`
	Absent      int64   `json:"absent"` // requests for what it does not have
	Bytes       int64   `json:"bytes"`  // received
	Lies        int64   `json:"lies"`   // slivers and metadata that proved false
	P50         float64 `json:"p50_seconds"`
	P95         float64 `json:"p95_seconds"`
	Resting     float64 `json:"resting_seconds"`     // left alone for so long after failures
	Quarantined float64 `json:"quarantined_seconds"` // asked last for so long after lies
	LastError   string  `json:"last_error,omitempty"`
}

type cacheStatus struct {
	Dir      string `json:"dir"`
	Owner    bool   `json:"owner"` // of all who use it, this process keeps it within its budget
	Bytes    int64  `json:"bytes"` // of disk
	Limit    int64  `json:"limit"` // bytes it may take now
	Blobs    int    `json:"blobs"`
	Chunks   int64  `json:"chunks"`
	Hits     int64  `json:"hits"` // chunks
	Misses   int64  `json:"misses"`
	Written  int64  `json:"written"` // bytes
	False    int64  `json:"false"`   // chunks that proved false
	Evicted  int64  `json:"evicted"` // segments of 1 MiB given back
	Dropped  int64  `json:"dropped"` // not kept, as the disk lagged
	Errors   int64  `json:"errors"`  // of the disk
	Rebuilds int64  `json:"rebuilds"`
	Stalled  bool   `json:"stalled"` // it keeps nothing now: its disk is full or fails
}

func cacheStatusOf(dir string, s cachestore.Stats) *cacheStatus {
	return &cacheStatus{
		Dir: dir, Owner: s.Owner, Bytes: s.Bytes, Limit: s.Limit, Blobs: s.Blobs, Chunks: s.Chunks,
		Hits: s.Hits, Misses: s.Misses, Written: s.Written, False: s.False, Evicted: s.Evicted, Dropped: s.Dropped,
		Errors: s.ReadErrors + s.DiskErrors, Rebuilds: s.Rebuilt, Stalled: s.Stalled,
	}
}

type kernelStatus struct {
	Requests     map[string]uint64 `json:"requests"`
	Bytes        uint64            `json:"bytes"`
	Serving      int               `json:"serving"`
	Errors       uint64            `json:"errors"`
	Interrupted  uint64            `json:"interrupted"`
	ReadAheadKB  int               `json:"read_ahead_kb"`
	ReadAheadErr string            `json:"read_ahead_error,omitempty"`
}

type memoryStatus struct {
	Budget   int64 `json:"budget"`   // for reads in flight and recent chunks
	Resident int64 `json:"resident"` // of the process
}

// status returns the status of a mount that this process serves.
func (st *served) status() mountStatus {
	root, k := st.dataset.Root(), st.Server.Stats()
	s := mountStatus{
		Dataset: st.subject.address(), Name: st.subject.name,
		PID: os.Getpid(), Since: st.since, Version: buildVersion().Version,
		Entries: root.Entries, Files: root.Files, Bytes: root.Bytes,
		Reads: readStatus(st.reader.Stats()), Memory: memoryStatus{st.reader.memory, resident()},
		Kernel: kernelStatus{
			Requests: k.Requests, Bytes: k.Bytes, Serving: k.Serving, Errors: k.Errors,
			Interrupted: k.Interrupted, ReadAheadKB: k.ReadAheadKB,
		},
	}
	if k.ReadAheadErr != nil {
		s.Kernel.ReadAheadErr = k.ReadAheadErr.Error()
	}
	for _, p := range st.reader.places {
		s.Places = append(s.Places, p.url)
	}
	s.InPlace = st.reader.near
	s.Nodes = st.reader.nodeStatus()
	s.Mountpoint, s.MountpointB64 = jsonName(st.Dir())
	if c := st.reader.cache; c != nil {
		s.Cache = cacheStatusOf(st.reader.dir, c.Stats())
	}
	return s
}

// nodeStatus returns how the nodes have behaved.
func (rd *reader) nodeStatus() []nodeStatus {
	var all []nodeStatus
	for i, n := range rd.blobs.Nodes() {
		all = append(all, rd.nodes[i].status(n))
	}
	return all
}

// status returns how the node is and has behaved.
func (m member) status(n blob.NodeStats) nodeStatus {
	ns := nodeStatus{
		Name: m.Name, URL: m.url, Shards: len(m.shards), Rows: m.Rows, Near: m.Near,
		Requests: n.Requests, Errors: n.Errors, Absent: n.Absent, Bytes: n.Bytes, Lies: n.Lies,
		P50: n.P50.Seconds(), P95: n.P95.Seconds(),
		Resting: n.Resting.Seconds(), Quarantined: n.Quarantined.Seconds(), LastError: n.LastError,
	}
	if err := m.atHand(); err != nil {
		ns.Error = err.Error()
	}
	return ns
}

// atHand says why a node in a directory cannot be read now.
func (m member) atHand() error {
	if g, ok := m.Node.(gone); ok {
		return g.err
	}
	if m.store == nil {
		return nil
	}
	_, err := os.Stat(filepath.Join(m.store.Path(), "floe-store"))
	return err
}

// resident returns the memory this process takes.
func resident() int64 {
	data, err := os.ReadFile("/proc/self/statm")
	var size, pages int64
	if err == nil {
		fmt.Sscan(string(data), &size, &pages)
	}
	return pages * int64(os.Getpagesize())
}

// listenControl answers on the control socket of a mount until it is closed.
func listenControl(st *served) (io.Closer, error) {
	m, ok := mountOn(st.Dir())
	if !ok {
		return nil, errors.New("it is not in this process's list of mounts")
	}
	dir := st.env.runDir()
	if err := privateDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, socketName(m))
	os.Remove(path) // of a mount that had this device before
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			c.SetWriteDeadline(time.Now().Add(5 * time.Second))
			go func() {
				if json.NewEncoder(c).Encode(st.status()) != nil {
					c.Close()
					return
				}
				io.Copy(io.Discard, c) // until the other end goes, or this process does
				c.Close()
			}()
		}
	}()
	return l, nil
}

// privateDir makes a directory that only this user can look into, or makes
// sure that it is one.
func privateDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); !fi.IsDir() || !ok || int(st.Uid) != os.Geteuid() || fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of yours alone", dir)
	}
	return nil
}

func socketName(m fs.MountPoint) string { return strings.ReplaceAll(m.Dev, ":", "-") + ".sock" }

// errNoAnswer says that nobody answers on a mount's control socket.
var errNoAnswer = errors.New("nobody answers for this mount")

// askMount returns the status of a mount, and the connection, which ends when
// the process that serves the mount does.
func (e *env) askMount(ctx context.Context, m fs.MountPoint) (mountStatus, net.Conn, error) {
	dirs := []string{e.runDir(), "/run/floe"}
	if e.root { // who may ask everybody
		for _, pattern := range []string{"/run/user/*/floe", filepath.Join(os.TempDir(), "floe-*")} {
			more, _ := filepath.Glob(pattern)
			dirs = append(dirs, more...)
		}
	}
	last := errNoAnswer
	for _, dir := range dirs {
		var d net.Dialer
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		c, err := d.DialContext(ctx, "unix", filepath.Join(dir, socketName(m)))
		cancel()
		if err != nil {
			if errors.Is(err, os.ErrPermission) {
				last = err
			}
			continue
		}
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		var s mountStatus
		if err := json.NewDecoder(c).Decode(&s); err != nil {
			c.Close()
			last = fmt.Errorf("its process does not answer: %w", err)
			continue
		}
		return s, c, nil
	}
	return mountStatus{}, nil, last
}
