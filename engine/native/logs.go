package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"gm/engine"
	"gm/units"
)

// outputs opens what a unit's streams are written to: the file of append:, file: or
// truncate:, /dev/null, or for journal a file of Home.Logs. Both streams of a unit that
// are one file share one descriptor: stdout and stderr are then the same.
//
// An error is a *spawnError. A file of Home.Logs that cannot be opened is none: what the
// app writes is thrown away until its next start, and manager.log says so.
func (h Home) outputs(d *definition) (stdout, stderr *os.File, err error) {
	both, err := h.sinks(d)
	if err != nil {
		return nil, nil, err
	}
	if stdout, err = h.open(d, both[0]); err != nil {
		return nil, nil, &spawnError{step: "STDOUT", code: exitStdout, err: err}
	}
	if both[1].path == both[0].path {
		return stdout, stdout, nil
	}
	if stderr, err = h.open(d, both[1]); err != nil {
		stdout.Close()
		return nil, nil, &spawnError{step: "STDERR", code: exitStderr, err: err}
	}
	return stdout, stderr, nil
}

// The exit codes of systemd.exec(5).
const (
	exitStdout = 209
	exitStderr = 222
)

// sink is where a stream goes.
type sink struct {
	path string
	flag int
	own  bool // it is a file of Home.Logs
}

// sinks says where a unit's streams go.
func (h Home) sinks(d *definition) (both [2]sink, err error) {
	e := &d.service.exec
	out, errs := e.stdout, e.stderr
	if errs.Kind == "" || errs.Kind == "inherit" {
		errs = out
	}
	if both[0], err = h.sink(d, out, engine.Stdout); err != nil {
		return both, &spawnError{step: "STDOUT", code: exitStdout, err: fmt.Errorf("StandardOutput=%w", err)}
	}
	if both[1], err = h.sink(d, errs, engine.Stderr); err != nil {
		return both, &spawnError{step: "STDERR", code: exitStderr, err: fmt.Errorf("StandardError=%w", err)}
	}
	return both, nil
}

func (h Home) sink(d *definition, s units.Stream, stream engine.Stream) (sink, error) {
	switch s.Kind {
	case "", "journal", "journal+console", "syslog", "syslog+console", "kmsg", "kmsg+console":
		return sink{h.Dirs(false).LogFile(d.name, stream), syscall.O_APPEND, true}, nil
	case "append":
		return sink{string(s.Path), syscall.O_APPEND, false}, nil
	case "file":
		return sink{string(s.Path), 0, false}, nil
	case "truncate":
		return sink{string(s.Path), syscall.O_TRUNC, false}, nil
	case "null", "inherit": // of the standard input, which is /dev/null
		return sink{os.DevNull, 0, false}, nil
	}
	return sink{}, fmt.Errorf("%s is not possible without systemd: write journal, null or append:PATH", s.Kind)
}

func (h Home) open(d *definition, s sink) (*os.File, error) {
	mode := 0o666 &^ 0o022
	if mask := d.service.exec.umask; mask >= 0 {
		mode = 0o666 &^ mask
	}
	if s.own {
		mode = 0o600
	}
	f, err := openOutput(s.path, s.flag, mode)
	if !s.own || err == nil {
		return f, err
	}
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(h.Logs(), 0o700) == nil {
		if f, err = openOutput(s.path, s.flag, mode); err == nil {
			return f, nil
		}
	}
	h.say(d.name, err.Error()+"; what it writes there is lost until its next start")
	return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
}

// openOutput opens a file as systemd does. It does not wait for who reads a pipe, which
// would hold up everything.
func openOutput(path string, flag, mode int) (*os.File, error) {
	flag |= syscall.O_WRONLY | syscall.O_NOCTTY | syscall.O_CLOEXEC | syscall.O_NONBLOCK
	fd, err := uninterrupted(func() (int, error) { return syscall.Open(path, flag, 0) })
	if err == syscall.ENOENT {
		fd, err = uninterrupted(func() (int, error) { return syscall.Open(path, flag|syscall.O_CREAT, uint32(mode)) })
		if err == nil {
			_ = syscall.Fchmod(fd, uint32(mode)) // UMask= is the app's, and not the supervisor's
		}
	}
	if err == syscall.ENXIO {
		err = errors.New("nobody reads this pipe")
	}
	if err == nil {
		if err = syscall.SetNonblock(fd, false); err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		syscall.Close(fd)
	}
	return nil, fmt.Errorf("cannot open %s: %w", path, err)
}

func uninterrupted(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != syscall.EINTR {
			return n, err
		}
	}
}

// say writes one line about a unit to manager.log, for who has none open.
func (h Home) say(unit, text string) {
	if m, err := openManagerLog(h); err == nil {
		m.write(unit, text)
		_ = m.close()
	}
}

// managerLog writes Home.Logs/manager.log: what the supervisor says about units, a line an
// entry: the time, the unit, the text. Several may write to it, and each may rotate it.
type managerLog struct {
	path string
	most int64 // its size, above which it becomes manager.log.1

	mu   sync.Mutex
	f    *os.File // nil while it cannot be opened
	info os.FileInfo
	line []byte
}

const (
	managerTime = "2006-01-02T15:04:05.000000Z07:00"
	mostManager = 10 << 20
	managerFile = "manager.log"
)

// openManagerLog fails when there will be no log; a disk that is full at the moment is
// no reason to run nothing.
func openManagerLog(h Home) (*managerLog, error) {
	m := &managerLog{path: filepath.Join(h.Logs(), managerFile), most: mostManager}
	if err := m.open(); err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return nil, fmt.Errorf("cannot open the log: %w", err)
	}
	return m, nil
}

func (m *managerLog) open() (err error) {
	if m.f != nil {
		m.f.Close()
		m.f = nil
	}
	const flag = os.O_WRONLY | os.O_APPEND | os.O_CREATE
	f, err := os.OpenFile(m.path, flag, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(m.path), 0o700); err == nil {
			f, err = os.OpenFile(m.path, flag, 0o600)
		}
	}
	if err != nil {
		return err
	}
	if m.info, err = f.Stat(); err != nil {
		f.Close()
		return err
	}
	m.f = f
	return nil
}

// write adds a line. What cannot be written is lost.
func (m *managerLog) write(unit, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.line = time.Now().AppendFormat(m.line[:0], managerTime)
	m.line = append(m.line, ' ')
	m.line = append(m.line, unit...)
	m.line = append(m.line, ' ')
	from := len(m.line)
	m.line = append(m.line, text...)
	for i, c := range m.line[from:] {
		if c == '\n' || c == '\r' {
			m.line[from+i] = ' '
		}
	}
	m.line = append(m.line, '\n')
	// Someone may have removed or rotated it.
	info, err := os.Stat(m.path)
	if m.f == nil || err != nil || !os.SameFile(info, m.info) {
		if m.open() != nil {
			return
		}
		info = m.info
	}
	if info.Size()+int64(len(m.line)) > m.most && info.Size() > 0 {
		m.rotate()
	}
	if m.f != nil {
		_, _ = m.f.Write(m.line)
	}
}

// rotate begins a new file. Who reads the old one holds a lock for a moment; it is then
// rotated with the next line.
func (m *managerLog) rotate() {
	if syscall.Flock(int(m.f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return
	}
	if info, err := os.Stat(m.path); err == nil && os.SameFile(info, m.info) {
		_ = os.Rename(m.path, m.path+".1")
	}
	_ = m.open()
}

func (m *managerLog) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.f == nil {
		return nil
	}
	return m.f.Close()
}

// readLogs is engine.Engine.Logs: the lines of manager.log. It needs no supervisor. What
// apps write is in files, which engine.Sources tells of.
func (h Home) readLogs(ctx context.Context, q engine.LogQuery) iter.Seq2[engine.LogEntry, error] {
	source := engine.LogSource{File: filepath.Join(h.Logs(), managerFile), Keep: 1}
	if q.Boot {
		if at := bootTime(); at.After(q.Since) {
			q.Since = at
		}
	}
	asked := map[string]bool{}
	for _, unit := range q.Units {
		asked[unit] = true
	}
	return func(yield func(engine.LogEntry, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		tail := lastEntries{most: q.Lines, yield: yield}
		o := engine.LogOptions{Lines: -1, Since: q.Since, Follow: q.Follow, Idle: func() {
			if !tail.flush() {
				stop()
			}
		}}
		for line, err := range engine.Logs(ctx, nil, []engine.LogSource{source}, o) {
			if err != nil {
				yield(engine.LogEntry{}, err)
				return
			}
			entry, ok := parseManager(line.Text, asked)
			if !ok || !q.Since.IsZero() && entry.Time.Before(q.Since) || !q.Until.IsZero() && entry.Time.After(q.Until) {
				continue
			}
			if !tail.add(entry) {
				return
			}
		}
		tail.flush()
	}
}

// lastEntries hands on the last so many entries of each unit once it is told that there
// are no more at the moment, and from then on every one; with most 0 every one at once.
type lastEntries struct {
	most  int
	yield func(engine.LogEntry, error) bool
	held  []engine.LogEntry
	ended bool // nobody wants more
}

func (l *lastEntries) add(e engine.LogEntry) bool {
	if l.most > 0 {
		l.held = append(l.held, e)
	} else if !l.ended {
		l.ended = !l.yield(e, nil)
	}
	return !l.ended
}

func (l *lastEntries) flush() bool {
	left := map[string]int{}
	for _, e := range l.held {
		left[e.Unit]++
	}
	for _, e := range l.held {
		if left[e.Unit]--; left[e.Unit] < l.most && !l.ended {
			l.ended = !l.yield(e, nil)
		}
	}
	l.held, l.most = nil, 0
	return !l.ended
}

// parseManager reads a line of manager.log, if it is about one of these units.
func parseManager(line []byte, asked map[string]bool) (engine.LogEntry, bool) {
	at, rest, _ := bytes.Cut(line, []byte{' '})
	unit, text, ok := bytes.Cut(rest, []byte{' '})
	if !ok || !asked[string(unit)] {
		return engine.LogEntry{}, false
	}
	t, err := time.Parse(managerTime, string(at))
	if err != nil {
		return engine.LogEntry{}, false
	}
	return engine.LogEntry{Time: t, Unit: strings.Clone(string(unit)), Manager: true, Text: text}, true
}
