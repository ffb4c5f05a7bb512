package translate

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// explainWidth is how wide `gm explain` writes its prose. Directives are shown
// as they are, however long.
const explainWidth = 96

// Explain says all about one key, for a terminal: its spellings, type and
// default, what it means, what it becomes, and where PM2 differs. The key may
// have any of its spellings, be an env_NAME, a key of gm's own object
// ("systemd.listen") or one of the file ("deploy"); the code of a diagnostic
// ("bad-cron") is explained as well. It is false for what nobody knows; Suggest
// may know which key was meant.
//
// What the key becomes is not written down anywhere: the row's example is
// compiled, and what it changes in the units is shown.
func Explain(key string) (string, bool) {
	t, ok := lookupTopic(key)
	if !ok {
		return explainCode(key)
	}
	p := &page{}
	p.line(0, t.name)
	if len(t.aliases) > 0 {
		p.row("also written", strings.Join(t.aliases, ", "))
	}
	p.row("type", t.label)
	if t.fallback != "" {
		p.row("default", t.fallback)
	} else if t.example != "" {
		p.row("default", "none")
	}
	if t.with != "" {
		p.row("decided with", t.with)
	}
	p.line(0, "")
	p.prose(4, t.doc)
	for _, k := range t.members {
		p.row(k.Name, k.Doc)
	}

	if t.example != "" {
		title := "Example"
		if t.env {
			title += ", with --env " + exampleEnv
		}
		p.head(title)
		p.line(4, t.declaration())
	}
	if t.drop != "" {
		p.head("No effect")
		p.prose(4, t.drop)
	} else if t.example != "" {
		for _, e := range t.effects() {
			p.head(e.title)
			p.effect(e.changes)
		}
	}
	if t.differs != "" {
		p.head("PM2 differs")
		p.prose(4, t.differs)
	}
	return p.String(), true
}

// explainCode says what a code of a diagnostic means.
func explainCode(name string) (string, bool) {
	codes := Codes()
	i := slices.IndexFunc(codes, func(c *Code) bool { return c.Name == name })
	if i < 0 {
		return "", false
	}
	c := codes[i]
	p := &page{}
	p.line(0, c.Name)
	p.row("severity", c.Severity.String())
	if c.File != "" {
		p.row("in", c.File)
	}
	if c.Flags != "" {
		p.row("called with", c.Flags)
	}
	p.line(0, "")
	p.prose(4, "It is reported when "+c.Doc+".")
	p.head("Example")
	for _, line := range strings.Split(showText(c.Example), "\n") {
		p.line(4, line)
	}
	return p.String(), true
}

// showText is an example as it can be printed: without a last line end, bytes
// that are no text replaced, long lines cut.
func showText(text string) string {
	const most = 200
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = clipTo(line, most)
	}
	text = strings.Join(lines, "\n")
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			return utf8.RuneError
		}
		return c
	}, strings.ToValidUTF8(text, "\ufffd"))
}

// ExplainAll lists every key in one line each: its name, its type, and the
// first sentence of what it means.
func ExplainAll() string {
	var out strings.Builder
	for _, t := range topics() {
		doc := firstSentence(t.doc)
		if t.drop != "" {
			doc = "No effect: " + t.drop
		}
		out.WriteString(clipTo(fmt.Sprintf("%-26s  %-19s  %s", t.name, shortLabel(t.label), doc), explainWidth))
		out.WriteByte('\n')
	}
	return out.String()
}

// Suggest returns the key that key most likely misspells, or "".
func Suggest(key string) string {
	names := fieldNames()
	for _, t := range topics() {
		if !slices.Contains(names, t.name) {
			names = append(names, t.name)
		}
	}
	return nearest(key, names)
}

// topic is what can be explained: a row of the table, a key of "systemd", or a
// key of the file.
type topic struct {
	name     string
	aliases  []string
	label    string // of its type
	fallback string // default, as JSON
	doc      string
	differs  string
	with     string
	drop     string
	members  []SystemdKey

	// key and example are the member of an app that shows the effect; beside
	// is what stands next to it. Without an example there is nothing to show.
	key, example, beside string
	env                  bool // it is shown with --env
}

// topics lists everything that can be explained: the table in its order, then
// gm's own keys, then those of the file.
func topics() []topic {
	rows, own := fields(), SystemdKeys()
	out := make([]topic, 0, len(rows)+len(own)+4)
	for i := range rows {
		out = append(out, fieldTopic(&rows[i]))
	}
	for _, k := range own {
		out = append(out, topic{name: "systemd." + k.Name, label: systemdLabel(k.Name), doc: k.Doc,
			key: "systemd", example: `{"` + k.Name + `": ` + k.Example + `}`})
	}
	return append(out, fileTopics()...)
}

func fieldTopic(f *Field) topic {
	t := topic{
		name: f.Name, aliases: f.spellings()[1:], label: f.Type.Label, fallback: f.Default,
		doc: f.Doc, differs: f.Differs, with: f.With, drop: f.Drop,
		key: f.Name, example: f.Example, beside: f.Beside,
	}
	switch f.Name {
	case envPattern:
		t.key = "env_" + exampleEnv
	case "systemd":
		t.members = SystemdKeys()
	}
	t.env = strings.Contains(t.key+t.beside, "env_"+exampleEnv)
	return t
}

// systemdLabel names the type of one of gm's own keys.
func systemdLabel(key string) string {
	switch key {
	case "depends_on":
		return "name, or list of names"
	case "hardening":
		return `level: "off", "basic" or "strict"`
	case "listen":
		return "port or address, or list of them"
	case "log_keep":
		return "number of files"
	case "log_max_size":
		return typeSize.Label
	case "pm2_env":
		return "boolean"
	}
	return "object of directives" // service, unit
}

// fileTopics are the keys that stand beside the apps.
func fileTopics() []topic {
	return []topic{
		{name: "apps", label: "list of apps, or one app",
			doc: "The apps of the declaration. A file that is a list, or one app, needs no such key."},
		{name: "deploy", label: "object of environments",
			doc:     "What `pm2 deploy` reads: where to clone which repository. It makes no unit. The `env` of `deploy.NAME` is laid over an app's env, and under its env_NAME, with `--env NAME`.",
			differs: "gm does not deploy yet; it says so in a note."},
		{name: "pm2", label: "list of apps, or one app", doc: "The same as apps, where the file has no apps."},
		{name: "static", label: "list of servers",
			doc:     "PM2's built-in file servers.",
			differs: "gm has no file server and warns; declare an app that serves the files."},
	}
}

// lookupTopic finds what key names, under any spelling; dashes, as PM2's flags
// have them (--restart-delay), stand for underscores.
func lookupTopic(key string) (topic, bool) {
	for _, name := range []string{key, strings.ReplaceAll(strings.TrimLeft(key, "-"), "-", "_")} {
		if i, ok := fieldIndex(name); ok {
			return fieldTopic(&fields()[i]), true
		}
		all := topics()
		if i := slices.IndexFunc(all, func(t topic) bool { return t.name == name }); i >= 0 {
			return all[i], true
		}
	}
	return topic{}, false
}

// page is a text for a terminal.
type page struct{ strings.Builder }

// line writes one line as it is.
func (p *page) line(indent int, text string) {
	if text != "" {
		p.WriteString(strings.Repeat(" ", indent))
		p.WriteString(text)
	}
	p.WriteByte('\n')
}

// head opens a section.
func (p *page) head(title string) {
	p.line(0, "")
	p.line(0, title)
}

// rowLabel is the width of a row's label.
const rowLabel = 14

// row writes a labelled line; what does not fit goes below itself.
func (p *page) row(label, text string) {
	for i, line := range wrap(text, explainWidth-4-rowLabel) {
		if i > 0 {
			label = ""
		}
		p.line(4, fmt.Sprintf("%-*s%s", rowLabel, label, line))
	}
}

// prose writes a paragraph.
func (p *page) prose(indent int, text string) {
	for _, line := range wrap(text, explainWidth-indent) {
		p.line(indent, line)
	}
}

// effect writes what changes in the units, as a diff.
func (p *page) effect(changes []change) {
	for i, c := range changes {
		if i > 0 {
			p.line(0, "")
		}
		p.line(4, c.title())
		section := ""
		for _, l := range c.lines {
			if l.section != section {
				section = l.section
				p.line(6, "["+section+"]")
			}
			p.line(4, string(l.op)+" "+l.text)
		}
	}
}

// wrap breaks text at blanks into lines of at most width characters; a longer
// word gets a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	line, used := "", 0
	for _, word := range strings.Fields(text) {
		size := utf8.RuneCountInString(word)
		if used > 0 && used+1+size > width {
			lines = append(lines, line)
			line, used = "", 0
		}
		if used > 0 {
			line += " "
			used++
		}
		line += word
		used += size
	}
	return append(lines, line)
}

// clipTo cuts text to that many characters.
func clipTo(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return strings.TrimRight(string(runes[:width-1]), " ") + "…"
}

// shortLabel is what fits a column of a type's label.
func shortLabel(label string) string {
	if i := strings.IndexAny(label, ",:;"); i >= 0 {
		label = label[:i]
	}
	return strings.TrimPrefix(label, "number of ")
}

// firstSentence returns text up to its first full stop.
func firstSentence(text string) string {
	if i := strings.Index(text, ". "); i >= 0 {
		return text[:i+1]
	}
	return text
}
