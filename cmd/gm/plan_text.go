package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"gm/diag"
	"gm/engine"
	"gm/units"
)

// planStyle is how a plan is printed.
type planStyle struct {
	color   bool
	all     bool // unchanged apps too
	diff    bool
	secrets bool
	notes   bool
	from    string // of the wanted units; "" leaves the last line out
}

// planText prints a plan for a person.
func planText(p *engine.Plan, s planStyle) []byte {
	var out bytes.Buffer
	width := 0
	shown := make([]*engine.AppPlan, 0, len(p.Apps))
	// That the project's units follow the coming and going of its apps needs no row.
	n := p.Counts()
	follows := n[engine.Create]+n[engine.Remove] > 0 && !s.diff
	for i := range p.Apps {
		a := &p.Apps[i]
		if a.App == "" && (follows || a.Empty()) || a.App != "" && a.Effect == engine.Keep && !s.all {
			continue
		}
		shown = append(shown, a)
		width = max(width, text.StringWidthWithoutEscSequences(rowName(p, a)))
	}
	for _, a := range shown {
		row := fmt.Sprintf("%s %s  %s", symbol(a.Effect), text.Pad(rowName(p, a), width, ' '), effectText(a))
		out.WriteString(paint(printable(row), symbolColor(a.Effect), s.color))
		out.WriteByte('\n')
		if s.diff {
			for _, f := range a.Files {
				out.Write(paintDiff(fileDiff(f, s.secrets), diag.Style{Color: s.color}))
			}
		}
	}
	if s.notes {
		for _, n := range p.Notes {
			fmt.Fprintf(&out, "note: %s\n", printable(n.Text))
			if n.Remedy != "" {
				fmt.Fprintf(&out, "    fix: %s\n", printable(n.Remedy))
			}
		}
	}
	if s.from != "" {
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintln(&out, planSummary(p, s.from))
	}
	return out.Bytes()
}

// rowName is what a plan calls an app, or the project as a whole.
func rowName(p *engine.Plan, a *engine.AppPlan) string {
	if a.App == "" {
		return p.Project + " (project)"
	}
	return a.App
}

func symbol(e engine.Effect) string {
	switch e {
	case engine.Create:
		return "+"
	case engine.Remove:
		return "-"
	case engine.Keep:
		return "="
	}
	return "~"
}

func symbolColor(e engine.Effect) string {
	switch e {
	case engine.Create:
		return "\x1b[32m"
	case engine.Remove:
		return "\x1b[31m"
	case engine.Keep:
		return ""
	}
	return "\x1b[33m"
}

func paint(s, color string, on bool) string {
	if !on || color == "" {
		return s
	}
	return color + s + "\x1b[0m"
}

// effectText says what happens to an app, and why.
func effectText(a *engine.AppPlan) string {
	why := a.Why
	says := string(a.Effect)
	switch a.Effect {
	case engine.Create:
		// "new" says no more than the effect does.
		why = slices.DeleteFunc(slices.Clone(why), func(w string) bool { return w == "new" })
		if a.After > 1 {
			says += fmt.Sprintf(" %d instances", a.After)
		}
	case engine.RestartApp:
		if a.Before > 1 || a.After > 1 {
			says = "restart all instances at once"
		}
	case engine.Roll:
		says = "reload one instance after the other"
	case engine.Scale:
		says, why = fmt.Sprintf("scale from %d to %d instances", a.Before, a.After), nil
	case engine.Update:
		says = "no restart"
	case engine.Keep:
		says = "unchanged"
	}
	if len(why) > 0 {
		says += ": " + reasons(why)
	}
	return says
}

// reasons lists what led to an effect, as far as a line holds it; --json has all.
func reasons(why []string) string {
	const most = 5
	if more := len(why) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(why[:most], ", "), more)
	}
	return strings.Join(why, ", ")
}

// planSummary is the last line of a plan: how many apps have which effect.
func planSummary(p *engine.Plan, from string) string {
	n := p.Counts()
	if p.Empty() {
		are := "are"
		if n[engine.Keep] == 1 {
			are = "is"
		}
		return fmt.Sprintf("No changes. %s %s as %s says.", counted(n[engine.Keep], "app"), are, from)
	}
	var parts []string
	part := func(effect engine.Effect, one, many string) {
		switch n[effect] {
		case 0:
		case 1:
			parts = append(parts, "1 "+one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n[effect], many))
		}
	}
	part(engine.RestartApp, "restarts", "restart")
	part(engine.Roll, "reloads", "reload")
	part(engine.Scale, "scales", "scale")
	part(engine.Revive, "starts", "start")
	part(engine.Update, "without a restart", "without a restart")
	changes := n[engine.RestartApp] + n[engine.Roll] + n[engine.Scale] + n[engine.Revive] + n[engine.Update]
	if changes+n[engine.Create]+n[engine.Remove] == 0 {
		return "Plan: no app changes; the project's own units do."
	}
	detail := ""
	if parts != nil {
		detail = " (" + strings.Join(parts, ", ") + ")"
	}
	return fmt.Sprintf("Plan: %d to create, %d to change%s, %d to remove.", n[engine.Create], changes, detail, n[engine.Remove])
}

// counted is "1 app", "3 apps".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// fileDiff is the unified difference of one file, without secrets.
func fileDiff(f engine.FileChange, secrets bool) []byte {
	oldName, newName := f.Name, f.Name
	var old, new string
	if f.Old == nil {
		oldName = ""
	} else {
		old = *f.Old
	}
	if f.New == nil {
		newName = ""
	} else {
		new = *f.New
	}
	switch {
	case units.IsEnvFile(f.Name):
		old, new = maskValues(old, new, variable)
	case !secrets:
		old, new = maskValues(old, new, environment)
	}
	return unified(oldName, newName, []byte(old), []byte(new))
}

// masked stands for a value; changedMask for one that is not the same as before.
const masked, changedMask = "***", "*** (changed)"

// maskValues hides the values of variables in two versions of a text. split
// returns what precedes the value in a line.
func maskValues(old, new string, split func(line string) (head string, ok bool)) (string, string) {
	before := map[string]string{}
	mask := func(body string, note bool) string {
		var out strings.Builder
		for line := range strings.Lines(body) {
			line, end := strings.CutSuffix(line, "\n")
			head, ok := split(line)
			if ok {
				hidden := masked
				if had, known := before[head]; note && known && had != line {
					hidden = changedMask
				}
				if !note {
					before[head] = line
				}
				line = head + hidden
			}
			out.WriteString(line)
			if end {
				out.WriteByte('\n')
			}
		}
		return out.String()
	}
	return mask(old, false), mask(new, true)
}

// variable splits a line of an environment file. gm's mark is in comments.
func variable(line string) (head string, ok bool) {
	if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
		return "", false
	}
	name, _, ok := strings.Cut(line, "=")
	return name + "=", ok
}

// environment splits an Environment= line of a unit: NAME=value, in quotes where
// it needs some.
func environment(line string) (head string, ok bool) {
	rest, ok := strings.CutPrefix(line, "Environment=")
	if !ok || rest == "" {
		return "", false
	}
	name, _, _ := strings.Cut(strings.TrimLeft(rest, `"'`), "=")
	return "Environment=" + name + "=", true
}
