package result

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
)

// The plot is a row for each workload on an axis of ratios to native, by
// their logarithm: a bar for Floe, from 1 to where it is, and a mark for each
// other contestant.
const (
	plotWidth  = 860
	labelWidth = 150
	rowHeight  = 18
	marginTop  = 74
	marginEnd  = 24
)

// A mark is how a contestant is drawn, readable on white and on black.
type mark struct {
	color string
	bar   bool
	tick  bool // else a dot
}

var marks = map[string]mark{
	"floe":          {"#0d9488", true, false},
	"floe-dir":      {"#0f766e", false, true},
	"floe+dead":     {"#65a30d", false, true},
	"floe+net":      {"#0891b2", false, true},
	"floe+net+dead": {"#64748b", false, true},
	"squashfs":      {"#a16207", false, false},
	"squashfuse":    {"#ea580c", false, false},
	"erofs":         {"#9333ea", false, false},
	"s3fs":          {"#dc2626", false, false},
	"s3fs+net":      {"#f87171", false, false},
	"rclone":        {"#2563eb", false, false},
	"rclone+net":    {"#60a5fa", false, false},
}

const style = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.faint { fill: #6e7781 }
line { stroke: #8c959f; stroke-opacity: 0.35 }
line.one { stroke-opacity: 1 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .faint { fill: #9198a1 } }
</style>
`

// An axis of ratios, by their logarithm.
type axis struct{ low, high float64 } // powers of ten

// at returns where a ratio is; one beyond the axis, at its end.
func (a axis) at(ratio float64) float64 {
	part := (math.Log10(ratio) - math.Log10(a.low)) / (math.Log10(a.high) - math.Log10(a.low))
	return labelWidth + min(1, max(0, part))*(plotWidth-labelWidth-marginEnd)
}

// WritePlot writes the ratios of one state as an SVG, and reports whether
// there are any.
func (a *All) WritePlot(w io.Writer, state State) (bool, error) {
	var names []string
	for _, n := range a.names {
		if _, known := marks[n]; known && a.took(n, state) {
			names = append(names, n)
		}
	}
	loads := a.Workloads()
	ratios := make([]map[string]float64, len(loads))
	x := axis{0.1, 10}
	some := false
	for i, l := range loads {
		ratios[i] = map[string]float64{}
		for _, n := range names {
			s, ok := a.Of(l.Name, n, state)
			if !ok || s.Ratio <= 0 {
				continue
			}
			some = true
			ratios[i][n] = s.Ratio
			for x.low > s.Ratio && x.low > 2e-4 {
				x.low /= 10
			}
			for x.high < s.Ratio && x.high < 100 {
				x.high *= 10
			}
		}
	}
	if !some {
		return false, nil
	}
	var b strings.Builder
	height := marginTop + rowHeight*len(loads) + 12
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n%s", plotWidth, height, plotWidth, height, style)
	for _, t := range titles {
		if t.state == state {
			fmt.Fprintf(&b, `<text class="title" x="8" y="20">%s</text>`+"\n", html.EscapeString("Speed relative to native, "+t.title))
		}
	}
	writeLegend(&b, names)
	x.write(&b, height)
	for i, l := range loads {
		y := marginTop + rowHeight*i + rowHeight/2
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-10, y+4, html.EscapeString(l.Name))
		for _, n := range names {
			if r, ok := ratios[i][n]; ok {
				marks[n].write(&b, x, n, r, y)
			}
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return true, err
}

// write draws a line at each power of ten and one at native's speed.
func (a axis) write(b *strings.Builder, height int) {
	for r := a.low; r < a.high*1.01; r *= 10 {
		class := ""
		if math.Abs(r-1) < 0.01 {
			class = ` class="one"`
		}
		fmt.Fprintf(b, `<line%s x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, class, a.at(r), marginTop-4, a.at(r), height-8)
		fmt.Fprintf(b, `<text class="faint" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", a.at(r), marginTop-10, strconv.FormatFloat(r, 'g', 1, 64))
	}
}

// write draws where a contestant is; a bar begins at native's speed.
func (m mark) write(b *strings.Builder, x axis, name string, ratio float64, y int) {
	at := x.at(ratio)
	title := fmt.Sprintf("<title>%s: %s</title>", html.EscapeString(name), ratioText(ratio))
	switch {
	case m.bar:
		from, to := min(at, x.at(1)), max(at, x.at(1))
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="10" rx="1" fill="%s">%s</rect>`+"\n", from, y-5, max(2, to-from), m.color, title)
	case m.tick:
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="3" height="14" fill="%s">%s</rect>`+"\n", at-1.5, y-7, m.color, title)
	default:
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%d" r="4" fill="%s">%s</circle>`+"\n", at, y, m.color, title)
	}
}

func writeLegend(b *strings.Builder, names []string) {
	at := 8
	for _, n := range names {
		m := marks[n]
		switch {
		case m.bar:
			fmt.Fprintf(b, `<rect x="%d" y="33" width="14" height="10" rx="1" fill="%s"/>`, at, m.color)
		case m.tick:
			fmt.Fprintf(b, `<rect x="%d" y="31" width="3" height="14" fill="%s"/>`, at+6, m.color)
		default:
			fmt.Fprintf(b, `<circle cx="%d" cy="38" r="4" fill="%s"/>`, at+7, m.color)
		}
		fmt.Fprintf(b, `<text x="%d" y="42">%s</text>`+"\n", at+18, html.EscapeString(n))
		at += 34 + 7*len(n)
	}
}
