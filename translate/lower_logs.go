package translate

import (
	"bytes"
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"

	"gm/units"
)

// logs is where an app's output goes: what out_file, error_file, log_file,
// merge_logs, disable_logs, log_date_format, time and log_type say together.
type logs struct {
	out, err, joint logFile
	format          string // dayjs's tokens; "" for no stamps
	json            bool
	merged          bool
}

// logFile is one destination: nowhere declared (the journal), thrown away, or
// a path.
type logFile struct {
	null bool
	path string // absolute
	arg  *arg
}

func (f logFile) isFile() bool { return f.path != "" }

// readLogs resolves the keys; paths are below cwd, ~ is the home.
func (a *app) readLogs(host *Host) logs {
	file := func(key string) logFile {
		f := logFile{arg: a.get(key)}
		switch f.arg.text {
		case "", "/dev/stdout", "/dev/stderr": // PID 1's own would be meant
		case "NULL", "/dev/null":
			f.null = true
		default:
			f.path = host.resolve(a.cwd, f.arg.text)
		}
		return f
	}
	lg := logs{
		out: file("out_file"), err: file("error_file"), joint: file("log_file"),
		format: a.get("log_date_format").text,
		json:   a.get("log_type").text == "json",
		merged: a.get("merge_logs").flag || !a.template,
	}
	if a.get("time").flag {
		lg.format = "YYYY-MM-DDTHH:mm:ss" // over any format, as in PM2
	}
	if a.get("disable_logs").flag {
		lg.out = logFile{null: true, arg: a.get("disable_logs")}
		lg.err, lg.joint = lg.out, logFile{arg: lg.joint.arg}
	}
	if lg.joint.null {
		lg.joint = logFile{arg: lg.joint.arg}
	}
	return lg
}

func (lg *logs) stamped() bool { return lg.format != "" || lg.json }

// files returns the distinct log paths.
func (lg *logs) files() []string {
	var out []string
	for _, f := range []logFile{lg.out, lg.err, lg.joint} {
		if f.isFile() && !slices.Contains(out, f.path) {
			out = append(out, f.path)
		}
	}
	return out
}

// companion reports whether lines are to be stamped, or to go to two files at once.
func (lg *logs) companion() bool {
	separate := lg.out.isFile() || lg.err.isFile()
	return len(lg.files()) > 0 && (lg.stamped() || lg.joint.isFile() && separate)
}

// perInstance puts the instance's number before the extension: web.log,
// web-0.log.
func perInstance(file string, instance units.Spec) units.Spec {
	ext := path.Ext(file)
	return units.Escape(strings.TrimSuffix(file, ext)) + "-" + instance + units.Escape(ext)
}

// lowerLogs chooses among the journal, plain files, and files that a companion
// writes because lines must be stamped or go to two files at once.
func lowerLogs(l *lowering, _ *arg) {
	lg := l.app.readLogs(l.host)
	for _, f := range []logFile{lg.out, lg.err, lg.joint} {
		if f.isFile() {
			if !l.app.checkPath(f.arg, l.messages) {
				return
			}
			l.mkdir(path.Dir(f.path))
		}
	}
	switch {
	case lg.companion():
		l.lowerLogCompanion(&lg)
	case lg.joint.isFile():
		l.stream("StandardOutput", lg.joint, &lg)
		l.stream("StandardError", lg.joint, &lg)
	default:
		l.stream("StandardOutput", lg.out, &lg)
		l.stream("StandardError", lg.err, &lg)
	}
	if l.service.has("StandardOutput", "journal") || l.service.has("StandardError", "journal") {
		// journald drops what exceeds its rate; 0 does not lift the limit on 252.
		l.service.add("Service", "LogRateLimitIntervalSec", units.Span(1e9), lg.out.arg.at)
		l.service.add("Service", "LogRateLimitBurst", units.Count(1<<32-1), lg.out.arg.at)
		l.lowerLogReading(&lg)
	}
}

// lowerLogReading leaves in the unit how the journal's lines are to be shown.
func (l *lowering) lowerLogReading(lg *logs) {
	if lg.format != "" {
		if text, err := units.NewText(units.Escape(lg.format)); err == nil {
			l.service.add("X-Gm", "LogDateFormat", text, l.app.get("log_date_format").at)
		} else {
			l.add(badText, l.app.get("log_date_format").at, "write the format on one line", "log_date_format: %v", err)
		}
	}
	if lg.json {
		l.service.add("X-Gm", "LogType", units.Word("json"), l.app.get("log_type").at)
	}
}

// stream writes one StandardOutput= or StandardError=.
func (l *lowering) stream(key string, f logFile, lg *logs) {
	switch {
	case f.null:
		l.service.add("Service", key, units.Stream{Kind: "null"}, f.arg.at)
	case !f.isFile():
		l.service.add("Service", key, units.Stream{Kind: "journal"}, f.arg.at)
	default:
		spec := units.Escape(f.path)
		if !lg.merged {
			spec = perInstance(f.path, "%i")
		}
		s, err := units.NewStream("append", spec)
		if err != nil {
			l.add(badText, f.arg.at, "rename the file", "%s: %v", f.arg.name, err)
			return
		}
		l.service.add("Service", key, s, f.arg.at)
	}
}

// has reports whether a stream of the service goes there.
func (b *builder) has(key, kind string) bool {
	return slices.ContainsFunc(b.list, func(d units.Directive) bool {
		s, ok := d.Value.(units.Stream)
		return ok && d.Key == key && s.Kind == kind
	})
}

// logStream is one FIFO that the log companion reads: its place in the list is
// the number of the descriptor that systemd passes.
type logStream struct {
	Instance int      `json:"instance"`
	Stream   string   `json:"stream"`
	Files    []string `json:"files"`
}

// lowerLogCompanion has the app write into FIFOs that systemd holds open, so
// that nothing is lost while the companion restarts, and a companion stamp
// and distribute the lines.
func (l *lowering) lowerLogCompanion(lg *logs) {
	a, at := l.app, lg.out.arg.at
	for _, f := range []logFile{lg.joint, lg.err, lg.out} {
		if f.isFile() {
			at = f.arg.at
		}
	}
	socket := l.companion("-log.socket", "Log pipes of", at)
	socket.add("Unit", "PartOf", units.Words{l.p.target()}, at)
	socket.add("Socket", "SocketMode", units.Word("0600"), at)
	socket.add("Socket", "PipeSize", units.Bytes(1<<20), at)
	socket.add("Socket", "RemoveOnStop", units.Bool(true), at)
	// A writer that dies again and again must not fail the socket, which the
	// app requires.
	socket.add("Socket", "TriggerLimitIntervalSec", units.Span(0), at)

	fifo := func(instance units.Spec, stream string) units.Spec {
		return "%t/gm/" + units.Escape(units.EscapeName(l.p.name)) + "/" + units.Escape(a.unit) + "-" + instance + "." + units.Spec(stream)
	}
	var streams []logStream
	for _, s := range []struct {
		key, name string
		file      logFile
	}{{"StandardOutput", "out", lg.out}, {"StandardError", "err", lg.err}} {
		if !s.file.isFile() && !lg.joint.isFile() {
			l.stream(s.key, s.file, lg)
			continue
		}
		instance := units.Spec("0")
		if a.template {
			instance = "%i"
		}
		out, err := units.NewStream("file", fifo(instance, s.name))
		if err != nil {
			l.add(badText, at, "rename the project", "%s: %v", s.key, err)
			return
		}
		l.service.add("Service", s.key, out, at)
		for i := range a.count {
			number := units.Spec(strconv.Itoa(i))
			p, err := units.NewPath(fifo(number, s.name))
			if err != nil {
				l.add(badText, at, "rename the project", "%s: %v", s.key, err)
				return
			}
			socket.add("Socket", "ListenFIFO", p, at)
			one := logStream{Instance: i, Stream: s.name}
			for _, f := range []logFile{s.file, lg.joint} {
				if f.isFile() {
					name := f.path
					if !lg.merged {
						name = unescape(perInstance(f.path, number))
					}
					one.Files = append(one.Files, name)
				}
			}
			streams = append(streams, one)
		}
	}

	argv := l.gm("log", "--app", units.Escape(a.name))
	if lg.json {
		argv = append(argv, "--json")
	}
	if lg.format != "" {
		argv = append(argv, "--date-format", units.Escape(lg.format))
	}
	var table bytes.Buffer
	enc := json.NewEncoder(&table)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(streams); err != nil {
		panic(err) // ints and strings always encode
	}
	argv = append(argv, "--streams", units.Escape(strings.TrimSuffix(table.String(), "\n")))

	writer := l.companion("-log.service", "Log writer of", at)
	writer.add("Unit", "PartOf", units.Words{l.p.target()}, at)
	writer.add("Unit", "Requires", units.Words{socket.name}, at)
	writer.add("Service", "Type", units.Word("exec"), at)
	if c, ok := l.command("", at, "log_file", argv...); ok {
		writer.add("Service", "ExecStart", c, at)
	}
	writer.alwaysUp(at)
	writer.add("Service", "Slice", units.Word(l.p.slice(a.get("namespace").text)), at)

	l.service.add("Unit", "Requires", units.Words{socket.name}, at)
	l.service.add("Unit", "After", units.Words{socket.name}, at)
	// Stopped in the opposite order: the writer sees the app's last line.
	l.service.add("Unit", "After", units.Words{writer.name}, at)
}

// lowerPidFile: the file is written by root before the app counts as started,
// and removed when it has ended. It is made anew (set -C): root must not write
// through a link that the app's user put there.
func lowerPidFile(l *lowering, file *arg) {
	if file.text == "" || file.text == "NULL" || file.text == "/dev/null" {
		return
	}
	if !l.app.checkPath(file, l.messages) {
		return
	}
	name := l.host.resolve(l.app.cwd, file.text)
	spec := units.Escape(name)
	if l.app.template {
		spec = perInstance(name, "%i")
	}
	l.mkdir(path.Dir(name))
	if c, ok := l.command("+", file.at, file.name, "/bin/sh", "-c", `rm -f -- "$1" && set -C && printf %%s "$MAINPID" >"$1"`, "sh", spec); ok {
		l.service.add("Service", "ExecStartPost", c, file.at)
	}
	if c, ok := l.command("+", file.at, file.name, "/bin/rm", "-f", "--", spec); ok {
		l.service.add("Service", "ExecStopPost", c, file.at)
	}
}

// ownFiles lists what the app's own units write, which a watch must not take
// for a change.
func (a *app) ownFiles(host *Host) []string {
	lg := a.readLogs(host)
	own := lg.files()
	if pid := a.get("pid_file"); pid.text != "" {
		own = append(own, host.resolve(a.cwd, pid.text))
	}
	if !a.template {
		return own
	}
	for i, f := range own { // and their numbered forms
		own[i] = unescape(perInstance(f, "*"))
	}
	return own
}

// mkdir has a directory made before the app starts: systemd opens log files
// before it runs anything of the unit (systemd.exec(5), StandardOutput=).
func (l *lowering) mkdir(dir string) {
	if dir == l.app.cwd || oneOf(dir, "/", "/dev", "/run", "/tmp", "/var/log", "/var/run", "/var/tmp") {
		return // there already, or nothing starts at all
	}
	if spec := units.Escape(dir); !slices.Contains(l.dirs, spec) {
		l.dirs = append(l.dirs, spec)
	}
}

func (l *lowering) finishDirs() {
	if len(l.dirs) == 0 {
		return
	}
	slices.Sort(l.dirs)
	at := l.app.at
	for _, key := range []string{"out_file", "error_file", "log_file", "pid_file"} {
		if a := l.app.get(key); a.given() {
			at = a.at
			break
		}
	}
	b := l.companion("-mkdir.service", "Folders of", at)
	b.add("Service", "Type", units.Word("oneshot"), at)
	if c, ok := l.command("", at, "out_file", append([]units.Spec{"/bin/mkdir", "-p", "--"}, l.dirs...)...); ok {
		b.add("Service", "ExecStart", c, at)
	}
	l.service.add("Unit", "Wants", units.Words{b.name}, at)
	l.service.add("Unit", "After", units.Words{b.name}, at)
	for _, other := range l.extra {
		if strings.HasSuffix(other.name, "-log.service") {
			other.add("Unit", "Wants", units.Words{b.name}, at)
			other.add("Unit", "After", units.Words{b.name}, at)
		}
	}
}
