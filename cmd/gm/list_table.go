package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"gm/engine"
)

// PM2's colours, as its chalk has them.
const (
	toneGreen   = "\x1b[1;32m"
	toneRed     = "\x1b[1;31m"
	toneYellow  = "\x1b[1;33m"
	toneBlue    = "\x1b[1;34m"
	toneCyan    = "\x1b[1;36m"
	toneGray    = "\x1b[90m"
	toneBold    = "\x1b[1m"
	toneInverse = "\x1b[1;7m"
)

// column is one column of the table.
type column struct {
	head string
	// cell returns a group's text, and its colour.
	cell func(l *listing, g *group) (text, tone string)
}

// columns are those of the table, in PM2's order. PM2's id and version have
// nothing to show: apps are called by their names.
var columns = []column{
	{"name", func(_ *listing, g *group) (string, string) { return shown(g.name), toneCyan }},
	{"project", func(_ *listing, g *group) (string, string) { return shown(g.app.Project), "" }},
	{"namespace", func(_ *listing, g *group) (string, string) { return shown(namespaceOf(g.app)), "" }},
	{"mode", func(_ *listing, g *group) (string, string) {
		if g.app.Cluster {
			return "cluster", toneBlue
		}
		return "fork", toneInverse
	}},
	{"×", func(_ *listing, g *group) (string, string) { return strconv.Itoa(g.declared), "" }},
	{"pid", func(_ *listing, g *group) (string, string) {
		if pid := g.pid(); pid > 0 {
			return strconv.Itoa(pid), ""
		}
		return "-", ""
	}},
	{"uptime", func(l *listing, g *group) (string, string) { return l.uptime(g), "" }},
	{"↺", func(_ *listing, g *group) (string, string) { return strconv.Itoa(g.restarts), "" }},
	{"status", func(_ *listing, g *group) (string, string) { return g.status, g.color() }},
	{"cpu", func(_ *listing, g *group) (string, string) {
		if g.idle() {
			return "0%", ""
		}
		return percent(g.cpu), ""
	}},
	{"mem", func(_ *listing, g *group) (string, string) { return g.memoryText(), "" }},
	{"user", func(l *listing, g *group) (string, string) { return shown(l.userOf(&g.processes[0])), toneBold }},
	{"watching", func(_ *listing, g *group) (string, string) {
		if g.processes[0].Watching {
			return "enabled", toneGreen
		}
		return "disabled", toneGray
	}},
}

// dispensable are the columns that a narrow terminal goes without, the first one
// first. PM2's condensed list has no more than the last ones of these and its mini
// list none.
var dispensable = []string{"watching", "user", "project", "namespace", "×", "pid", "uptime", "mode", "↺"}

// leastName is what a narrow terminal leaves of a name at least.
const leastName = 8

// table prints groups in PM2's layout, for a terminal of that width; 0 is no
// terminal.
func (l *listing) table(groups []group, width int, color bool) []byte {
	var cells [][][2]string // by column and row: text and tone
	var heads []string
	var widths []int
	add := func(c column) {
		col := make([][2]string, len(groups))
		widest := text.StringWidth(c.head)
		for i := range groups {
			s, tone := c.cell(l, &groups[i])
			col[i] = [2]string{s, tone}
			widest = max(widest, text.StringWidth(s))
		}
		heads, cells, widths = append(heads, c.head), append(cells, col), append(widths, widest)
	}
	for _, c := range columns {
		switch {
		case c.head == "project" && l.projects() < 2:
		case c.head == "×" && !groups[0].folded:
		default:
			add(c)
		}
	}
	drop := map[string]bool{}
	// total counts a border and two blanks for each column.
	total := func() int {
		sum := 1
		for i, head := range heads {
			if !drop[head] {
				sum += widths[i] + 3
			}
		}
		return sum
	}
	if width > 0 {
		for _, head := range dispensable {
			if total() <= width {
				break
			}
			drop[head] = true
		}
		if over := total() - width; over > 0 {
			limit := max(leastName, widths[0]-over)
			for i := range cells[0] {
				cells[0][i][0] = text.Snip(cells[0][i][0], limit, "…")
			}
		}
	}

	t := table.NewWriter()
	style := table.StyleLight
	style.Format = table.FormatOptions{}
	t.SetStyle(style)
	row := func(cell func(i int) string) table.Row {
		var row table.Row
		for i, head := range heads {
			if !drop[head] {
				row = append(row, cell(i))
			}
		}
		return row
	}
	t.AppendHeader(row(func(i int) string { return paint(heads[i], toneCyan, color) }))
	for r := range groups {
		t.AppendRow(row(func(i int) string { return paint(cells[i][r][0], cells[i][r][1], color) }))
	}
	return []byte(t.Render() + "\n")
}

// projects counts the projects of the list.
func (l *listing) projects() int {
	seen := map[string]bool{}
	for _, p := range l.processes {
		seen[p.App.Project] = true
	}
	return len(seen)
}

// color is PM2's colour of a status, and yellow where only some are online.
func (g *group) color() string {
	switch g.tone {
	case engine.StatusOnline:
		if g.partial() {
			return toneYellow
		}
		return toneGreen
	case engine.StatusLaunching:
		return toneBlue
	case engine.StatusWaiting, engine.StatusEnded:
		return toneCyan
	case engine.StatusRetrying, engine.StatusStopping:
		return toneYellow
	}
	return toneRed
}

// idle says that a group has no process to measure.
func (g *group) idle() bool {
	return !slices.ContainsFunc(g.processes, func(p engine.Process) bool { return p.State.MainPID > 0 })
}

func (g *group) memoryText() string {
	if g.idle() {
		return "0b"
	}
	return size(g.memory)
}

// userOf returns whom a process runs as.
func (l *listing) userOf(p *engine.Process) string { return cmp.Or(p.User, l.user) }

// uptime is how long a group's process has run, or when the next run of a job is.
func (l *listing) uptime(g *group) string {
	next := g.processes[0].Next
	switch {
	case !g.started.IsZero():
		return since(l.at.Sub(g.started))
	case g.tone == engine.StatusWaiting && next.After(l.at):
		return "in " + since(next.Sub(l.at))
	}
	return "-"
}

// since prints a time as PM2's timeSince does (lib/API/UX/helpers.js): in the
// largest unit of which there are two.
func since(d time.Duration) string {
	s := max(int64(d/time.Second), 0)
	for _, unit := range []struct {
		seconds int64
		name    string
	}{{31536000, "Y"}, {2592000, "M"}, {86400, "D"}, {3600, "h"}, {60, "m"}} {
		if n := s / unit.seconds; n > 1 {
			return strconv.FormatInt(n, 10) + unit.name
		}
	}
	return strconv.FormatInt(s, 10) + "s"
}

// size prints a number of bytes as PM2's bytesToSize does.
func size(bytes int64) string {
	if bytes < 0 {
		return "N/A"
	}
	if bytes < 1<<10 {
		return strconv.FormatInt(bytes, 10) + "b"
	}
	n, names := float64(bytes)/(1<<10), []string{"kb", "mb", "gb", "tb"}
	for n >= 1<<10 && len(names) > 1 {
		n, names = n/(1<<10), names[1:]
	}
	return strconv.FormatFloat(n, 'f', 1, 64) + names[0]
}

// percent prints a share of a CPU as PM2 does, with a decimal only if it counts.
func percent(share float64) string {
	if share < 0 {
		return "N/A"
	}
	return strings.TrimSuffix(strconv.FormatFloat(share, 'f', 1, 64), ".0") + "%"
}

// shown makes text of others safe for a terminal.
func shown(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029' {
			return '\ufffd'
		}
		return c
	}, s)
}

// width returns the columns of the terminal that standard output is, 0 if it is
// none.
func (c *caller) width() int {
	width, _ := c.terminal()
	return width
}

func (c *caller) terminal() (width, height int) {
	f, ok := c.out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// miniList prints PM2's mini list: a block of lines for each process.
func (l *listing) miniList(groups []group) []byte {
	var out strings.Builder
	for i := range groups {
		g := &groups[i]
		p := &g.processes[0]
		watching := "no"
		if p.Watching {
			watching = "yes"
		}
		fmt.Fprintf(&out, "+--- %s\n", shown(g.name))
		for _, line := range [][2]string{
			{"project", shown(g.app.Project)}, {"namespace", shown(namespaceOf(g.app))}, {"pid", strconv.Itoa(g.pid())},
			{"status", g.status}, {"mode", modeOf(g.app)}, {"restarted", strconv.Itoa(g.restarts)},
			{"uptime", l.uptime(g)}, {"memory usage", g.memoryText()}, {"user", shown(l.userOf(p))},
			{"watching", watching}, {"unit", p.Unit},
		} {
			fmt.Fprintf(&out, "%s : %s\n", line[0], line[1])
		}
		out.WriteByte('\n')
	}
	return []byte(out.String())
}
