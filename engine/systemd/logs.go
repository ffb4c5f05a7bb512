package systemd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"gm/engine"
)

// Logs reads the journal by journalctl: its format is systemd's own, and who may
// read which file is journalctl's business.
func (m *manager) Logs(ctx context.Context, q engine.LogQuery) iter.Seq2[engine.LogEntry, error] {
	return func(yield func(engine.LogEntry, error) bool) {
		if len(q.Units) == 0 {
			return
		}
		// One journalctl can count lines only of all units together.
		if q.Lines == 0 || len(q.Units) == 1 {
			for r, err := range m.journal(ctx, q, "") {
				if !yield(r.entry(), err) || err != nil {
					return
				}
			}
			return
		}
		m.tails(ctx, q, yield)
	}
}

// tails yields the last lines of each unit and then, with Follow, the new ones of
// all.
func (m *manager) tails(ctx context.Context, q engine.LogQuery, yield func(engine.LogEntry, error) bool) {
	var end string
	if q.Follow {
		for r, err := range m.newest(ctx) {
			if err != nil {
				yield(engine.LogEntry{}, err)
				return
			}
			end = r.Cursor
		}
	}
	records, err := m.lastOfEach(ctx, q)
	if err != nil {
		yield(engine.LogEntry{}, err)
		return
	}
	told := make(map[string]bool, len(records))
	for _, r := range records {
		told[r.Cursor] = true
		if !yield(r.entry(), nil) {
			return
		}
	}
	if !q.Follow {
		return
	}
	q.Lines = 0
	if end == "" {
		q.Since = time.Time{} // the journal was empty
	}
	for r, err := range m.journal(ctx, q, end) {
		if err == nil && told[r.Cursor] {
			continue // written after the end was noted and before it was read
		}
		if !yield(r.entry(), err) || err != nil {
			return
		}
	}
}

// lastOfEach reads the last lines of each unit, ordered by time.
func (m *manager) lastOfEach(ctx context.Context, q engine.LogQuery) ([]record, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []record
		first error
	)
	units := make(chan string)
	for range min(runtime.GOMAXPROCS(0), len(q.Units)) {
		wg.Go(func() {
			for unit := range units {
				one := q
				one.Units, one.Follow = []string{unit}, false
				var records []record
				for r, err := range m.journal(ctx, one, "") {
					if err != nil {
						mu.Lock()
						if first == nil {
							first = err
						}
						mu.Unlock()
						cancel()
						return
					}
					records = append(records, r)
				}
				mu.Lock()
				all = append(all, records...)
				mu.Unlock()
			}
		})
	}
feed:
	for _, unit := range q.Units {
		select {
		case units <- unit:
		case <-ctx.Done():
			break feed
		}
	}
	close(units)
	wg.Wait()
	if first == nil {
		first = ctx.Err()
	}
	slices.SortStableFunc(all, func(a, b record) int { return a.time().Compare(b.time()) })
	return all, first
}

// newest yields the last record of the journal, whose cursor is its end.
func (m *manager) newest(ctx context.Context) iter.Seq2[record, error] {
	return m.journalctl(ctx, []string{"--lines=1"}, nil)
}

// journal yields the records of a query, those after a cursor if there is one.
func (m *manager) journal(ctx context.Context, q engine.LogQuery, after string) iter.Seq2[record, error] {
	args := []string{"--lines=all"}
	if q.Lines > 0 {
		args[0] = "--lines=" + strconv.Itoa(q.Lines)
	}
	if q.Follow {
		args = append(args, "--follow")
	}
	if after != "" {
		args = append(args, "--after-cursor="+after)
	} else if !q.Since.IsZero() {
		args = append(args, "--since="+atTime(q.Since))
	}
	if !q.Until.IsZero() {
		args = append(args, "--until="+atTime(q.Until))
	}
	if q.Boot {
		args = append(args, "--boot")
	}
	return m.journalctl(ctx, append(args, m.matches(q.Units)...), newSelection(q.Units))
}

// atTime writes a time as systemd.time(7) has it, down to the microsecond.
func atTime(t time.Time) string {
	return fmt.Sprintf("@%d.%06d", t.Unix(), t.Nanosecond()/1000)
}

// matches selects what `journalctl --unit=` does, see systemd.journal-fields(7): what
// a unit wrote, what systemd says of it, and its core dumps. Unlike --unit= the
// number of conditions does not grow with the number of units.
func (m *manager) matches(units []string) []string {
	field, manager, trusted := "_SYSTEMD_UNIT", "UNIT", "_UID=0"
	if m.dirs.User {
		field, manager, trusted = "_SYSTEMD_USER_UNIT", "USER_UNIT", "_UID="+strconv.Itoa(os.Geteuid())
	}
	var args []string
	add := func(field string, and ...string) {
		if len(args) > 0 {
			args = append(args, "+")
		}
		args = append(args, and...)
		for _, unit := range units {
			args = append(args, field+"="+unit)
		}
	}
	if m.dirs.User {
		add(field, trusted)
	} else {
		add(field)
	}
	add(manager, trusted)
	add("COREDUMP_"+manager, "_UID=0")
	return args
}

// record is a journal entry as `journalctl --output=json` writes it. Fields that
// are not UTF-8 are arrays of bytes.
type record struct {
	Cursor      string `json:"__CURSOR"`
	Realtime    string `json:"__REALTIME_TIMESTAMP"`
	Message     field  `json:"MESSAGE"`
	PID         field  `json:"_PID"`
	SystemdUnit field  `json:"_SYSTEMD_UNIT"`
	UserUnit    field  `json:"_SYSTEMD_USER_UNIT"`
	OfUnit      field  `json:"UNIT"`
	OfUserUnit  field  `json:"USER_UNIT"`
	DumpOf      field  `json:"COREDUMP_UNIT"`
	DumpOfUser  field  `json:"COREDUMP_USER_UNIT"`

	// unit and byManager say which of the units asked for it is about, and whether
	// that one wrote it.
	unit      string
	byManager bool
}

const outputFields = "MESSAGE,_PID,_SYSTEMD_UNIT,_SYSTEMD_USER_UNIT,UNIT,USER_UNIT,COREDUMP_UNIT,COREDUMP_USER_UNIT"

// field is the value of a journal field, the first one if there are several.
type field []byte

func (f *field) UnmarshalJSON(b []byte) error {
	var many []json.RawMessage
	switch {
	case bytes.Equal(b, []byte("null")): // too long to be shown
		return nil
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*f = field(s)
		return nil
	}
	if err := json.Unmarshal(b, &many); err != nil {
		return err
	}
	if len(many) > 0 && (many[0][0] == '"' || many[0][0] == '[') {
		return f.UnmarshalJSON(many[0])
	}
	*f = make(field, len(many))
	for i, text := range many {
		n, err := strconv.ParseUint(string(text), 10, 8)
		if err != nil {
			return err
		}
		(*f)[i] = byte(n)
	}
	return nil
}

// assign decides which unit the record is about.
func (r *record) assign(wanted selection, user bool) {
	own, of, dump := r.SystemdUnit, r.OfUnit, r.DumpOf
	if user {
		own, of, dump = r.UserUnit, r.OfUserUnit, r.DumpOfUser
	}
	for _, f := range []field{of, dump} {
		if wanted.has(string(f)) {
			r.unit, r.byManager = string(f), true
			return
		}
	}
	r.unit = string(own)
}

func (r *record) time() time.Time {
	usec, _ := strconv.ParseInt(r.Realtime, 10, 64)
	return time.UnixMicro(usec)
}

func (r *record) entry() engine.LogEntry {
	if r.Realtime == "" {
		return engine.LogEntry{}
	}
	pid, _ := strconv.Atoi(string(r.PID))
	return engine.LogEntry{Time: r.time(), Unit: r.unit, PID: pid, Manager: r.byManager, Text: r.Message}
}

// journalctl runs journalctl and yields what it prints. It has ended when the
// iteration is over.
func (m *manager) journalctl(ctx context.Context, args []string, wanted selection) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		fail := func(err error) { yield(record{}, fmt.Errorf("cannot read the journal: %w", err)) }
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		// --all: else fields of more than 4096 bytes are null.
		args = append([]string{"--output=json", "--output-fields=" + outputFields, "--no-pager", "--all"}, args...)
		if m.options.Root != "" {
			args = append(args, "--directory="+m.options.journalDir())
		}
		cmd := exec.CommandContext(ctx, "journalctl", args...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = time.Second
		// systemd writes hints in the caller's language.
		cmd.Env = append(cmd.Environ(), "LC_ALL=C.UTF-8")
		complaint := new(complaint)
		cmd.Stderr = complaint
		out, err := cmd.StdoutPipe()
		if err != nil {
			fail(err)
			return
		}
		if err := cmd.Start(); err != nil {
			if errors.Is(err, exec.ErrNotFound) {
				err = errors.New("there is no journalctl on the PATH: install the package systemd")
			}
			fail(err)
			return
		}
		some := false
		lines := bufio.NewReaderSize(out, 256<<10)
		for {
			line, err := readLine(lines)
			if err != nil {
				break
			}
			var r record
			if err := json.Unmarshal(line, &r); err != nil {
				cancel()
				cmd.Wait()
				fail(fmt.Errorf("journalctl printed %.80q: %w", line, err))
				return
			}
			some = true
			r.assign(wanted, m.dirs.User)
			if !yield(r, nil) {
				cancel()
				cmd.Wait()
				return
			}
		}
		err = cmd.Wait()
		switch {
		case ctx.Err() != nil:
			fail(ctx.Err())
		case complaint.denied() && !some:
			fail(m.unreadable())
		case err != nil && !(some && complaint.text() == ""):
			fail(fmt.Errorf("journalctl: %w: %s", err, complaint.text()))
		}
	}
}

// readLine reads a line of any length, valid until the next is read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	long := slices.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.ReadSlice('\n')
		long = append(long, line...)
	}
	return long, err
}

// complaint is the beginning of what journalctl says on its standard error.
type complaint struct {
	mu sync.Mutex
	b  []byte
}

func (c *complaint) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	const enough = 4096
	c.b = append(c.b, p[:min(len(p), max(0, enough-len(c.b)))]...)
	return len(p), nil
}

func (c *complaint) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimSpace(string(c.b))
}

// denied reports that journalctl saw only files of the caller's own, or none.
func (c *complaint) denied() bool {
	text := c.text()
	return strings.Contains(text, "insufficient permissions") || strings.Contains(text, "not seeing messages from other users")
}

// unreadable says how to get to read the journal.
func (m *manager) unreadable() error {
	if m.dirs.User {
		return fmt.Errorf("%w: a user's journal is a file of its own only with Storage=persistent in journald.conf(5) "+
			"(make /var/log/journal and restart systemd-journald); or become a member of the group systemd-journal: "+
			"`sudo usermod -aG systemd-journal USER` and log in again", engine.ErrDenied)
	}
	return fmt.Errorf("%w: become a member of the group systemd-journal or adm: "+
		"`sudo usermod -aG systemd-journal USER` and log in again", engine.ErrDenied)
}

// journalDir is where journald of the machine at Root writes.
func (o Options) journalDir() string {
	for _, dir := range []string{"/var/log/journal", "/run/log/journal"} {
		if files, _ := filepath.Glob(o.path(dir) + "/*/*.journal"); len(files) > 0 {
			return o.path(dir)
		}
	}
	return o.path("/run/log/journal")
}
