// Package result holds what the benchmark found: lines of JSON, their medians
// and ratios, and the tables and plots made of them.
package result

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/floefs/floe/tests/bench/workload"
)

// A Line is one line of a file of results. One of its fields is set.
type Line struct {
	Machine *Machine `json:"machine,omitempty"`
	Run     *Run     `json:"run,omitempty"`
	Missing *Missing `json:"missing,omitempty"`
}

// A Machine says what the figures after it were measured on, and how.
type Machine struct {
	Time       time.Time `json:"time"`
	Commit     string    `json:"commit,omitempty"`
	Processor  string    `json:"processor"`
	Cores      int       `json:"cores"`
	Memory     int64     `json:"memory"`
	Kernel     string    `json:"kernel"`
	FileSystem string    `json:"file_system"` // of what all read
	Go         string    `json:"go"`

	Scale   workload.Scale `json:"scale"`
	Repeats int            `json:"repeats"`
	Limit   float64        `json:"limit_seconds"` // of a run
	Latency float64        `json:"network_round_trip_seconds"`
	Rate    float64        `json:"network_bytes_per_second"` // of each node
}

// A State says how warm caches are before a run.
type State string

// The states.
const (
	Warm    State = "warm"    // all was read before
	Dropped State = "dropped" // the kernel has forgotten; a local cache is full
	Cold    State = "cold"    // the local cache is empty too
	Once    State = "once"    // of what is done once for each set, before
)

// Put is what comes before the workloads of a set: putting it. The name of the
// set follows.
const Put = "put "

// A Run is one run of one workload. All but the CPU of the machine is of the
// run alone.
type Run struct {
	Workload   string `json:"workload"`
	Contestant string `json:"contestant"`
	State      State  `json:"state"`
	Repeat     int    `json:"repeat"`
	Unit       string `json:"unit"`
	workload.Outcome

	ServerCPU    float64 `json:"server_cpu_seconds"`  // of the process behind the mount
	RemoteCPU    float64 `json:"remote_cpu_seconds"`  // of nodes or of the S3 server
	NetworkCPU   float64 `json:"network_cpu_seconds"` // of the model of a network
	MachineCPU   float64 `json:"machine_cpu_seconds"` // of all, the kernel's own threads too
	ServerMemory int64   `json:"server_memory"`       // the most it took
	Fetched      *int64  `json:"fetched,omitempty"`   // bytes, from wherever the data is

	Error string `json:"error,omitempty"`
}

// A Missing says why there are no figures.
type Missing struct {
	Contestant string `json:"contestant"`
	Workload   string `json:"workload,omitempty"` // all if empty
	Why        string `json:"why"`
}

// Read returns the lines of a file of results.
func Read(r io.Reader) ([]Line, error) {
	var all []Line
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		var l Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, l)
	}
	return all, lines.Err()
}
