package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"gm/engine"
)

// progress shows what Apply is doing: one line for each app that is done, on out,
// and on a terminal below them a block that says what is still awaited.
type progress struct {
	out, err io.Writer
	width    func() int // of the terminal on err; nil: it is none

	apps  []*appProgress // in the order of the plan
	byApp map[string]*appProgress
	phase string   // what is done with all of them
	back  bool     // everything is put back
	block []string // on the screen
	lost  error    // why a line could not be printed
}

const rollingBack = "putting everything back"

// appProgress is what is known of one app.
type appProgress struct {
	name string
	// line is what is printed when it is done.
	line   string
	stops  map[string]bool // units to be stopped
	starts map[string]bool // units to come up
	total  int
	failed bool
	told   bool
}

// newProgress prepares the progress of a plan; line says what is printed of an
// app when it is done, "" for nothing.
func (c *caller) newProgress(p *engine.Plan, line func(*engine.AppPlan) string) *progress {
	g := &progress{out: c.out, err: c.err, byApp: map[string]*appProgress{}}
	if f, ok := c.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && c.getenv("TERM") != "dumb" {
		g.width = func() int {
			if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
				return width
			}
			return 80
		}
	}
	for i := range p.Apps {
		a := &p.Apps[i]
		if a.App == "" {
			continue
		}
		app := &appProgress{name: printable(a.App), line: printable(line(a)), stops: setOf(slices.Concat(a.Stop...)), starts: setOf(a.Restart, a.Start)}
		app.total = len(app.starts)
		g.apps = append(g.apps, app)
		g.byApp[a.App] = app
	}
	return g
}

func setOf(lists ...[]string) map[string]bool {
	set := map[string]bool{}
	for _, list := range lists {
		for _, s := range list {
			set[s] = true
		}
	}
	return set
}

// report takes a step of Apply.
func (g *progress) report(p engine.Progress) {
	app := g.byApp[p.App]
	switch p.Step {
	case engine.Writing:
		g.phase = "writing units"
	case engine.Reloading:
		g.phase = "having them read"
	case engine.RollingBack:
		g.back = true
		if g.width == nil {
			fmt.Fprintf(g.err, "gm: %s\n", rollingBack)
		}
	case engine.Stopping, engine.Starting, engine.Restarting, engine.Waiting:
		g.phase = ""
	case engine.Stopped:
		if p.Err != nil {
			g.clear()
			fmt.Fprintf(g.err, "gm: %s: %v\n", p.Unit, p.Err)
		}
		if app != nil {
			delete(app.stops, p.Unit)
		}
	case engine.Up, engine.Ended:
		if app == nil || !app.starts[p.Unit] || g.back {
			break
		}
		delete(app.starts, p.Unit)
		if len(app.starts) == 0 && !app.failed {
			g.tell(app)
		}
	case engine.Failed:
		if app != nil {
			app.failed = true
		}
	}
	g.draw()
}

// tell prints an app's line.
func (g *progress) tell(app *appProgress) {
	if app.told || app.line == "" {
		return
	}
	app.told = true
	g.clear()
	if _, err := fmt.Fprintln(g.out, app.line); err != nil {
		g.lost = err
	}
}

// finish removes the block and prints the lines of what is done without anything
// to await: if all went well, only then is it known.
func (g *progress) finish(ok bool) {
	g.clear()
	if !ok {
		return
	}
	for _, app := range g.apps {
		g.tell(app)
	}
}

// clear removes the block from the screen.
func (g *progress) clear() {
	if len(g.block) > 0 {
		io.WriteString(g.err, erase(g.block))
		g.block = nil
	}
}

// draw shows the block, where there is a terminal for it.
func (g *progress) draw() {
	if g.width == nil {
		return
	}
	lines := g.lines()
	if slices.Equal(lines, g.block) {
		return
	}
	// The last column is left free: a terminal wraps there.
	width := g.width() - 1
	out := erase(g.block)
	for _, line := range lines {
		out += text.Snip(line, width, "…") + "\n"
	}
	io.WriteString(g.err, out) // at once, so that it does not flicker
	g.block = lines
}

// erase goes up to the first of these lines and erases all below.
func erase(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", len(lines))
}

// lines is the block: how far it is, and who is awaited.
func (g *progress) lines() []string {
	var stopping, starting awaited
	for _, app := range g.apps {
		switch {
		case app.failed:
		case len(app.stops) > 0:
			stopping.add(app.name)
		case len(app.starts) > 0 && app.total > 1:
			starting.add(fmt.Sprintf("%s (%d of %d)", app.name, app.total-len(app.starts), app.total))
		case len(app.starts) > 0:
			starting.add(app.name)
		}
	}
	switch {
	case g.back:
		return []string{rollingBack}
	case g.phase != "":
		return []string{g.phase}
	}
	var lines []string
	if stopping.n > 0 {
		lines = append(lines, fmt.Sprintf("%d stopping: %s", stopping.n, strings.Join(stopping.names, ", ")))
	}
	if starting.n > 0 {
		lines = append(lines, fmt.Sprintf("%d starting: %s", starting.n, strings.Join(starting.names, ", ")))
	}
	return lines
}

// awaited is how many apps there are, and the names of as many as a line holds.
type awaited struct {
	n     int
	names []string
}

func (a *awaited) add(name string) {
	const most = 50
	a.n++
	if len(a.names) < most {
		a.names = append(a.names, name)
	}
}
