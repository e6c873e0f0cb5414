package workload

import (
	"fmt"
	"slices"
)

// A Workload is a way in which programs read a set.
type Workload struct {
	Name  string
	About string
	Set   string
	Unit  string // of its rate: MB/s, or what is counted, per second

	// run reads the set once. It calls start when it is about to.
	run func(r *run) error

	// warm reads all that run may read with any seed; nil: run does.
	warm func(r *run) error
}

// All returns the workloads in the order of their sets.
func All() []Workload {
	all := slices.Concat(basic, trees, cards)
	position := func(w Workload) int {
		return slices.IndexFunc(sets, func(s *Set) bool { return s.Name == w.Set })
	}
	slices.SortStableFunc(all, func(a, b Workload) int { return position(a) - position(b) })
	return all
}

// Named returns a workload.
func Named(name string) (Workload, error) {
	all := All()
	if i := slices.IndexFunc(all, func(w Workload) bool { return w.Name == name }); i >= 0 {
		return all[i], nil
	}
	return Workload{}, fmt.Errorf("there is no workload %q", name)
}
