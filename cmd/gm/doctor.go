package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gm/diag"
)

type doctorOptions struct {
	engineOptions
	json bool
}

func newDoctorCmd(c *caller) *cobra.Command {
	o := &doctorOptions{}
	cmd := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Check this machine and the apps on it for what would keep them from running",
		Long: `Doctor looks at systemd or gm's own supervisor, the journal, cgroups, disks and
other things of this machine that apps depend on, and at each installed app: whether its interpreter,
user, directory and files are there, and its port is free. The apps of the
declaration FILE, or of one that lies here, are looked at too, before they are
installed.

It changes nothing. Each line is ok, a warning, a problem with what to do about
it, or not checked, with the reason. Exit status 1 says that there is a problem.`,
		Example: "  gm doctor\n  gm doctor ecosystem.config.js\n  sudo gm doctor --json",
		Args:    arguments(0, 1),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.doctor(cmd.Context(), o, args) },
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

// finding is what one check found.
type finding struct {
	Check  string   `json:"check"`
	State  severity `json:"state"`
	App    string   `json:"app,omitempty"`
	Text   string   `json:"text"`
	Remedy string   `json:"fix,omitempty"`
}

type severity string

const (
	fine      severity = "ok"
	warning   severity = "warning"
	problem   severity = "problem"
	unchecked severity = "not checked"
)

func passed(text string, args ...any) finding {
	return finding{State: fine, Text: fmt.Sprintf(text, args...)}
}

func notChecked(text string, args ...any) finding {
	return finding{State: unchecked, Text: fmt.Sprintf(text, args...)}
}

func warn(remedy, text string, args ...any) finding {
	return finding{State: warning, Remedy: remedy, Text: fmt.Sprintf(text, args...)}
}

func bad(remedy, text string, args ...any) finding {
	return finding{State: problem, Remedy: remedy, Text: fmt.Sprintf(text, args...)}
}

// check is one row of the table: what it is called, and what it finds in the
// facts. It is pure; what a machine has to be asked is in the facts.
type check struct {
	name string
	run  func(*facts) []finding
}

// appCheck is a check of each app.
type appCheck struct {
	name string
	run  func(*facts, *appFacts) []finding
}

// examine runs all checks. An app with nothing to complain of is one line.
func examine(f *facts) []finding {
	var all []finding
	for _, check := range machineChecks {
		for _, found := range check.run(f) {
			found.Check = check.name
			all = append(all, found)
		}
	}
	for i := range f.apps {
		app, before := &f.apps[i], len(all)
		done := 0
		for _, check := range appChecks {
			found := check.run(f, app)
			if len(found) == 0 {
				continue
			}
			done++
			for _, one := range found {
				if one.State == fine {
					continue
				}
				one.Check, one.App = check.name, app.name
				all = append(all, one)
			}
		}
		if len(all) == before {
			where := "installed"
			if !app.installed {
				where = "in the declaration"
			}
			all = append(all, finding{Check: "app", App: app.name, State: fine, Text: fmt.Sprintf("%s; %d checks", where, done)})
		}
	}
	return all
}

func (c *caller) printFindings(all []finding, asJSON bool) error {
	count := map[severity]int{}
	for _, f := range all {
		count[f.State]++
	}
	var out bytes.Buffer
	if asJSON {
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		must(enc.Encode(struct { // strings and numbers always encode
			Checks   []finding `json:"checks"`
			Problems int       `json:"problems"`
			Warnings int       `json:"warnings"`
		}{all, count[problem], count[warning]}))
	} else {
		writeFindings(&out, all, c.style(c.out))
	}
	if err := c.write(out.Bytes()); err != nil {
		return err
	}
	if !asJSON {
		fmt.Fprintln(c.err, summarize(count))
	}
	if count[problem] > 0 {
		return exit(statusFailed)
	}
	return nil
}

func writeFindings(out *bytes.Buffer, all []finding, style diag.Style) {
	tones := map[severity]string{fine: "\x1b[32m", warning: "\x1b[33m", problem: "\x1b[31m", unchecked: "\x1b[2m"}
	width := 0
	for _, f := range all {
		width = max(width, len(f.Check))
	}
	for _, f := range all {
		state := fmt.Sprintf("%-11s", f.State)
		if style.Color {
			state = tones[f.State] + state + toneReset
		}
		text := f.Text
		if f.App != "" {
			text = f.App + ": " + text
		}
		fmt.Fprintf(out, "%s %-*s  %s\n", state, width, f.Check, text)
		if f.Remedy != "" {
			fmt.Fprintf(out, "%*s  fix: %s\n", 12+width, "", f.Remedy)
		}
	}
}

// summarize counts: "1 problem, 2 warnings, 20 ok".
func summarize(count map[severity]int) string {
	var parts []string
	for _, s := range []severity{problem, warning, unchecked, fine} {
		n := count[s]
		if n == 0 {
			continue
		}
		name := string(s)
		if n > 1 && (s == problem || s == warning) {
			name += "s"
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, name))
	}
	return strings.Join(parts, ", ")
}

// names joins a few names: "a, b and 3 more".
func names(all []string) string {
	all = slices.Compact(slices.Sorted(slices.Values(all)))
	const most = 5
	if len(all) > most+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
