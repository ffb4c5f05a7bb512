package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/diag"
	"gm/units"
)

// journal is an engine that only has a log.
type journal struct {
	Engine
	entries []LogEntry
	// late is what comes while the log is followed.
	late  chan LogEntry
	asked []LogQuery
}

func (j *journal) Logs(ctx context.Context, q LogQuery) iter.Seq2[LogEntry, error] {
	j.asked = append(j.asked, q)
	return func(yield func(LogEntry, error) bool) {
		var found []LogEntry
		count := map[string]int{}
		for _, e := range slices.Backward(j.entries) {
			if slices.Contains(q.Units, e.Unit) && !e.Time.Before(q.Since) && (q.Until.IsZero() || !e.Time.After(q.Until)) {
				if count[e.Unit]++; q.Lines == 0 || count[e.Unit] <= q.Lines {
					found = append(found, e)
				}
			}
		}
		for _, e := range slices.Backward(found) {
			if !yield(e, nil) {
				return
			}
		}
		for q.Follow {
			select {
			case e := <-j.late:
				if !yield(e, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func at(second int) time.Time { return time.Date(2026, 11, 23, 10, 0, second, 0, time.Local) }

func entry(second int, unit, text string) LogEntry {
	return LogEntry{Time: at(second), Unit: unit, Text: []byte(text)}
}

func manager(second int, unit, text string) LogEntry {
	e := entry(second, unit, text)
	e.Manager = true
	return e
}

// read returns the texts of lines, "!" before an error.
func read(t *testing.T, j *journal, sources []LogSource, o LogOptions) []string {
	t.Helper()
	var got []string
	for l, err := range Logs(t.Context(), j, sources, o) {
		if err != nil {
			got = append(got, "!"+err.Error())
			continue
		}
		got = append(got, string(l.Text))
	}
	return got
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func appendFile(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestLogsMerge(t *testing.T) {
	dir := t.TempDir()
	stamped, plain := filepath.Join(dir, "stamped.log"), filepath.Join(dir, "plain.log")
	records := filepath.Join(dir, "records.log")
	writeFile(t, stamped, "before\n2026-11-23 10:00:02: s2\n  more\n2026-11-23 10:00:04: s4\n2026-11-23 10:00:01: s1 late\n")
	writeFile(t, plain, "p\np without end")
	writeFile(t, records, `{"message":"r0\n","timestamp":"`+at(0).UTC().Format("2006-01-02T15:04:05.000Z")+`","type":"out","process_id":0,"app_name":"r"}
{"message":"r5\n","timestamp":"`+at(5).UTC().Format("2006-01-02T15:04:05.000Z")+`","type":"err","process_id":0,"app_name":"r"}
no record
`)
	for path, second := range map[string]int{stamped: 9, plain: 3, records: 9} {
		if err := os.Chtimes(path, at(second), at(second)); err != nil {
			t.Fatal(err)
		}
	}
	j := &journal{entries: []LogEntry{
		entry(1, "web@0.service", "j1"), entry(2, "web@1.service", "j2"), manager(2, "web@1.service", "Started"),
		entry(2, "other.service", "no"), entry(3, "web@0.service", "j3"), entry(6, "web@1.service", "j6"), entry(6, "file.service", "from a helper"),
	}}
	web := []LogSource{{App: "web", Unit: "web@0.service"}, {App: "web", Unit: "web@1.service"}}
	st := LogSource{App: "st", Unit: "st.service", File: stamped, Stream: Stdout, Format: "YYYY-MM-DD HH:mm:ss"}
	pl := LogSource{App: "pl", Unit: "pl.service", File: plain, Stream: Stderr}
	re := LogSource{App: "re", Unit: "re.service", File: records, JSON: true}
	all := append(slices.Clone(web), st, pl, re)
	for _, test := range []struct {
		name    string
		sources []LogSource
		o       LogOptions
		want    []string
	}{
		{"everything", all, LogOptions{Lines: -1}, []string{
			"r0", "j1", "j2", "Started", "before", "s2", "  more", "j3", "p", "p without end", "s4", "s1 late", "r5", "no record", "j6"}},
		{"the last of each app", all, LogOptions{Lines: 2}, []string{"j3", "p", "p without end", "s4", "s1 late", "r5", "no record", "j6"}},
		{"none", all, LogOptions{}, nil},
		{"since", all, LogOptions{Lines: -1, Since: at(3)}, []string{"j3", "p", "p without end", "s4", "s1 late", "r5", "no record", "j6"}},
		{"until", all, LogOptions{Lines: -1, Until: at(2)}, []string{"r0", "j1", "j2", "Started", "before", "s2", "  more"}},
		{"the last until", all, LogOptions{Lines: 1, Until: at(2)}, []string{"r0", "Started", "  more"}},
		{"errors", all, LogOptions{Lines: -1, Stream: Stderr}, []string{"j1", "j2", "j3", "p", "p without end", "r5", "no record", "j6"}},
		{"the last error of records", []LogSource{re}, LogOptions{Lines: 1, Stream: Stdout}, []string{"no record"}},
		{"without the engine", web, LogOptions{Lines: 3, NoManager: true}, []string{"j2", "j3", "j6"}},
		{"the engine alone", []LogSource{{App: "web", Unit: "web@1.service", Manager: true}}, LogOptions{Lines: 5}, []string{"Started"}},
		{"what came later", []LogSource{{App: "pl", File: plain, From: 2}}, LogOptions{Lines: 5}, []string{"p without end"}},
		{"what came after it was emptied", []LogSource{{App: "pl", File: plain, From: 200}}, LogOptions{Lines: 5}, []string{"p", "p without end"}},
		{"a missing file", []LogSource{{App: "m", File: filepath.Join(dir, "missing/x.log")}}, LogOptions{Lines: 5}, nil},
		{"a directory", []LogSource{{App: "m", File: dir}, pl}, LogOptions{Lines: 1}, []string{"!cannot read " + dir + ": it is no regular file", "p without end"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(read(t, j, test.sources, test.o), test.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

// TestLogsManagerLines asks for more when the engine's own lines use up the number.
func TestLogsManagerLines(t *testing.T) {
	j := &journal{}
	for i := range 10 {
		j.entries = append(j.entries, entry(i, "a.service", fmt.Sprint(i)))
	}
	for range 100 {
		j.entries = append(j.entries, manager(20, "a.service", "restarted"))
	}
	got := read(t, j, []LogSource{{App: "a", Unit: "a.service"}}, LogOptions{Lines: 2, NoManager: true})
	if diff := cmp.Diff(got, []string{"8", "9"}); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

func TestLogLineFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	writeFile(t, path, "2026-11-23 10:00:02: a: b\r\n\xff\xfe\n")
	if err := os.Chtimes(path, at(9), at(9)); err != nil {
		t.Fatal(err)
	}
	j := &journal{entries: []LogEntry{entry(7, "w@1.service", "j")}}
	sources := []LogSource{
		{App: "x", Unit: "x.service", File: path, Stream: Stdout, Format: "YYYY-MM-DD HH:mm:ss"},
		{App: "w", Unit: "w@1.service", Stream: Stderr, Format: "HH:mm:ss"},
	}
	var got []LogLine
	for l, err := range Logs(t.Context(), j, sources, LogOptions{Lines: -1}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l)
	}
	want := []LogLine{
		{App: "x", Dated: true, Stamp: "2026-11-23 10:00:02", Raw: []byte("2026-11-23 10:00:02: a: b\r"),
			LogEntry: LogEntry{Time: at(2), Unit: "x.service", Stream: Stdout, File: path, Text: []byte("a: b\r")}},
		{App: "x", LogEntry: LogEntry{Time: at(2), Unit: "x.service", Stream: Stdout, File: path, Text: []byte("\xff\xfe")}},
		{App: "w", Dated: true, Stamp: "10:00:07", LogEntry: LogEntry{Time: at(7), Unit: "w@1.service", Stream: Stderr, Text: []byte("j")}},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	if got[2].Instance() != "1" || got[0].Instance() != "" {
		t.Errorf("the instances are %q and %q", got[2].Instance(), got[0].Instance())
	}
}

// TestLastLines compares with the lines of the whole text.
func TestLastLines(t *testing.T) {
	long := strings.Repeat("x", 3*logBlock)
	for _, text := range []string{"", "\n", "a", "a\n", "a\nb", "\n\na\n\n", strings.Repeat("ab\n", logBlock), long, long + "\n" + long + "\nend"} {
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, line)
		}
		for _, n := range []int{1, 2, 3, 1000, 1 << 20} {
			start, err := lastLines(strings.NewReader(text), int64(len(text)), n)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Join(lines[max(0, len(lines)-n):], "")
			if got := text[start:]; got != want {
				t.Errorf("%d last lines of %.20q…: %d bytes, want %d", n, text, len(got), len(want))
			}
		}
	}
}

// TestLogsOfHugeFile reads the end of a file without reading the rest.
func TestLogsOfHugeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 10 << 30 // of holes
	if _, err := f.WriteAt([]byte("\nlast but one\nlast\n"), size); err != nil {
		t.Skip("no sparse files here")
	}
	got := read(t, &journal{}, []LogSource{{App: "a", File: path}}, LogOptions{Lines: 2})
	if diff := cmp.Diff(got, []string{"last but one", "last"}); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	count := 0
	for _, err := range Logs(t.Context(), &journal{}, []LogSource{{App: "a", File: path}}, LogOptions{Lines: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count != 3 {
		t.Errorf("%d lines, want 3: a piece of the endless line, and two", count)
	}
}

func TestFirstSince(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	var text bytes.Buffer
	for i := range 200_000 {
		fmt.Fprintf(&text, "%s: line %d\n", FormatTime(at(0).Add(time.Duration(i)*time.Second), "YYYY-MM-DD HH:mm:ss"), i)
	}
	writeFile(t, path, text.String())
	if end := at(200_000); os.Chtimes(path, end, end) != nil {
		t.Fatal("no times of files")
	}
	source := LogSource{App: "a", File: path, Format: "YYYY-MM-DD HH:mm:ss"}
	for _, i := range []int{0, 1, 150_000, 199_999} {
		got := read(t, &journal{}, []LogSource{source}, LogOptions{Lines: -1, Since: at(i)})
		if len(got) != 200_000-i || got[0] != fmt.Sprintf("line %d", i) {
			t.Errorf("since line %d: %d lines", i, len(got))
		}
	}
	o := LogOptions{Since: at(199_999)}
	f := &logFile{source: source, o: &o}
	f.open()
	defer f.close()
	if from, err := f.firstSince(); err != nil || from < int64(text.Len())/2 {
		t.Errorf("the search begins at %d of %d: %v", from, text.Len(), err)
	}
}

// following reads lines until a test has seen enough.
type following struct {
	t     *testing.T
	lines chan string
	idle  chan struct{}
	end   func()
}

func follow(t *testing.T, j *journal, sources []LogSource, lines int) *following {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	f := &following{t: t, lines: make(chan string, 1_000_000), idle: make(chan struct{}, 1)}
	ended := make(chan struct{})
	f.end = func() { cancel(); <-ended }
	t.Cleanup(f.end)
	idle := func() {
		select {
		case f.idle <- struct{}{}:
		default:
		}
	}
	go func() {
		defer close(ended)
		defer close(f.lines)
		for l, err := range Logs(ctx, j, sources, LogOptions{Lines: lines, Follow: true, Idle: idle}) {
			if err != nil {
				f.lines <- "!" + err.Error()
				continue
			}
			f.lines <- string(l.Text)
		}
	}()
	<-f.idle
	return f
}

// expect waits for these lines and no others.
func (f *following) expect(want ...string) {
	f.t.Helper()
	for _, w := range want {
		if got, ok := <-f.lines; !ok || got != w {
			f.t.Fatalf("got %.50q, want %.50q", got, w)
		}
	}
}

func (f *following) expectEnd(want ...string) {
	f.t.Helper()
	f.end()
	var got []string
	for line := range f.lines {
		got = append(got, line)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		f.t.Errorf("at the end -got +want:\n%s", diff)
	}
}

func TestFollowFile(t *testing.T) {
	rename := func(t *testing.T, from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		run  func(t *testing.T, path string, start func(lines int) *following)
	}{
		{"grows", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path, "1\n2\n3\n")
			f := start(2)
			f.expect("2", "3")
			appendFile(t, path, "4\n5")
			f.expect("4")
			appendFile(t, path, "5\n6\r\n\xff\x00\n\n7\n")
			f.expect("55", "6\r", "\xff\x00", "", "7")
			f.expectEnd()
		}},
		{"unfinished line at the start and the end", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path, "1\n2")
			f := start(5)
			f.expect("1")
			appendFile(t, path, "2\n3\n4")
			f.expect("22", "3")
			f.expectEnd("4")
		}},
		{"comes later", func(t *testing.T, path string, start func(int) *following) {
			f := start(5)
			appendFile(t, path, "1\n2\n")
			f.expect("1", "2")
			f.expectEnd()
		}},
		{"is emptied", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path, "1\n2\n")
			f := start(1)
			f.expect("2")
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			appendFile(t, path, "a\n")
			f.expect("a")
			f.expectEnd()
		}},
		{"is emptied and longer at once", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path, "1\n2\n")
			f := start(1)
			f.expect("2")
			writeFile(t, path, "a\nb\nc\nd\n")
			// The file may be looked at while it is empty, or afterwards.
			f.expect("a", "b", "c", "d")
			f.expectEnd()
		}},
		{"is renamed and made anew", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path, "1\n")
			old, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer old.Close()
			f := start(1)
			f.expect("1")
			appendFile(t, path, "2\n")
			rename(t, path, path+".1")
			old.WriteString("3\n")
			f.expect("2", "3")
			appendFile(t, path, "new\n")
			f.expect("new")
			old.WriteString("still\n") // systemd's descriptor lives as long as the process
			f.expect("still")
			if err := os.Remove(path + ".1"); err != nil {
				t.Fatal(err)
			}
			old.WriteString("without a name\n")
			f.expect("without a name")
			f.expectEnd()
		}},
		{"is renamed and back", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path, "1\n")
			f := start(1)
			f.expect("1")
			rename(t, path, path+".1")
			appendFile(t, path+".1", "2\n")
			f.expect("2")
			rename(t, path+".1", path)
			appendFile(t, path, "3\n")
			f.expect("3")
			f.expectEnd()
		}},
		{"in a directory that comes later", func(t *testing.T, path string, start func(int) *following) {
			dir := filepath.Join(path, "logs")
			f := start(1)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			appendFile(t, filepath.Join(dir, "x.log"), "1\n")
			f.expect("1")
			f.expectEnd()
		}},
		{"long lines", func(t *testing.T, path string, start func(int) *following) {
			long := strings.Repeat("x", 3*logBlock+5)
			writeFile(t, path, long+"\n")
			f := start(1)
			f.expect(long)
			appendFile(t, path, long)
			appendFile(t, path, long+"\nend\n")
			f.expect(long+long, "end")
			f.expectEnd()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x")
			source := LogSource{App: "a", File: path}
			if strings.HasPrefix(test.name, "in a directory") {
				source.File = filepath.Join(path, "logs", "x.log")
			}
			test.run(t, path, func(lines int) *following { return follow(t, &journal{}, []LogSource{source}, lines) })
		})
	}
}

// TestFollowManyLines has a writer rotate its file again and again.
func TestFollowManyLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	f := follow(t, &journal{}, []LogSource{{App: "a", File: path}}, 0)
	const rounds, lines = 20, 2000
	half := make(chan struct{}, rounds) // of a round's lines were seen
	go func() {
		for round := range rounds {
			var text strings.Builder
			for i := range lines {
				fmt.Fprintf(&text, "%d\n", round*lines+i)
			}
			file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
			if err != nil {
				t.Error(err)
				return
			}
			for part := range slices.Chunk([]byte(text.String()), 1000) {
				file.Write(part)
			}
			file.Close()
			// A file that comes and goes between two looks cannot be seen.
			<-half
			os.Rename(path, fmt.Sprintf("%s.%d", path, round))
		}
	}()
	want := make([]string, rounds*lines)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	var got []string
	for len(got) < len(want) {
		line, ok := <-f.lines
		if !ok {
			break
		}
		if got = append(got, line); len(got)%lines == lines/2 {
			half <- struct{}{}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d lines of %d", len(got), len(want))
	}
	f.expectEnd()
}

// TestFollowJournal neither loses nor doubles what comes between the two readings.
func TestFollowJournal(t *testing.T) {
	j := &journal{late: make(chan LogEntry), entries: []LogEntry{
		entry(1, "a.service", "1"), entry(2, "a.service", "2"), entry(2, "a.service", "2"), entry(2, "a.service", "2b"),
	}}
	f := follow(t, j, []LogSource{{App: "a", Unit: "a.service"}}, 3)
	f.expect("2", "2", "2b")
	j.late <- entry(2, "a.service", "2c")
	j.late <- entry(3, "other.service", "no")
	j.late <- entry(3, "a.service", "3")
	f.expect("2c", "3")
	f.expectEnd()
	if got := j.asked[1].Since; !got.Equal(at(2)) {
		t.Errorf("followed since %s", got)
	}
}

func TestSources(t *testing.T) {
	service := func(name, text string) units.Unit {
		u, list := units.Parse(name, diag.NewSource(name, []byte("[Service]\n"+text)))
		if list.HasErrors() {
			t.Fatal(list)
		}
		return u
	}
	own := Dirs{Run: "/run/gm", Logs: "/h/logs"} // an engine without a journal
	dropIn := filepath.Join(t.TempDir(), "x.conf")
	writeFile(t, dropIn, "[Service]\nStandardError=journal\n")
	d := Dirs{Run: "/run/gm"}
	have := &State{
		DropIns: map[string][]string{"dropped.service": {dropIn}},
		Files: []File{
			{Name: "joint-log.service", Text: []byte(`[Service]
ExecStart=/bin/gm log --app joint --date-format "HH:mm:ss 100%%" --json --streams "[{\"instance\":0,\"stream\":\"out\",\"files\":[\"/l/out\",\"/l/all\"]},{\"instance\":0,\"stream\":\"err\",\"files\":[\"/l/all\"]}]"
`)},
		},
	}
	for _, test := range []struct {
		name, service, text string
		instances           []string
		want                []LogSource
	}{
		{"journal", "a.service", "StandardOutput=journal\nStandardError=journal\n[X-Gm]\nLogDateFormat=HH:mm %%\n", nil,
			[]LogSource{{App: "a", Unit: "a.service", Format: "HH:mm %"}}},
		{"defaults", "a.service", "", nil, []LogSource{{App: "a", Unit: "a.service"}}},
		{"two files", "a.service", "StandardOutput=append:/l/100%% %N.log\nStandardError=append:/l/err\n", nil, []LogSource{
			{App: "a", Unit: "a.service", Stream: Stdout, File: "/l/100% a.log"},
			{App: "a", Unit: "a.service", Stream: Stderr, File: "/l/err"},
			{App: "a", Unit: "a.service", Manager: true}}},
		{"one file", "a.service", "StandardOutput=append:/l/x\nStandardError=inherit\n", nil, []LogSource{
			{App: "a", Unit: "a.service", File: "/l/x"}, {App: "a", Unit: "a.service", Manager: true}}},
		{"errors in the journal", "a.service", "StandardOutput=null\nStandardError=journal\n", nil,
			[]LogSource{{App: "a", Unit: "a.service", Stream: Stderr}}},
		{"nowhere", "a.service", "StandardOutput=null\nStandardError=null\n", nil,
			[]LogSource{{App: "a", Unit: "a.service", Manager: true}}},
		{"a drop-in", "dropped.service", "StandardOutput=null\nStandardError=null\n", nil,
			[]LogSource{{App: "dropped", Unit: "dropped.service", Stream: Stderr}}},
		{"instances", "a@.service", "StandardOutput=append:/l/x-%i\nStandardError=null\n", []string{"a@0.service", "a@1.service"}, []LogSource{
			{App: "a", Unit: "a@0.service", Stream: Stdout, File: "/l/x-0"}, {App: "a", Unit: "a@0.service", Manager: true},
			{App: "a", Unit: "a@1.service", Stream: Stdout, File: "/l/x-1"}, {App: "a", Unit: "a@1.service", Manager: true}}},
		{"merged instances", "a@.service", "StandardOutput=append:/l/x\nStandardError=journal\n", []string{"a@0.service", "a@1.service"}, []LogSource{
			{App: "a", Unit: "a@.service", Stream: Stdout, File: "/l/x"}, {App: "a", Unit: "a@0.service", Stream: Stderr},
			{App: "a", Unit: "a@1.service", Stream: Stderr}}},
		{"a log companion", "joint.service", "StandardOutput=file:%t/gm/p/joint-0.out\nStandardError=file:%t/gm/p/joint-0.err\n", nil, []LogSource{
			{App: "joint", Unit: "joint.service", Stream: Stdout, File: "/l/out", Format: "HH:mm:ss 100%", JSON: true},
			{App: "joint", Unit: "joint.service", Stream: Stderr, File: "/l/all", Format: "HH:mm:ss 100%", JSON: true},
			{App: "joint", Unit: "joint.service", Manager: true}}},
		{"own files", "a.service", "StandardOutput=journal\n[X-Gm]\nLogDateFormat=HH:mm\nLogMaxSize=10M\nLogKeep=5\n", nil, []LogSource{
			{App: "a", Unit: "a.service", Stream: Stdout, File: "/h/logs/a-out.log", Keep: 5},
			{App: "a", Unit: "a.service", Stream: Stderr, File: "/h/logs/a-error.log", Keep: 5},
			{App: "a", Unit: "a.service", Manager: true, Format: "HH:mm"}}},
		{"own files of instances", "a@.service", "StandardError=append:/l/err\n[X-Gm]\nLogMaxSize=10M\n", []string{"a@0.service", "a@1.service"}, []LogSource{
			{App: "a", Unit: "a@0.service", Stream: Stdout, File: "/h/logs/a-out-0.log", Keep: 1},
			{App: "a", Unit: "a@.service", Stream: Stderr, File: "/l/err", Keep: 1}, {App: "a", Unit: "a@0.service", Manager: true},
			{App: "a", Unit: "a@1.service", Stream: Stdout, File: "/h/logs/a-out-1.log", Keep: 1}, {App: "a", Unit: "a@1.service", Manager: true}}},
		{"systemd rotates nothing", "a.service", "StandardOutput=append:/l/x\n[X-Gm]\nLogMaxSize=10M\nLogKeep=5\n", nil, []LogSource{
			{App: "a", Unit: "a.service", File: "/l/x"}, {App: "a", Unit: "a.service", Manager: true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := d
			if strings.HasPrefix(test.name, "own files") {
				d = own
			}
			app := App{Name: strings.TrimSuffix(strings.TrimSuffix(test.service, ".service"), "@"), Unit: test.service,
				Service: service(test.service, test.text), Instances: test.instances}
			if app.Instances == nil {
				app.Instances = []string{test.service}
			}
			got := Sources(have, d, []Selection{{App: app, Units: app.Instances, Whole: true}})
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

// TestLogsError passes on what the engine says.
func TestLogsError(t *testing.T) {
	var got error
	for _, err := range Logs(t.Context(), brokenJournal{}, []LogSource{{App: "a", Unit: "a.service"}}, LogOptions{Lines: 5}) {
		got = err
	}
	if !errors.Is(got, ErrDenied) {
		t.Errorf("got %v", got)
	}
}

type brokenJournal struct{ Engine }

func (brokenJournal) Logs(context.Context, LogQuery) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) { yield(LogEntry{}, ErrDenied) }
}
