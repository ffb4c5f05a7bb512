package main

import (
	"bufio"
	"bytes"
	"context"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
)

func TestParseWhen(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	now := time.Date(2026, 11, 23, 15, 30, 45, 0, zone)
	for _, test := range []struct{ text, want string }{
		{"now", "2026-11-23T15:30:45+02:00"},
		{"today", "2026-11-23T00:00:00+02:00"},
		{"yesterday", "2026-11-22T00:00:00+02:00"},
		{"tomorrow", "2026-11-24T00:00:00+02:00"},
		{"10 min ago", "2026-11-23T15:20:45+02:00"},
		{"1h 30min ago", "2026-11-23T14:00:45+02:00"},
		{"-1h", "2026-11-23T14:30:45+02:00"},
		{"+1h", "2026-11-23T16:30:45+02:00"},
		{"1h", "2026-11-23T14:30:45+02:00"},
		{"2 days", "2026-11-21T15:30:45+02:00"},
		{"2026-11-23", "2026-11-23T00:00:00+02:00"},
		{"2026-11-23 10:00", "2026-11-23T10:00:00+02:00"},
		{"2026-11-23 10:00:05.25", "2026-11-23T10:00:05.25+02:00"},
		{"Mon 2026-11-23 10:00:05", "2026-11-23T10:00:05+02:00"},
		{"2026-11-23 10:00 UTC", "2026-11-23T10:00:00Z"},
		{"10:00", "2026-11-23T10:00:00+02:00"},
		{"10:00:07", "2026-11-23T10:00:07+02:00"},
		{"2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z"},
		{"2026-11-23T10:00:00.5+01:00", "2026-11-23T10:00:00.5+01:00"},
		{"2026-11-23T10:00:00", "2026-11-23T10:00:00+02:00"},
		{"@1790000000.5", "2026-09-21T14:13:20.5Z"},
		{"", ""}, {"2026", ""}, {"soon", ""}, {"10 parsecs ago", ""}, {"2026-13-01", ""}, {"infinity", ""},
		{"25:00", ""}, {"@x", ""}, {"100 years ago", ""},
	} {
		t.Run(test.text, func(t *testing.T) {
			got, err := parseWhen(test.text, now)
			if test.want == "" {
				if err == nil {
					t.Errorf("got %s, want an error", got)
				}
				return
			}
			want, _ := time.Parse(time.RFC3339Nano, test.want)
			if err != nil || !got.Equal(want) {
				t.Errorf("got %s, %v, want %s", got, err, want)
			}
		})
	}
}

func TestLogsQuery(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 30, 45, 0, time.UTC)
	for _, test := range []struct {
		name  string
		o     logsOptions
		given bool // --lines
		want  engine.LogOptions
		wrong bool
	}{
		{name: "default", want: engine.LogOptions{Lines: 15}},
		{name: "all", o: logsOptions{lines: "all"}, given: true, want: engine.LogOptions{Lines: -1}},
		{name: "none", o: logsOptions{lines: "0", follow: true}, given: true, want: engine.LogOptions{Follow: true}},
		{name: "since means all", o: logsOptions{since: "1h"}, want: engine.LogOptions{Lines: -1, Since: now.Add(-time.Hour)}},
		{name: "the last since", o: logsOptions{since: "1h", lines: "3"}, given: true, want: engine.LogOptions{Lines: 3, Since: now.Add(-time.Hour)}},
		{name: "raw", o: logsOptions{raw: true, err: true}, want: engine.LogOptions{Lines: 15, NoManager: true, Stream: engine.Stderr}},
		{name: "negative", o: logsOptions{lines: "-1"}, given: true, wrong: true},
		{name: "both streams", o: logsOptions{err: true, out: true}, wrong: true},
		{name: "an end to what has none", o: logsOptions{follow: true, until: "now"}, wrong: true},
		{name: "PM2's flag against ours", o: logsOptions{follow: true, nostream: true}, wrong: true},
		{name: "bad time", o: logsOptions{since: "soon"}, wrong: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.o.lines == "" {
				test.o.lines = "15"
			}
			got, err := test.o.query(now, test.given)
			if test.wrong != (err != nil) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(got, test.want); err == nil && diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

func TestPrintLogs(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.Local)
	sources := []engine.LogSource{{App: "web", Unit: "web@10.service"}, {App: "job", Unit: "job.service"}}
	line := func(app, unit, text string, stream engine.Stream) engine.LogLine {
		return engine.LogLine{App: app, Dated: true, LogEntry: engine.LogEntry{Unit: unit, Time: at, Text: []byte(text), Stream: stream}}
	}
	out := line("web", "web@10.service", "out\r", engine.Stdout)
	stamped := line("job", "job.service", "err", engine.Stderr)
	stamped.Stamp, stamped.Raw = "10:00", []byte("10:00: err")
	two := line("job", "job.service", "a\nb", engine.Either)
	two.Dated = false
	odd := line("web", "web@.service", "\xff<", engine.Stdout)
	odd.File = "/l/x.log"
	said := line("web", "web@10.service", "Main process exited", engine.Either)
	said.Manager, said.PID = true, 1
	lines := []engine.LogLine{out, stamped, two, odd, said}
	stamp := at.Format(time.RFC3339Nano)
	for _, test := range []struct {
		name  string
		o     logsOptions
		color bool
		want  string
	}{
		{"text", logsOptions{}, false, "web@10 | out\r\njob    | 10:00: err\njob    | a\njob    | b\nweb    | \xff<\nweb@10 | systemd: Main process exited\n"},
		{"raw", logsOptions{raw: true}, false, "out\r\n10:00: err\na\nb\n\xff<\nMain process exited\n"},
		{"timestamp", logsOptions{timestamp: "HH:mm:ss"}, false,
			"10:00:00 web@10 | out\r\n10:00:00 job    | err\n         job    | a\n         job    | b\n10:00:00 web    | \xff<\n10:00:00 web@10 | systemd: Main process exited\n"},
		{"json", logsOptions{json: true}, false, `{"time":"` + stamp + `","app":"web","instance":"10","unit":"web@10.service","stream":"out","message":"out\r"}
{"time":"` + stamp + `","app":"job","unit":"job.service","stream":"err","message":"err"}
{"app":"job","unit":"job.service","message":"a\nb"}
{"time":"` + stamp + `","app":"web","unit":"web@.service","stream":"out","message":"` + "\ufffd" + `<","bytes":"/zw=","file":"/l/x.log"}
{"time":"` + stamp + `","app":"web","instance":"10","unit":"web@10.service","stream":"manager","pid":1,"message":"Main process exited"}
`},
		{"colour", logsOptions{}, true, "\x1b[36mweb@10\x1b[0m | out\r\n\x1b[33mjob   \x1b[0m\x1b[31m | \x1b[0m\x1b[2m10:00: \x1b[0m\x1b[31merr\x1b[0m\n" +
			"\x1b[33mjob   \x1b[0m | a\n\x1b[33mjob   \x1b[0m | b\n\x1b[36mweb   \x1b[0m | \xff<\n" +
			"\x1b[2mweb@10\x1b[0m\x1b[2m | \x1b[0m\x1b[2msystemd: Main process exited\x1b[0m\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var buf bytes.Buffer
			w := bufio.NewWriter(&buf)
			p := newLogPrinter(w, sources, &test.o, test.color)
			for i := range lines {
				if err := p.print(&lines[i]); err != nil {
					t.Fatal(err)
				}
			}
			w.Flush()
			if diff := cmp.Diff(buf.String(), test.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

// growing is an engine whose log has a line of each unit that is asked for, and no end.
type growing struct {
	fakeMachine
	dir string
}

func (g *growing) Dirs() engine.Dirs { return engine.Dirs{Units: g.dir} }

func (g *growing) Logs(ctx context.Context, q engine.LogQuery) iter.Seq2[engine.LogEntry, error] {
	return func(yield func(engine.LogEntry, error) bool) {
		for _, unit := range q.Units {
			if q.Follow && !yield(engine.LogEntry{Time: time.Now(), Unit: unit, Text: []byte("hello")}, nil) {
				return
			}
		}
		if q.Follow {
			<-ctx.Done()
		}
	}
}

// TestFollowNew: an app that is installed during gm logs -f is among what is followed.
func TestFollowNew(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e := &growing{dir: t.TempDir()}
	file := filepath.Join(e.dir, "out.log")
	old := []engine.LogSource{{App: "old", Unit: "old.service"}}
	look := func(context.Context) ([]engine.LogSource, error) {
		if _, err := os.Stat(filepath.Join(e.dir, "new.service")); err != nil {
			return old, nil
		}
		return append(old, engine.LogSource{App: "new", Unit: "new.service"}, engine.LogSource{App: "filed", Unit: "filed.service", File: file}), nil
	}
	mustWrite(t, file, "written\n")
	var got []string
	for line, err := range follow(ctx, e, old, engine.LogOptions{Follow: true}, look) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, line.App+": "+string(line.Text)); len(got) == 1 {
			mustWrite(t, filepath.Join(e.dir, "new.service"), "")
		}
		if len(got) == 3 {
			cancel() // the end, which drops nothing and waits for nobody
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(got, []string{"filed: written", "new: hello", "old: hello"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestAboutSources(t *testing.T) {
	sources := []engine.LogSource{
		{App: "j", Unit: "j@0.service"}, {App: "j", Unit: "j@1.service"}, {App: "half", Stream: engine.Stderr},
		{App: "one", File: "/l/x"}, {App: "two", File: "/l/y", Stream: engine.Stdout, Format: "HH:mm"}, {App: "two", Manager: true},
		{App: "rec", File: "/l/z", JSON: true},
	}
	for _, test := range []struct {
		name string
		q    engine.LogOptions
		want []string
	}{
		{"nothing", engine.LogOptions{}, nil},
		{"errors", engine.LogOptions{Stream: engine.Stderr}, []string{"shown of j", "shown of one"}},
		{"since", engine.LogOptions{Since: time.Unix(1, 0)}, []string{"last changed: of one"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := aboutSources(sources, &test.q)
			if len(got) != len(test.want) {
				t.Fatalf("got %v", got)
			}
			for i, want := range test.want {
				if !strings.HasSuffix(got[i].Cause, want) {
					t.Errorf("got %q, want …%q", got[i].Cause, want)
				}
			}
		})
	}
}
