package engine

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gm/diag"
	"gm/units"
)

// Sources says where the lines of what was selected are, as the units have it:
// in the order in which ties between them are settled.
func Sources(have *State, d Dirs, selected []Selection) []LogSource {
	var all []LogSource
	taken := map[string]bool{} // files
	for _, sel := range selected {
		place := readPlace(have, &sel.App)
		for _, unit := range sel.Units {
			streams := place.streams(d, unit)
			journal := LogSource{App: sel.App.Name, Unit: unit, Format: place.format, Manager: true}
			for i, s := range streams {
				if s.kind == "journal" {
					if journal.Stream = s.stream; !journal.Manager {
						journal.Stream = Either
					}
					journal.Manager = false
				}
				if s.file == "" || taken[s.file] {
					continue
				}
				taken[s.file] = true
				source := LogSource{App: sel.App.Name, Unit: unit, Stream: s.stream, File: s.file, Format: s.format, JSON: s.json, Keep: s.keep}
				if other := streams[1-i]; other.file == s.file {
					source.Stream = Either
				}
				if len(sel.App.Instances) > 1 && place.shares(d, &sel.App, unit, s.file) {
					source.Unit = sel.App.Unit
				}
				all = append(all, source)
			}
			all = append(all, journal)
		}
	}
	return all
}

// place is where an app's units send its output.
type place struct {
	// out and err are StandardOutput= and StandardError=: "journal", "append:PATH".
	out, err units.Spec
	format   string // of [X-Gm], for the journal
	rotated  bool   // [X-Gm] has LogMaxSize=
	keep     int    // and LogKeep=
	// writer is what the app's log companion does, nil without one.
	writer *logWriter
}

// logWriter is the command line of a log companion.
type logWriter struct {
	format  string
	json    bool
	streams []struct {
		Instance int
		Stream   Stream
		Files    []string
	}
}

// target is where one stream of one unit goes: the kind of systemd.exec(5), and
// the file that lines can be read from.
type target struct {
	stream Stream
	kind   string
	file   string
	format string
	json   bool
	keep   int
}

func readPlace(have *State, app *App) place {
	p := place{out: "journal", err: "inherit"}
	p.read(app.Service.Directives)
	for _, file := range have.DropIns[app.Unit] {
		// One that cannot be read is in nobody's way: the unit's own lines hold.
		if text, err := os.ReadFile(file); err == nil {
			dropIn, _ := units.Parse(app.Unit, diag.NewSource(file, text))
			p.read(dropIn.Directives)
		}
	}
	if p.err == "inherit" {
		p.err = p.out
	}
	base, _ := strings.CutSuffix(strings.TrimSuffix(app.Unit, ".service"), "@")
	p.writer = readLogWriter(have, base+"-log.service")
	return p
}

func (p *place) read(directives []units.Directive) {
	for _, d := range directives {
		text := units.Spec(units.Encode(d.Value))
		switch d.Section + " " + d.Key {
		case "Service StandardOutput":
			p.out = cmp.Or(text, "journal")
		case "Service StandardError":
			p.err = cmp.Or(text, "inherit")
		case "X-Gm LogDateFormat":
			p.format, _ = text.Literal()
		case "X-Gm LogMaxSize":
			p.rotated = text != ""
		case "X-Gm LogKeep":
			p.keep, _ = strconv.Atoi(string(text))
		}
	}
}

// readLogWriter reads the command line of `gm log`.
func readLogWriter(have *State, name string) *logWriter {
	i, ok := slices.BinarySearchFunc(have.Files, name, func(f File, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return nil
	}
	unit, _ := units.Parse(name, diag.NewSource(name, have.Files[i].Text))
	for _, d := range unit.Directives {
		command, ok := d.Value.(units.Command)
		if !ok || d.Key != "ExecStart" {
			continue
		}
		args := command.Args(func(byte) (string, bool) { return "", false }, func(string) (string, bool) { return "", false })
		w := &logWriter{json: slices.Contains(args, "--json")}
		for i, arg := range args[:max(0, len(args)-1)] {
			switch arg {
			case "--date-format":
				w.format = args[i+1]
			case "--streams":
				if json.Unmarshal([]byte(args[i+1]), &w.streams) != nil {
					return nil // written by hand; the files are then unknown
				}
			}
		}
		return w
	}
	return nil
}

// streams says where a unit's two streams go.
func (p *place) streams(d Dirs, unit string) [2]target {
	return [2]target{p.stream(d, unit, Stdout, p.out), p.stream(d, unit, Stderr, p.err)}
}

func (p *place) stream(d Dirs, unit string, stream Stream, to units.Spec) target {
	t := target{stream: stream}
	kind, path, _ := strings.Cut(string(to), ":")
	switch kind {
	case "journal", "journal+console", "syslog", "syslog+console", "kmsg", "kmsg+console":
		t.kind = "journal"
		if t.file = d.LogFile(unit, stream); t.file != "" {
			t.kind, t.keep = "append", p.kept(d)
		}
		return t
	case "append", "file", "truncate":
		t.kind = kind
	default:
		return t // null, a terminal, a socket: nothing to read
	}
	if p.writer != nil {
		// The first file of a stream is its own, the second one log_file, which has
		// the same lines.
		instance, _ := strconv.Atoi(instanceOf(unit))
		for _, s := range p.writer.streams {
			if s.Instance == instance && s.Stream == stream && len(s.Files) > 0 {
				t.file, t.format, t.json = s.Files[0], p.writer.format, p.writer.json
				return t
			}
		}
	}
	if kind == "append" { // others leave a hole where the head was, and are not rotated
		t.keep = p.kept(d)
	}
	t.file = units.Spec(path).Expand(func(c byte) (string, bool) { return unitSpecifier(d, unit, c) })
	return t
}

// kept is how many files what is rotated goes to: systemd's engine rotates none.
func (p *place) kept(d Dirs) int {
	if d.Logs == "" || !p.rotated {
		return 0
	}
	return max(p.keep, 1)
}

// LogFile returns the file of Logs that an output of a service goes to, "" without
// Logs. The names are PM2's: "web-out.log", "web-error.log", "web-out-1.log" of an
// instance.
func (d Dirs) LogFile(unit string, s Stream) string {
	if d.Logs == "" {
		return ""
	}
	base := strings.TrimSuffix(unit, ".service")
	name, instance, isInstance := strings.Cut(base, "@")
	kind := "out"
	if s == Stderr {
		kind = "error"
	}
	if isInstance && (instance == "" || strings.Trim(instance, "0123456789") != "") {
		name, isInstance = base, false // "a@out" would be a stream of "a-out"
	}
	// No two units have one file: what is not the only name of a unit stays escaped.
	if plain := units.UnescapeName(name); units.EscapeName(plain) == name && isPlain(plain) {
		name = plain
	}
	name += "-" + kind
	if isInstance {
		name += "-" + instance
	}
	return filepath.Join(d.Logs, name+".log")
}

// isPlain reports whether a name is as good in a list of files as in one of apps.
func isPlain(name string) bool {
	for i, c := range name {
		if c == '.' && i == 0 {
			return false // hidden
		}
		if c == utf8.RuneError || !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("._-:+,=", c) {
			return false
		}
	}
	return true
}

// shares reports whether another instance of the app writes to the file.
func (p *place) shares(d Dirs, app *App, unit, file string) bool {
	for _, other := range app.Instances {
		if other == unit {
			continue
		}
		for _, t := range p.streams(d, other) {
			if t.file == file {
				return true
			}
		}
		return false // one other tells for all
	}
	return false
}

// unitSpecifier expands what paths of gm's and of people's hold most:
// systemd.unit(5), SPECIFIERS.
func unitSpecifier(d Dirs, unit string, c byte) (string, bool) {
	base := strings.TrimSuffix(unit, filepath.Ext(unit))
	prefix, instance, _ := strings.Cut(base, "@")
	switch c {
	case 'i':
		return instance, true
	case 'I':
		return units.UnescapeName(instance), true
	case 'n':
		return unit, true
	case 'N':
		return base, true
	case 'p':
		return prefix, true
	case 't':
		return filepath.Dir(d.Run), true
	}
	return "", false
}

// instanceOf returns "2" of "web@2.service".
func instanceOf(unit string) string {
	_, rest, _ := strings.Cut(unit, "@")
	return strings.TrimSuffix(rest, filepath.Ext(rest))
}
