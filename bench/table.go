//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// measured is what one round found, by what.
type measured map[what]float64

// results are those of all rounds: supervisor, what, values.
type results map[string]map[what][]float64

// what is measured: a row of the table.
type what string

const (
	cold    what = "all apps started cold"
	crash   what = "crash to new process, median"
	crash95 what = "crash to new process, 95th percentile"
	killed  what = "100 killed at once, all back"
	stopped what = "100 stopped"
	listed  what = "list of all"
	memory  what = "memory of the supervisor (PSS)"
	threads what = "its processes and threads"
	idle    what = "CPU at rest"
	logging what = "CPU while 20,000 lines/s are logged"
)

var rows = []what{cold, crash, crash95, killed, stopped, listed, memory, threads, idle, logging}

// text is a value in its unit.
func (w what) text(v float64) string {
	switch w {
	case memory:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	case threads:
		return fmt.Sprintf("%.0f", v)
	case idle, logging:
		return fmt.Sprintf("%.2f %%", v)
	}
	d := time.Duration(v)
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", v/1e6)
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", v/1e6)
	}
	return fmt.Sprintf("%.0f ms", v/1e6)
}

func (r results) add(name string, one measured) {
	if r[name] == nil {
		r[name] = map[what][]float64{}
	}
	for w, v := range one {
		r[name][w] = append(r[name][w], v)
		slices.Sort(r[name][w])
	}
}

// table is Markdown.
func (r results) table(names []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s |\n|---%s|\n", strings.Join(names, " | "), strings.Repeat("|---", len(names)))
	for _, w := range rows {
		fmt.Fprintf(&b, "| %s |", w)
		for _, name := range names {
			all := r[name][w]
			if len(all) == 0 {
				b.WriteString(" – |")
				continue
			}
			b.WriteString(" " + w.text(median(all)))
			if gm := r["gm"][w]; name != "gm" && len(gm) > 0 && median(gm) > 0 {
				fmt.Fprintf(&b, " **×%s**", ratio(median(all)/median(gm)))
			}
			if len(all) > 1 {
				fmt.Fprintf(&b, " (%s–%s)", w.text(all[0]), w.text(all[len(all)-1]))
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ratio is a factor with two digits that count.
func ratio(x float64) string {
	switch {
	case x < 1:
		return fmt.Sprintf("%.2f", x)
	case x < 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// median is that of sorted values.
func median(all []float64) float64 {
	if len(all)%2 == 1 {
		return all[len(all)/2]
	}
	return (all[len(all)/2-1] + all[len(all)/2]) / 2
}
