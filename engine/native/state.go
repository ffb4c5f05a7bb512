package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// store saves records in Home.State: one line a change, the last of a unit counts. It survives
// the death of the supervisor at any moment, not that of the machine, whose processes die too.
//
// A line is one write(2), without fsync: what the kernel has, the next supervisor reads.
type store struct {
	path   string
	create func(path string) (io.WriteCloser, error)
	f      io.WriteCloser
	head   []byte
	lines  map[string][]byte // the last of each unit
	live   int               // bytes of head and lines
	size   int               // of the file
	// bootDue says that what is enabled has yet to be started.
	bootDue bool
	over    []pastRun // that an earlier supervisor left: see state
	// behind says that the file lacks something, or has half a line at its end: it is to be
	// written anew.
	behind bool
	buf    []byte
}

// stateHead is the first line: whose processes the records are.
type stateHead struct {
	Version  int    `json:"gm"`
	Identity string `json:"identity"`
	PID      int    `json:"pid"`
}

const stateVersion = 1

// stateLine is any other line.
type stateLine struct {
	record
	Gone     bool `json:"gone"`     // there is nothing more to say of Unit
	Finished bool `json:"finished"` // everything was stopped
	// Boot says, in a line of no unit, whether what is enabled has yet to be started.
	Boot string `json:"boot"`
}

// What is enabled has yet to be started from before the first process on, and again from the
// moment on at which everything is to be stopped: a supervisor that is killed in between leaves
// a part of it, and the next one is to start the rest.
const (
	bootDue  = "due"
	bootDone = "done"
)

// state is what a file says.
type state struct {
	head     stateHead
	records  []record // in the order in which the units came
	finished bool
	bootDue  bool
	// over are runs that were followed by others. What they left behind had perhaps not been
	// looked for when the supervisor died.
	over []pastRun
}

// pastRun is a run of a unit that was followed by another.
type pastRun struct{ unit, invocation string }

// readState reads a state as far as it was written: the last line may be half of one, or
// what a full disk left of it.
func readState(path string) (state, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return state{}, err
	}
	var s state
	first, rest, whole := bytes.Cut(text, []byte{'\n'})
	if !whole || json.Unmarshal(first, &s.head) != nil || s.head.Version != stateVersion {
		return state{}, nil
	}
	at := map[string]int{}
	for line := range bytes.Lines(rest) {
		var l stateLine
		if line[len(line)-1] != '\n' || json.Unmarshal(line, &l) != nil {
			continue
		}
		i, known := at[l.Unit]
		switch {
		case l.Finished:
			s.finished = true
		case l.Boot != "":
			s.bootDue = l.Boot == bootDue
		case l.Unit == "":
		case l.Gone && known:
			s.records[i].Unit = ""
			delete(at, l.Unit)
		case l.Gone:
		case known:
			if old := s.records[i].Invocation; old != "" && old != l.Invocation {
				s.over = append(s.over, pastRun{l.Unit, old})
			}
			s.records[i] = l.record
		default:
			at[l.Unit] = len(s.records)
			s.records = append(s.records, l.record)
		}
	}
	s.records = slices.DeleteFunc(s.records, func(r record) bool { return r.Unit == "" })
	return s, nil
}

// died reports whether a supervisor of h died without stopping everything, on this machine
// as it runs now, and whether something may run of what it left, or was to run.
// It is not known whether another one follows it already.
func (h Home) died() (unfinished, left bool, err error) {
	s, err := readState(h.State())
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	id, err := bootIdentity()
	if err != nil || s.finished || s.head.Identity != id {
		return false, false, err
	}
	return true, s.bootDue || slices.ContainsFunc(s.records, func(r record) bool {
		return r.Spawning || r.Main.PID != 0 || r.Control.PID != 0 || r.Active != "inactive" && r.Active != "failed"
	}), nil
}

// openStore opens the state of h for writing, and returns what an earlier supervisor left:
// nil if the machine was started anew since (or the container), or if that supervisor
// ended in peace. What is left may be no unit at all.
func openStore(h Home) (s *store, left []record, err error) {
	id, err := bootIdentity()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot tell whether the machine was started anew: %w", err)
	}
	earlier, err := readState(h.State())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("cannot read what an earlier supervisor left: %w", err)
	}
	head, err := json.Marshal(stateHead{stateVersion, id, os.Getpid()})
	if err != nil {
		return nil, nil, err
	}
	s = &store{path: h.State(), create: createState, head: append(head, '\n'), lines: map[string][]byte{}}
	s.live = len(s.head)
	if earlier.head.Identity == id && !earlier.finished {
		left = append([]record{}, earlier.records...)
		s.over = earlier.over
	}
	s.bootDue = left == nil || earlier.bootDue
	for i := range left {
		s.keep(left[i].Unit, appendRecord(nil, &left[i]))
	}
	// A disk that is full must not keep what runs from being supervised.
	_ = s.rewrite()
	return s, left, nil
}

func createState(path string) (io.WriteCloser, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
}

// slack is how much a small file may grow before it is written anew.
const slack = 64 << 10

// save notes a unit's record; nil forgets the unit. What cannot be written is written with a
// later change. Of several failures in a row the first one is returned.
func (s *store) save(unit string, r *record) error {
	last, known := s.lines[unit]
	if r == nil {
		if !known {
			return nil
		}
		s.live -= len(last)
		delete(s.lines, unit)
		s.buf = appendGone(s.buf[:0], unit)
	} else {
		s.buf = appendRecord(s.buf[:0], r)
		if bytes.Equal(s.buf, last) {
			return nil
		}
		s.keep(unit, s.buf)
	}
	return s.write()
}

// boots notes whether what is enabled has yet to be started.
func (s *store) boots(due bool) error {
	if s.bootDue == due {
		return nil
	}
	s.bootDue = due
	s.buf = appendBoot(s.buf[:0], due)
	return s.write()
}

// write adds a line, which is in buf.
func (s *store) write() error {
	if s.behind {
		_ = s.rewrite() // the first failure was told
		return nil
	}
	if s.size+len(s.buf) > 4*s.live+slack {
		return s.rewrite()
	}
	n, err := s.f.Write(s.buf)
	s.size += n
	if err != nil {
		s.behind = true
		if s.rewrite() == nil {
			return nil
		}
	}
	return err
}

// keep remembers the last line of a unit.
func (s *store) keep(unit string, line []byte) {
	last := s.lines[unit]
	s.live += len(line) - len(last)
	s.lines[unit] = append(last[:0], line...)
}

// finish notes that everything was stopped, so that the next supervisor begins anew.
func (s *store) finish() error {
	s.buf = append(s.buf[:0], "{\"finished\":true}\n"...)
	if !s.behind {
		if _, err := s.f.Write(s.buf); err == nil {
			return s.f.Close()
		}
	}
	// No file says the same, and takes no space.
	if s.f != nil {
		s.f.Close()
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot note that everything was stopped: %w", err)
	}
	return nil
}

// rewrite writes the file anew, with the last line of each unit.
func (s *store) rewrite() error {
	err := s.writeAnew()
	s.behind = err != nil
	if err != nil {
		return fmt.Errorf("cannot save what runs, and try again with each change: %w", err)
	}
	return nil
}

func (s *store) writeAnew() error {
	text := make([]byte, 0, s.live)
	text = append(text, s.head...)
	if s.bootDue {
		text = appendBoot(text, true)
	}
	for _, unit := range slices.Sorted(maps.Keys(s.lines)) {
		text = append(text, s.lines[unit]...)
	}
	fresh := s.path + ".new"
	f, err := s.create(fresh)
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err == nil {
		err = os.Rename(fresh, s.path)
	}
	if err != nil {
		f.Close()
		_ = os.Remove(fresh) // it takes space that there may be none of
		return err
	}
	if s.f != nil {
		s.f.Close()
	}
	s.f, s.size = f, len(text)
	return nil
}

func appendBoot(b []byte, due bool) []byte {
	is := bootDone
	if due {
		is = bootDue
	}
	return append(append(append(b, `{"boot":"`...), is...), "\"}\n"...)
}

func appendGone(b []byte, unit string) []byte {
	b = appendJSON(append(b, `{"unit":`...), unit)
	return append(b, ",\"gone\":true}\n"...)
}

// appendRecord writes a record as encoding/json would, in a tenth of the time: a process that
// crashes costs several of them before it runs again.
func appendRecord(b []byte, r *record) []byte {
	b = appendJSON(append(b, `{"unit":`...), r.Unit)
	b = appendText(b, `,"invocation":`, r.Invocation)
	b = appendText(b, `,"active":`, r.Active)
	b = appendText(b, `,"sub":`, r.Sub)
	b = appendProc(b, `,"main":`, r.Main)
	b = appendProc(b, `,"control":`, r.Control)
	b = appendFlag(b, `,"spawning":`, r.Spawning)
	b = appendStamp(b, `,"since":`, r.Since)
	b = appendStamp(b, `,"started":`, r.Started)
	b = appendNumber(b, `,"restarts":`, r.Restarts)
	for i, t := range r.Starts {
		key := `,`
		if i == 0 {
			key = `,"starts":[`
		}
		b = t.AppendFormat(append(append(b, key...), '"'), time.RFC3339Nano)
		b = append(b, '"')
	}
	if len(r.Starts) > 0 {
		b = append(b, ']')
	}
	b = appendText(b, `,"result":`, r.Result)
	if r.Exit.Code != 0 || r.Exit.Signal != 0 || !r.Exit.At.IsZero() {
		b = strconv.AppendInt(append(b, `,"exit":{"Code":`...), int64(r.Exit.Code), 10)
		b = appendNumber(b, `,"Signal":`, r.Exit.Signal)
		b = appendStamp(b, `,"At":`, r.Exit.At)
		b = append(b, '}')
	}
	b = appendText(b, `,"digest":`, r.Digest)
	b = appendText(b, `,"memory":`, r.Memory)
	b = appendStamp(b, `,"last":`, r.Last)
	b = appendFlag(b, `,"task":`, r.Task)
	b = appendText(b, `,"job":`, r.Job)
	return append(b, "}\n"...)
}

func appendText(b []byte, key, text string) []byte {
	if text == "" {
		return b
	}
	return appendJSON(append(b, key...), text)
}

func appendProc(b []byte, key string, p proc) []byte {
	if p == (proc{}) {
		return b
	}
	b = strconv.AppendInt(append(append(b, key...), `{"pid":`...), int64(p.PID), 10)
	b = strconv.AppendUint(append(b, `,"start":`...), p.Start, 10)
	return append(b, '}')
}

func appendFlag(b []byte, key string, is bool) []byte {
	if !is {
		return b
	}
	return append(append(b, key...), "true"...)
}

func appendNumber(b []byte, key string, n int) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, key...), int64(n), 10)
}

func appendStamp(b []byte, key string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = t.AppendFormat(append(append(b, key...), '"'), time.RFC3339Nano)
	return append(b, '"')
}

// appendJSON writes a string. Those of records are plain, but for what a unit may be called.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
