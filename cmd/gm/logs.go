package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"gm/diag"
	"gm/engine"
)

type logsOptions struct {
	engineOptions
	lines     string
	follow    bool
	nostream  bool
	since     string
	until     string
	err, out  bool
	json, raw bool
	noManager bool
	timestamp string
}

// defaultLines is how many lines of each app are printed, as by PM2.
const defaultLines = 15

// defaultTimestamp is the format of --timestamp without one, which is PM2's.
const defaultTimestamp = "YYYY-MM-DDTHH:mm:ss"

func newLogsCmd(c *caller) *cobra.Command {
	o := &logsOptions{}
	cmd := &cobra.Command{
		Use:   "logs [NAME…]",
		Short: "Print what apps wrote, and follow it",
		Long: `Logs prints the last lines of apps, of all or of those that are named, as one
sequence by time: from the journal, or from the files that out_file, error_file
and log_file declare, or that gm's own supervisor keeps. It then ends, or with -f goes on until Ctrl-C, with what is
installed meanwhile as well.` + selectorHelp + `

Where an app has a log_date_format, its lines begin with the time in that
format. The engine's own lines about the units, such as that a process ended and
why, are among them as "systemd: …", or "gm: …" of gm's own supervisor.

--since and --until take "10 min ago", "1h", "yesterday", "2026-11-23 10:00", or
a time as in RFC 3339; all lines of that time are then printed, unless -n is
given. A line of a file without times counts as written when the file was last
changed.`,
		Example: "  gm logs\n  gm logs web-api -f\n  gm logs worker -n 100 --err\n  gm logs --since '10 min ago' --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.logs(cmd, o, args)
		},
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.lines, "lines", "n", strconv.Itoa(defaultLines), "the last `number` of lines of each app, or all")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what is written from now on")
	f.BoolVar(&o.nostream, "nostream", false, "do not follow: the default, for who is used to PM2")
	f.StringVar(&o.since, "since", "", "from this `time` on")
	f.StringVar(&o.until, "until", "", "up to this `time`")
	f.BoolVar(&o.err, "err", false, "only standard error, where it is kept apart")
	f.BoolVar(&o.out, "out", false, "only standard output, where it is kept apart")
	f.BoolVar(&o.json, "json", false, "print a JSON object a line")
	f.BoolVar(&o.raw, "raw", false, "print what apps wrote and nothing else")
	f.StringVar(&o.timestamp, "timestamp", "", "put the time first, in a `format` as in log_date_format")
	f.Lookup("timestamp").NoOptDefVal = defaultTimestamp
	f.BoolVar(&o.noManager, "no-manager", false, "leave the engine's own lines out")
	c.completeApps(cmd, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

// query turns flags into what the engine is asked for.
func (o *logsOptions) query(now time.Time, linesGiven bool) (engine.LogOptions, error) {
	q := engine.LogOptions{Follow: o.follow, NoManager: o.noManager || o.raw}
	switch {
	case o.follow && o.nostream:
		return q, usage("choose one", "--follow and --nostream exclude each other")
	case o.err && o.out:
		return q, usage("leave both out for both", "--err and --out exclude each other")
	case o.json && o.raw:
		return q, usage("choose one", "--json and --raw exclude each other")
	case o.json && o.timestamp != "":
		return q, usage("leave --timestamp out", "--json has the time of each line anyway")
	case o.raw && o.timestamp != "":
		return q, usage("choose one", "--raw and --timestamp exclude each other")
	case o.follow && o.until != "":
		return q, usage("choose one", "--follow and --until exclude each other")
	case o.err:
		q.Stream = engine.Stderr
	case o.out:
		q.Stream = engine.Stdout
	}
	n, err := strconv.Atoi(o.lines)
	switch {
	case o.lines == "all", !linesGiven && (o.since != "" || o.until != ""):
		q.Lines = -1
	case err != nil || n < 0:
		return q, usage("write a number, or all", "--lines %s: a number of lines expected", o.lines)
	default:
		q.Lines = n
	}
	for _, t := range []struct {
		flag, text string
		into       *time.Time
	}{{"since", o.since, &q.Since}, {"until", o.until, &q.Until}} {
		if t.text == "" {
			continue
		}
		if *t.into, err = parseWhen(t.text, now); err != nil {
			return q, usage(`write "10 min ago", "1h", "yesterday", "2026-11-23 10:00" or "2026-11-23T10:00:00Z"`, "--%s: %v", t.flag, err)
		}
	}
	return q, nil
}

func (c *caller) logs(cmd *cobra.Command, o *logsOptions, selectors []string) error {
	for _, name := range []string{"since", "until"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return usage("leave it out, or say which", "--%s is empty", name)
		}
	}
	q, err := o.query(time.Now(), cmd.Flags().Changed("lines"))
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if o.follow {
		// The end of a follow is no failure. Who reads gm's output may be asleep.
		var stop context.CancelFunc
		ctx, stop = untilSignal()
		defer stop()
		defer context.AfterFunc(ctx, func() {
			time.Sleep(leaveAfter)
			os.Exit(statusDone)
		})()
	}
	conn, err := c.connect(ctx, &o.engineOptions, lockOptions{})
	if err != nil {
		return err
	}
	defer conn.Close()
	e := conn.Engine()
	if len(selectors) == 0 {
		selectors = []string{"all"}
	}
	look := func(ctx context.Context) ([]engine.LogSource, error) {
		have, err := conn.Observe(ctx, "", engine.Brief)
		if err != nil {
			return nil, engineFailure(err)
		}
		selected, err := engine.Select(have.Apps(), selectors)
		if err != nil {
			return nil, c.selectFailure(err, e.Dirs().User)
		}
		return engine.Sources(have, e.Dirs(), selected), nil
	}
	sources, err := look(ctx)
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		fmt.Fprintln(c.err, c.noApps(e.Dirs().User))
	}
	c.print(aboutSources(sources, &q))
	unread := false
	// journalctl leaves out what its caller may not read, mostly without a word.
	inJournal := slices.ContainsFunc(sources, func(s engine.LogSource) bool { return s.File == "" && !s.Manager })
	if err := journalReadable(e.Dirs().User); inJournal && err != nil && err != errNoJournal {
		unread = true
		c.print(diag.List{{Severity: diag.Warning, Code: "cannot-read", Cause: "cannot read the journal: " + err.Error(),
			Remedy: "run it as root (sudo gm logs), or join the group systemd-journal"}})
	}
	return c.printLogs(ctx, e, sources, q, o, look, unread)
}

// leaveAfter is how long gm logs -f may take to end after Ctrl-C.
const leaveAfter = 300 * time.Millisecond

// aboutSources says what of a query the sources cannot answer.
func aboutSources(sources []engine.LogSource, q *engine.LogOptions) diag.List {
	var list diag.List
	note := func(cause, remedy string, apps []string) {
		if apps = slices.Compact(apps); len(apps) > 0 {
			list = append(list, diag.Diagnostic{Severity: diag.Note, Code: "log-approximate", Cause: cause + strings.Join(apps, ", "), Remedy: remedy})
		}
	}
	var inJournal, inFile, undated []string
	for _, s := range sources {
		switch {
		case s.File == "" && !s.Manager && s.Stream == engine.Either:
			inJournal = append(inJournal, s.App)
		case s.File != "" && s.Stream == engine.Either && !s.JSON:
			inFile = append(inFile, s.App)
		}
		if s.File != "" && s.Format == "" && !s.JSON {
			undated = append(undated, s.App)
		}
	}
	if q.Stream != engine.Either {
		note("the journal keeps both outputs as one; not only one of them is shown of ", "declare error_file to keep them apart", inJournal)
		note("both outputs are in one file; not only one of them is shown of ", "declare error_file to keep them apart", inFile)
	}
	if !q.Since.IsZero() || !q.Until.IsZero() {
		note("lines of files without times count as written when the file was last changed: of ", "declare log_date_format, or time", undated)
	}
	return list
}

// printLogs prints lines until there are no more. Unread says that something could
// not be read already.
func (c *caller) printLogs(ctx context.Context, e engine.Engine, sources []engine.LogSource, q engine.LogOptions, o *logsOptions,
	look func(context.Context) ([]engine.LogSource, error), unread bool,
) error {
	out := bufio.NewWriterSize(c.out, 64<<10)
	p := newLogPrinter(out, sources, o, c.style(c.out).Color)
	if e.Name() == engineNative {
		p.manager = "gm: "
	}
	q.Idle = func() { out.Flush() }
	lines := engine.Logs(ctx, e, sources, q)
	if q.Follow {
		lines = follow(ctx, e, sources, q, look)
	}
	for line, err := range lines {
		var file *engine.LogFileError
		switch {
		case errors.As(err, &file):
			unread = true
			remedy := ""
			if errors.Is(file.Err, fs.ErrPermission) {
				remedy = "run it as root: sudo gm logs"
			}
			out.Flush()
			c.print(diag.List{{Severity: diag.Warning, Code: "cannot-read", Cause: file.Error(), Remedy: remedy}})
			continue
		case err != nil:
			out.Flush()
			if ctx.Err() != nil {
				return nil
			}
			return logsFailure(err)
		}
		if err := p.print(&line); err != nil {
			return c.outError(err)
		}
	}
	if err := out.Flush(); err != nil {
		return c.outError(err)
	}
	if unread && !q.Follow {
		return exit(statusFailed)
	}
	return nil
}

// logsFailure is engineFailure for the journal, where an error says itself what a
// person lacks.
func logsFailure(err error) error {
	if errors.Is(err, engine.ErrDenied) {
		return &failure{statusUnreachable, "denied", err.Error(), "run it as root (sudo gm logs), or join the group systemd-journal"}
	}
	return engineFailure(err)
}

// logPrinter writes lines as a person, or a program, wants them.
type logPrinter struct {
	out   *bufio.Writer
	o     *logsOptions
	color bool
	// manager is before the engine's own lines.
	manager string
	width   int            // of the prefixes
	tones   map[string]int // by app
	json    *json.Encoder
}

// The colours of prefixes, one app after the other; red is for errors.
var logTones = []string{"\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[96m", "\x1b[93m", "\x1b[92m", "\x1b[95m", "\x1b[94m"}

const (
	toneError = "\x1b[31m"
	toneDim   = "\x1b[2m"
	toneReset = "\x1b[0m"
	// widestPrefix is how far shorter prefixes are filled up.
	widestPrefix = 24
)

func newLogPrinter(out *bufio.Writer, sources []engine.LogSource, o *logsOptions, color bool) *logPrinter {
	p := &logPrinter{out: out, o: o, color: color, manager: "systemd: ", tones: map[string]int{}, json: json.NewEncoder(out)}
	p.json.SetEscapeHTML(false)
	for _, s := range sources {
		p.meet(&engine.LogLine{App: s.App, LogEntry: engine.LogEntry{Unit: s.Unit}})
	}
	return p
}

// meet makes room for the name of who wrote a line, and gives the app a colour.
func (p *logPrinter) meet(l *engine.LogLine) {
	p.width = max(p.width, min(widestPrefix, utf8.RuneCountInString(logName(l))))
	if _, known := p.tones[l.App]; !known {
		p.tones[l.App] = len(p.tones) % len(logTones)
	}
}

// logName is the app, or the instance, that wrote a line.
func logName(l *engine.LogLine) string {
	if instance := l.Instance(); instance != "" {
		return l.App + "@" + instance
	}
	return l.App
}

func (p *logPrinter) print(l *engine.LogLine) error {
	switch {
	case p.o.json:
		return p.json.Encode(jsonLine(l))
	case p.o.raw:
		text := l.Text
		if l.Raw != nil {
			text = l.Raw
		}
		p.out.Write(text)
		return p.out.WriteByte('\n')
	}
	// A message of PM2's records, or of the journal, may hold several lines.
	var err error
	for text := range bytes.SplitSeq(l.Text, []byte{'\n'}) {
		err = p.text(l, text)
	}
	return err
}

// text prints one line. Errors of the writer stay until the last call.
func (p *logPrinter) text(l *engine.LogLine, text []byte) error {
	paint := func(tone, s string) {
		if !p.color || tone == "" {
			p.out.WriteString(s)
			return
		}
		p.out.WriteString(tone + s + toneReset)
	}
	if p.o.timestamp != "" {
		stamp := engine.FormatTime(l.Time.Local(), p.o.timestamp)
		if !l.Dated {
			stamp = strings.Repeat(" ", utf8.RuneCountInString(stamp))
		}
		paint(toneDim, stamp+" ")
	}
	p.meet(l) // with -f it may be new
	name, tone := logName(l), logTones[p.tones[l.App]]
	if l.Manager {
		tone = toneDim
	}
	paint(tone, name+strings.Repeat(" ", max(0, p.width-utf8.RuneCountInString(name))))
	bar := ""
	switch {
	case l.Manager:
		bar = toneDim
	case l.Stream == engine.Stderr:
		bar = toneError
	}
	paint(bar, " | ")
	switch {
	case l.Manager:
		paint(toneDim, p.manager+string(text))
		return p.out.WriteByte('\n')
	case l.Stamp != "" && p.o.timestamp == "":
		paint(toneDim, l.Stamp+": ")
	}
	own := bytes.IndexByte(text, '\x1b') >= 0
	switch {
	case p.color && own:
		// What an app begins to colour must not reach the next prefix.
		p.out.Write(text)
		p.out.WriteString(toneReset)
	case l.Stream == engine.Stderr:
		paint(toneError, string(text))
	default:
		p.out.Write(text)
	}
	return p.out.WriteByte('\n')
}

// logJSON is a line of gm logs --json.
type logJSON struct {
	Time     string `json:"time,omitempty"` // left out where it is not known
	App      string `json:"app"`
	Instance string `json:"instance,omitempty"`
	Unit     string `json:"unit"`
	Stream   string `json:"stream,omitempty"` // out, err, manager; left out where it is not known
	PID      int    `json:"pid,omitempty"`
	Message  string `json:"message"`
	// Bytes is the message where it is not UTF-8, in base64.
	Bytes []byte `json:"bytes,omitempty"`
	File  string `json:"file,omitempty"`
}

func jsonLine(l *engine.LogLine) logJSON {
	j := logJSON{App: l.App, Instance: l.Instance(), Unit: l.Unit, Stream: string(l.Stream), PID: l.PID,
		Message: string(l.Text), File: l.File}
	if l.Manager {
		j.Stream = "manager"
	}
	if l.Dated {
		j.Time = l.Time.Format(time.RFC3339Nano)
	}
	if !utf8.Valid(l.Text) {
		j.Bytes = l.Text
		j.Message = strings.ToValidUTF8(j.Message, "\ufffd")
	}
	if j.File != "" {
		j.File = filepath.Clean(j.File)
	}
	return j
}
