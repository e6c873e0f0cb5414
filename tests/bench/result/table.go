package result

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

var titles = []struct {
	state State
	title string
}{
	{Warm, "warm: all was read before"},
	{Dropped, "dropped: the kernel's caches are empty, local caches full"},
	{Cold, "cold: local caches are empty too; beside native of dropped"},
}

// WriteTable writes, for each state, the median of native and the ratio of
// each other contestant to it, and then what the others cost.
func (a *All) WriteTable(w io.Writer) error {
	for _, t := range titles {
		if err := a.writeState(w, t.state, t.title); err != nil {
			return err
		}
	}
	if err := a.writeOnce(w); err != nil {
		return err
	}
	for _, m := range a.Missing {
		fmt.Fprintf(w, "%s: NO FIGURES%s: %s\n", m.Contestant, of(m.Workload), m.Why)
	}
	return nil
}

func of(name string) string {
	if name == "" {
		return ""
	}
	return " of " + name
}

func (a *All) writeState(w io.Writer, state State, title string) error {
	var names []string
	for _, c := range a.names {
		if c == Native && state == Cold {
			continue
		}
		if a.took(c, state) {
			names = append(names, c)
		}
	}
	if len(names) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\n%s\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	header := []string{"", "native"}
	for _, c := range names {
		if c != Native {
			header = append(header, c)
		}
	}
	fmt.Fprintln(t, strings.Join(header, "\t")+"\t")
	for _, load := range a.Workloads() {
		row := []string{load.Name, ""}
		base := state
		if state == Cold {
			base = Dropped
		}
		if n, ok := a.Of(load.Name, Native, base); ok {
			row[1] = number(n.Rate) + " " + load.Unit
		}
		for _, c := range header[2:] {
			s, ok := a.Of(load.Name, c, state)
			row = append(row, cell(s, ok))
		}
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return a.writeCosts(w, state, header[2:])
}

// took reports whether a contestant took part in a state.
func (a *All) took(contestant string, state State) bool {
	for k := range a.runs {
		if k.Contestant == contestant && k.State == state {
			return true
		}
	}
	return false
}

// writeOnce writes how fast the sets were put.
func (a *All) writeOnce(w io.Writer) error {
	var keys []Key
	for k := range a.runs {
		if k.State == Once {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.SortFunc(keys, func(x, y Key) int {
		return cmp.Or(strings.Compare(x.Workload, y.Workload), strings.Compare(x.Contestant, y.Contestant))
	})
	fmt.Fprintln(w, "\nonce: MB/s of what was put, durable")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, k := range keys {
		s, _ := a.of(k)
		fmt.Fprintf(t, "%s\t%s\t%s\t\n", k.Workload, k.Contestant, number(s.Rate))
	}
	return t.Flush()
}

// cell is a ratio, or the rate if there is nothing to compare with. A tilde
// follows if runs were cut short, an exclamation mark if some failed.
func cell(s Summary, ok bool) string {
	switch {
	case !ok:
		return "-"
	case s.Runs == 0:
		return "FAILED"
	case s.Ratio == 0:
		return number(s.Rate)
	}
	text := ratioText(s.Ratio)
	if s.Errors > 0 {
		text += "!"
	}
	if s.Cut {
		text += "~"
	}
	return text
}

func ratioText(r float64) string {
	if r < 0.095 {
		return strconv.FormatFloat(r, 'g', 2, 64)
	}
	return strconv.FormatFloat(r, 'f', 2, 64)
}

// number writes a rate with three figures at least, and commas.
func number(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	digits := strconv.FormatInt(int64(v+0.5), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// writeCosts writes what each workload cost each contestant.
func (a *All) writeCosts(w io.Writer, state State, names []string) error {
	if len(names) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\n%s: CPU seconds of the machine per GB; memory of the server, MiB; bytes fetched per byte asked for\n", state)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, strings.Join(append([]string{""}, names...), "\t")+"\t")
	for _, load := range a.Workloads() {
		row := []string{load.Name}
		for _, c := range names {
			s, ok := a.Of(load.Name, c, state)
			if !ok || s.Runs == 0 {
				row = append(row, "-")
				continue
			}
			fetched := "-"
			if s.Amplified >= 0 {
				fetched = strconv.FormatFloat(s.Amplified, 'f', 2, 64)
			}
			row = append(row, fmt.Sprintf("%.2f; %d; %s", s.CPUPerGB, s.Memory>>20, fetched))
		}
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	return t.Flush()
}
