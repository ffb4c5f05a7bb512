package main

import (
	"bytes"
	"encoding/json"
	"math"
	"time"

	"gm/engine"
)

// document is the shape of gm list --json.
type document struct {
	Time *time.Time  `json:"time,omitempty"` // with --watch
	Apps []listedApp `json:"apps"`
}

// listedApp is an app in gm list --json.
type listedApp struct {
	Name      string   `json:"name"`
	Project   string   `json:"project"`
	Namespace string   `json:"namespace"`
	Mode      string   `json:"mode"` // fork or cluster
	Unit      string   `json:"unit"`
	Source    string   `json:"source"`
	Status    string   `json:"status"` // online if any instance is
	Online    int      `json:"online"`
	Declared  int      `json:"declared"`
	Enabled   bool     `json:"enabled"` // all declared instances start at boot
	Job       bool     `json:"job"`
	Watching  bool     `json:"watching"`
	Restarts  int      `json:"restarts"`
	CPU       *float64 `json:"cpu"`
	Memory    *int64   `json:"memory"`
	// Next is when its timer runs or restarts it next.
	Next      *time.Time      `json:"next_run"`
	Instances []listedProcess `json:"instances"`
}

// listedProcess is an instance of an app.
type listedProcess struct {
	Name     string     `json:"name"`
	Instance *int       `json:"instance"` // null for a single service
	Unit     string     `json:"unit"`
	Status   string     `json:"status"`
	Enabled  bool       `json:"enabled"`
	Surplus  bool       `json:"surplus"`
	PID      *int       `json:"pid"`
	User     string     `json:"user"`
	Started  *time.Time `json:"started"`
	Uptime   *float64   `json:"uptime"` // seconds
	Restarts int        `json:"restarts"`
	CPU      *float64   `json:"cpu"`    // percent of one CPU
	Memory   *int64     `json:"memory"` // bytes
	// What systemd says.
	Active string      `json:"active"`
	Sub    string      `json:"sub"`
	Result string      `json:"result"`
	Exit   *listedExit `json:"exit"`
	// Outcome is how the last process ended, in words.
	Outcome string `json:"outcome"`
}

// listedExit is how the last process ended.
type listedExit struct {
	Code   *int      `json:"code"`
	Signal *int      `json:"signal"`
	At     time.Time `json:"at"`
}

func (l *listing) document(groups []group, timed bool) document {
	d := document{Apps: []listedApp{}}
	if timed {
		d.Time = moment(l.at)
	}
	for i := range groups {
		d.Apps = append(d.Apps, l.listedApp(&groups[i]))
	}
	return d
}

// pages returns the document of groups for a person to read.
func (l *listing) pages(groups []group) ([]byte, error) {
	const usual = 1 << 10 // bytes of an app
	out := make([]byte, 0, 64+usual*len(groups))
	if len(groups) == 0 {
		return append(out, "{\n  \"apps\": []\n}\n"...), nil
	}
	out = append(out, "{\n  \"apps\": [\n"...)
	var one bytes.Buffer
	encoder := json.NewEncoder(&one)
	encoder.SetEscapeHTML(false)
	for i := range groups {
		one.Reset()
		if err := encoder.Encode(l.listedApp(&groups[i])); err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ",\n"...)
		}
		out = append(out, "    "...)
		out = appendIndented(out, bytes.TrimSuffix(one.Bytes(), []byte("\n")), 2)
	}
	return append(out, "\n  ]\n}\n"...), nil
}

// appendIndented writes JSON that has no blanks as json.Indent does, which knows less of what
// it is given and takes ten times as long.
func appendIndented(out, compact []byte, depth int) []byte {
	newline := func() {
		out = append(out, '\n')
		for range depth {
			out = append(out, "  "...)
		}
	}
	for i := 0; i < len(compact); i++ {
		switch c := compact[i]; c {
		case '{', '[':
			out = append(out, c)
			if next := compact[i+1]; next == '}' || next == ']' {
				out = append(out, next)
				i++
			} else {
				depth++
				newline()
			}
		case '}', ']':
			depth--
			newline()
			out = append(out, c)
		case ',':
			out = append(out, c)
			newline()
		case ':':
			out = append(out, ": "...)
		case '"':
			end := i + 1
			for compact[end] != '"' {
				if compact[end] == '\\' {
					end++
				}
				end++
			}
			out = append(out, compact[i:end+1]...)
			i = end
		default:
			out = append(out, c)
		}
	}
	return out
}

func (l *listing) listedApp(g *group) listedApp {
	p := &g.processes[0]
	a := listedApp{
		Name: g.app.Name, Project: g.app.Project, Namespace: namespaceOf(g.app), Mode: modeOf(g.app),
		Unit: g.app.Unit, Source: g.app.Source, Status: string(g.tone), Online: g.online, Declared: len(g.app.Instances),
		Enabled: true, Job: g.app.Once, Watching: p.Watching, Restarts: g.restarts,
		CPU: share(g.cpu), Memory: known(g.memory), Next: moment(p.Next), Instances: []listedProcess{},
	}
	for i := range g.processes {
		p := &g.processes[i]
		a.Enabled = a.Enabled && (p.Enabled || p.Surplus)
		a.Instances = append(a.Instances, l.listedProcess(p))
	}
	return a
}

func (l *listing) listedProcess(p *engine.Process) listedProcess {
	s := &p.State
	out := listedProcess{
		Name: p.Name, Unit: p.Unit, Status: string(p.Status), Enabled: p.Enabled, Surplus: p.Surplus,
		User: l.userOf(p), Restarts: s.Restarts, Memory: known(s.Memory),
		Active: s.Active, Sub: s.Sub, Result: s.Result, Outcome: engine.Outcome(*s), Started: moment(s.Started),
	}
	if p.Instance >= 0 {
		out.Instance = &p.Instance
	}
	if out.Active == "" { // systemd has forgotten it: that is what it says of those
		out.Active, out.Sub = "inactive", "dead"
	}
	if s.MainPID > 0 {
		out.PID = &s.MainPID
		if !s.Started.IsZero() {
			uptime := math.Round(1000*l.at.Sub(s.Started).Seconds()) / 1000
			out.Uptime = &uptime
		}
	}
	if cpu, ok := l.cpu[p.Unit]; ok {
		out.CPU = share(cpu)
	}
	if !s.Exit.At.IsZero() {
		out.Exit = &listedExit{At: *moment(s.Exit.At)}
		if s.Exit.Signal != 0 {
			out.Exit.Signal = &s.Exit.Signal
		} else {
			out.Exit.Code = &s.Exit.Code
		}
	}
	return out
}

// share rounds to PM2's one decimal; nil is not known.
func share(cpu float64) *float64 {
	if cpu < 0 {
		return nil
	}
	cpu = math.Round(10*cpu) / 10
	return &cpu
}

func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

// moment is nil for never.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}
