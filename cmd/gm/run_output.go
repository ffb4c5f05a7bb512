package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"gm/engine"
	"gm/units"
)

// prefixer prints the lines of apps, each with its app before it. Any goroutine may
// call it.
type prefixer struct {
	raw, json bool
	color     bool
	failed    func(error)

	mu       sync.Mutex
	out, err io.Writer
	apps     map[string]string // by unit or template
	labels   map[string]label  // by unit
	width    int
	buffer   bytes.Buffer
}

// label is what a unit is called.
type label struct {
	app, instance string
	tone          string
}

func (l *label) text() string {
	if l.instance == "" {
		return l.app
	}
	return l.app + "." + l.instance
}

// tones are told apart on a light and on a dark ground. Red is left to errors.
var tones = []string{"\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[96m", "\x1b[93m", "\x1b[92m", "\x1b[95m", "\x1b[94m"}

// newPrefixer prints for c. It calls failed when it cannot.
func newPrefixer(c *caller, o *runOptions, apps []engine.App, failed func(error)) *prefixer {
	p := &prefixer{
		raw: o.raw, json: o.json, color: c.style(c.out).Color, failed: failed, out: c.out, err: c.err,
		apps: map[string]string{}, labels: map[string]label{},
	}
	for i := range apps {
		p.apps[apps[i].Unit] = apps[i].Name
		for _, unit := range apps[i].Instances {
			p.label(unit)
		}
	}
	return p
}

// label names a unit: an instance is its app and number, a companion has a name of
// its own.
func (p *prefixer) label(unit string) label {
	if l, known := p.labels[unit]; known {
		return l
	}
	name, instance, isInstance := strings.Cut(strings.TrimSuffix(unit, path.Ext(unit)), "@")
	l := label{app: units.UnescapeName(name), instance: instance, tone: tones[len(p.labels)%len(tones)]}
	of := unit
	if isInstance {
		of = name + "@" + path.Ext(unit)
	}
	if app, known := p.apps[of]; known {
		l.app = app
	}
	p.labels[unit] = l
	p.width = max(p.width, len([]rune(l.text())))
	return l
}

// line prints a line that a unit wrote: native.Options.Output.
func (p *prefixer) line(unit string, stream engine.Stream, text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.label(unit)
	to := p.out
	if stream == engine.Stderr && !p.json {
		to = p.err
	}
	p.print(to, &l, string(stream), text)
}

// say prints a line of gm's own.
func (p *prefixer) say(text string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print(p.err, &label{app: "gm", tone: toneDim}, "gm", fmt.Appendf(nil, text, args...))
}

// about says how the process of a unit ended.
func (p *prefixer) about(u engine.UnitState) {
	p.mu.Lock()
	l := p.label(u.Name)
	p.mu.Unlock()
	text := l.text() + " has ended"
	switch {
	case u.Result == "start-limit-hit":
		text = l.text() + " was given up: it ended too often in a short time"
	case u.Exit.Signal != 0:
		text = l.text() + " was ended by " + signalName(u.Exit.Signal)
	case u.Result == "timeout":
		text = l.text() + " was not ready in time"
	case !u.Exit.At.IsZero():
		text = fmt.Sprintf("%s has ended with exit status %d", l.text(), u.Exit.Code)
	case u.Active == "failed" && u.Result != "":
		text = fmt.Sprintf("%s failed (%s)", l.text(), u.Result)
	}
	if strings.HasPrefix(u.Sub, "auto-restart") {
		text += " and is started again"
	}
	p.say("%s", text)
}

// print writes one line by one call: others may write to the same terminal.
func (p *prefixer) print(to io.Writer, l *label, stream string, text []byte) {
	b := &p.buffer
	b.Reset()
	switch {
	case p.json:
		p.object(b, l, stream, text)
		to = p.out
	case p.raw && stream != "gm":
		b.Write(text)
	default:
		head := fmt.Sprintf("%-*s |", p.width, l.text())
		if p.color {
			head = l.tone + head + toneReset
		}
		b.WriteString(head)
		b.WriteByte(' ')
		b.Write(text)
	}
	b.WriteByte('\n')
	if _, err := to.Write(b.Bytes()); err != nil {
		p.failed(err)
	}
}

// printedLine is a line of gm run --json.
type printedLine struct {
	Time     time.Time `json:"time"`
	App      string    `json:"app"`
	Instance string    `json:"instance"` // "" for an app that is one process
	Stream   string    `json:"stream"`   // out, err, or gm for gm's own lines
	Message  string    `json:"message"`
}

func (p *prefixer) object(b *bytes.Buffer, l *label, stream string, text []byte) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	must(enc.Encode(printedLine{time.Now(), l.app, l.instance, stream, string(text)})) // strings always encode
	b.Truncate(b.Len() - 1)
}
