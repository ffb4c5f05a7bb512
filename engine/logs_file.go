package engine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	// logBlock is how much of a file is read at once.
	logBlock = 64 << 10
	// longestLogLine is where a longer line is cut into several.
	longestLogLine = 16 << 20
	// checkLength is how many bytes before the place that was read to are
	// remembered: when they differ, the file was emptied and written anew.
	checkLength = 64
	// mostUndated is how many lines wait for the first one with a time.
	mostUndated = 1000
	// mostRotated is how many files that were renamed are read on: systemd and most
	// programs write to such a one until they are restarted.
	mostRotated = 4
	// removedAfter is how long a file without a name is still read: it takes up room
	// on the disk.
	removedAfter = time.Minute
)

// logFile is a file of lines: read once, and then on as it grows.
type logFile struct {
	source LogSource
	o      *LogOptions
	now    *openLog   // nil while there is no file
	old    []*openLog // what had the name before
	err    error      // of the last try to open it
	told   bool       // that err was told
}

// openLog is one file under a name that others may get.
type openLog struct {
	f       *rotatedFile
	offset  int64  // what is before it has been read
	check   []byte // the bytes right before offset
	partial []byte // a line that has no end yet
	size    int64  // at the last look
	changed time.Time
}

// open opens the file, if it is there. What is in it now is for tail and lines,
// what comes is for poll.
func (l *logFile) open() {
	now, err := openLogFile(l.source.File, l.source.Keep)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.err = err
		}
		return
	}
	l.now = now
	if now.offset = now.size; l.o.Follow {
		// A line that has no end yet is told when it has.
		now.offset, l.err = lineStart(now.f, now.size)
	}
	now.remember()
}

func openLogFile(path string, keep int) (*openLog, error) {
	f, err := openRotated(path, keep)
	if err != nil {
		return nil, &LogFileError{path, cause(err)}
	}
	size, info, err := f.look()
	if err != nil {
		f.Close()
		return nil, &LogFileError{path, cause(err)}
	}
	f.lost = -1
	return &openLog{f: f, size: size, changed: info.ModTime()}, nil
}

func (l *logFile) close() {
	for _, o := range append(l.old, l.now) {
		if o != nil {
			o.f.Close()
		}
	}
}

// lines yields what was in the file when it was opened and is asked for.
func (l *logFile) lines(yield func(LogLine, error) bool) {
	if l.failed(func(err error) { yield(LogLine{}, err) }) || l.now == nil {
		return
	}
	from, err := l.start(-1)
	if err == nil {
		err = l.read(from, func(line LogLine) bool { return yield(line, nil) })
	}
	if err != nil {
		yield(LogLine{}, &LogFileError{l.source.File, err})
	}
}

// tail returns the last n of these lines.
func (l *logFile) tail(n int) (last []LogLine, err error) {
	if l.failed(func(e error) { err = e }) || l.now == nil {
		return nil, err
	}
	from, err := l.start(n)
	if err == nil {
		err = l.read(from, func(line LogLine) bool {
			if len(last) == 2*n {
				last = slices.Delete(last, 0, n)
			}
			last = append(last, line)
			return true
		})
	}
	if err != nil {
		err = &LogFileError{l.source.File, err}
	}
	return last[max(0, len(last)-n):], err
}

// failed tells once that the file cannot be opened.
func (l *logFile) failed(tell func(error)) bool {
	if l.err == nil {
		return false
	}
	if !l.told {
		l.told = true
		tell(l.err)
	}
	return true
}

// start is where reading begins for the last n lines; negative: all.
func (l *logFile) start(n int) (int64, error) {
	var from int64
	var err error
	if !l.o.Since.IsZero() {
		if l.now.changed.Before(l.o.Since) {
			return l.now.offset, nil
		}
		if from, err = l.firstSince(); err != nil {
			return 0, err
		}
	}
	if l.source.From <= l.now.offset && l.source.Keep == 0 { // it was not emptied since
		from = max(from, l.source.From)
	}
	// Lines that do not count cannot be counted from the end.
	mixed := l.source.JSON && l.o.Stream != Either && l.source.Stream == Either
	if n < 0 || mixed || !l.o.Until.IsZero() {
		return from, nil
	}
	last, err := lastLines(l.now.f, l.now.offset, n)
	return max(from, last), err
}

// firstSince returns a place before the first line of that time or later: it looks
// at ever earlier places for a line that is older.
func (l *logFile) firstSince() (int64, error) {
	if l.source.Format == "" && !l.source.JSON {
		return 0, nil
	}
	for back := int64(1 << 20); back < l.now.offset; back *= 4 {
		at := l.now.offset - back
		older, found := false, int64(0)
		start, err := skipLine(l.now.f, at, l.now.offset)
		if err != nil {
			return 0, err
		}
		err = eachLine(l.now.f, start, min(start+back, l.now.offset), func(text []byte) bool {
			line := l.parse(text)
			older, found = line.Time.Before(l.o.Since), start
			return !line.Dated
		})
		if err != nil {
			return 0, err
		}
		if older {
			return found, nil
		}
	}
	return 0, nil
}

// read calls yield for the lines from an offset to where the file was open to.
func (l *logFile) read(from int64, yield func(LogLine) bool) error {
	var waiting []LogLine // for a line with a time
	at, dated := l.now.changed, l.source.Format == "" && !l.source.JSON
	tell := func(line LogLine) bool {
		if !line.Dated {
			line.Time = at
		}
		return !l.wanted(&line, at) || yield(line)
	}
	flush := func() bool {
		for _, line := range waiting {
			if !tell(line) {
				return false
			}
		}
		waiting = nil
		return true
	}
	goOn := true
	err := eachLine(l.now.f, from, l.now.offset, func(text []byte) bool {
		line := l.parse(bytes.Clone(text))
		// A clock that was set back does not change the order.
		if line.Dated && (!dated || line.Time.After(at)) {
			at = line.Time
		}
		if dated = dated || line.Dated || len(waiting) == mostUndated; !dated {
			waiting = append(waiting, line)
			return true
		}
		goOn = flush() && tell(line)
		return goOn
	})
	if goOn {
		flush()
	}
	return cause(err)
}

// wanted reports whether a line that counts as of that time is asked for.
func (l *logFile) wanted(line *LogLine, at time.Time) bool {
	return (l.o.Since.IsZero() || !at.Before(l.o.Since)) && (l.o.Until.IsZero() || !at.After(l.o.Until)) &&
		(l.o.Stream == Either || line.Stream == Either || line.Stream == l.o.Stream)
}

// record is a line of PM2's with log_type json (God/ForkMode.js).
type record struct {
	Message   *string `json:"message"`
	Timestamp string  `json:"timestamp"`
	Type      Stream  `json:"type"`
}

// parse reads one line without its end.
func (l *logFile) parse(text []byte) LogLine {
	line := LogLine{App: l.source.App, LogEntry: LogEntry{
		Time: l.now.changed, Unit: l.source.Unit, Stream: l.source.Stream, File: l.source.File, Text: text}}
	if l.source.JSON {
		var r record
		if len(text) == 0 || text[0] != '{' || json.Unmarshal(text, &r) != nil || r.Message == nil {
			return line
		}
		line.Raw, line.Text = text, []byte(strings.TrimSuffix(*r.Message, "\n"))
		if r.Type == Stdout || r.Type == Stderr {
			line.Stream = r.Type
		}
		if t, ok := l.stamp(r.Timestamp); ok {
			line.Time, line.Dated = t, true
			if l.source.Format != "" {
				line.Stamp = r.Timestamp
			}
		}
		return line
	}
	if l.source.Format != "" {
		// PM2 writes "STAMP: text"; the stamp is short, the line may not be.
		head := string(text[:min(len(text), 256)])
		t, rest, ok := ParseTime(head, l.source.Format, l.near())
		if _, colon := strings.CutPrefix(rest, ": "); ok && colon {
			n := len(head) - len(rest)
			line.Raw, line.Text, line.Stamp = text, text[n+2:], head[:n]
			line.Time, line.Dated = t, true
		}
	}
	return line
}

func (l *logFile) stamp(text string) (time.Time, bool) {
	if l.source.Format == "" {
		t, err := time.Parse(time.RFC3339Nano, text)
		return t, err == nil
	}
	t, rest, ok := ParseTime(text, l.source.Format, l.near())
	return t, ok && rest == ""
}

// near is the latest time that a stamp can mean.
func (l *logFile) near() time.Time { return l.now.changed.Local() }

// poll tells the lines that were added since the last look.
func (l *logFile) poll(tell func(LogLine, error) bool) bool {
	info, err := os.Stat(l.source.File)
	there := l.now != nil && l.same(info)
	for _, o := range slices.Clone(l.old) {
		if !l.advance(o, tell) {
			return false
		}
		if o.gone() && time.Since(o.changed) > removedAfter {
			if !l.finish(o, tell) {
				return false
			}
			l.old = slices.DeleteFunc(l.old, func(other *openLog) bool { return other == o })
		}
	}
	if l.now != nil {
		if !l.advance(l.now, tell) {
			return false
		}
		if there {
			return true
		}
		// Renamed or removed: who has it open may go on writing to it. What is rotated
		// from now on is of the file in its place.
		l.now.f.keep = 0
		l.old, l.now = append(l.old, l.now), nil
		if len(l.old) > mostRotated {
			if !l.finish(l.old[0], tell) {
				return false
			}
			l.old = l.old[1:]
		}
	}
	if err != nil {
		return true // not there; the other errors are open's to tell
	}
	now, err := openLogFile(l.source.File, l.source.Keep)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true
	case err != nil:
		again := l.err != nil && l.told
		l.err, l.told = err, true
		return again || tell(LogLine{}, err)
	}
	// A file that was renamed away and back is read on where it was.
	if info, err := now.f.Stat(); err == nil {
		for i, o := range l.old {
			if known, err := o.f.Stat(); err == nil && os.SameFile(info, known) {
				now.f.Close()
				o.f.keep = l.source.Keep
				l.now, l.old = o, slices.Delete(l.old, i, i+1)
				return l.advance(o, tell)
			}
		}
	}
	l.now, l.err = now, nil
	// What was in the files beside it has been read under this name.
	now.offset = now.f.base
	return l.advance(now, tell)
}

// same reports whether info is of the file that is read now.
func (l *logFile) same(info fs.FileInfo) bool {
	known, err := l.now.f.Stat()
	return err == nil && info != nil && os.SameFile(info, known)
}

// advance reads on to the end of the file, or from its start if it was emptied.
func (l *logFile) advance(o *openLog, tell func(LogLine, error) bool) bool {
	size, info, err := o.f.look()
	if err != nil || size == o.offset && info.ModTime().Equal(o.changed) {
		return true
	}
	o.size, o.changed = size, info.ModTime()
	if o.rewritten() {
		if !l.flush(o, tell) {
			return false
		}
		o.offset, o.check = o.f.restart(), nil
	}
	o.f.lost = -1
	block := make([]byte, logBlock)
	for {
		n, err := o.f.ReadAt(block, o.offset)
		o.offset += int64(n)
		o.check = append(o.check, block[max(0, n-checkLength):n]...)
		o.check = append(o.check[:0], o.check[max(0, len(o.check)-checkLength):]...)
		o.partial = append(o.partial, block[:n]...)
		rest := o.partial
		for {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				break
			}
			if !l.tell(o, rest[:end], tell) {
				o.partial = rest
				return false
			}
			rest = rest[end+1:]
		}
		if len(rest) >= longestLogLine {
			if !l.tell(o, rest, tell) {
				return false
			}
			rest = nil
		}
		o.partial = append(o.partial[:0], rest...)
		o.f.release(o.offset - checkLength)
		if err != nil || n == 0 {
			if err != nil && err != io.EOF {
				return tell(LogLine{}, &LogFileError{l.source.File, cause(err)})
			}
			return true
		}
	}
}

// tell tells one line that was just added.
func (l *logFile) tell(o *openLog, text []byte, tell func(LogLine, error) bool) bool {
	now := l.now
	l.now = o // whose time the line is near
	line := l.parse(bytes.Clone(text))
	l.now = now
	if !line.Dated {
		line.Time, line.Dated = time.Now(), true
	}
	return !l.wanted(&line, line.Time) || tell(line, nil)
}

// flush tells a line that will never have an end.
func (l *logFile) flush(o *openLog, tell func(LogLine, error) bool) bool {
	if len(o.partial) == 0 {
		return true
	}
	text := o.partial
	o.partial = nil
	// Whole lines are among it when nobody took them.
	for line := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte{'\n'}), []byte{'\n'}) {
		if !l.tell(o, line, tell) {
			return false
		}
	}
	return true
}

// end tells what has no end yet when the reading ends.
func (l *logFile) end(tell func(LogLine, error) bool) bool {
	for _, o := range append(slices.Clone(l.old), l.now) {
		if o != nil && !l.flush(o, tell) {
			return false
		}
	}
	return true
}

// finish ends the reading of a file.
func (l *logFile) finish(o *openLog, tell func(LogLine, error) bool) bool {
	defer o.f.Close()
	return l.flush(o, tell)
}

// remember notes the bytes before offset.
func (o *openLog) remember() {
	n := min(o.offset, checkLength)
	o.check = make([]byte, n)
	if _, err := o.f.ReadAt(o.check, o.offset-n); err != nil {
		o.check = nil // nothing to compare with; a shorter file still tells
	}
}

// rewritten reports whether what was read of the file is not in it any more.
func (o *openLog) rewritten() bool {
	if o.size < o.offset {
		return true
	}
	have := make([]byte, len(o.check))
	_, err := o.f.ReadAt(have, o.offset-int64(len(have)))
	return err == nil && !bytes.Equal(have, o.check)
}

// lineStart returns the start of the line that a file ends in.
func lineStart(f io.ReaderAt, size int64) (int64, error) {
	if size == 0 {
		return 0, nil
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil {
		return 0, err
	}
	if last[0] == '\n' {
		return size, nil
	}
	return lastLines(f, size, 1)
}

// lastLines returns where the last n lines before end begin. It reads backwards,
// so that the length of the file does not matter.
func lastLines(f io.ReaderAt, end int64, n int) (int64, error) {
	block := make([]byte, logBlock)
	// The end of the last line is none between two lines.
	at, found, newest := end, -1, end
	for at > 0 {
		size := min(int64(len(block)), at)
		at -= size
		if _, err := f.ReadAt(block[:size], at); err != nil && err != io.EOF {
			return 0, err
		}
		part := block[:size]
		if at+size == end && part[size-1] != '\n' {
			found = 0
		}
		for len(part) > 0 {
			i := bytes.LastIndexByte(part, '\n')
			if i < 0 {
				break
			}
			newest = at + int64(i)
			if found++; found == n {
				return newest + 1, nil
			}
			part = part[:i]
		}
		if newest-at >= longestLogLine {
			return at, nil
		}
	}
	return 0, nil
}

// skipLine returns where the next line begins.
func skipLine(f io.ReaderAt, at, end int64) (int64, error) {
	r := bufio.NewReaderSize(io.NewSectionReader(f, at, end-at), logBlock)
	for {
		part, err := r.ReadSlice('\n')
		at += int64(len(part))
		switch err {
		case nil, io.EOF:
			return at, nil
		case bufio.ErrBufferFull:
		default:
			return at, err
		}
	}
}

// eachLine calls yield for each line between two offsets, without its end. The
// text is valid until yield returns.
func eachLine(f io.ReaderAt, from, to int64, yield func([]byte) bool) error {
	r := bufio.NewReaderSize(io.NewSectionReader(f, from, to-from), logBlock)
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		text, ended := bytes.CutSuffix(part, []byte{'\n'})
		if len(long) > 0 || !ended && err == bufio.ErrBufferFull {
			long = append(long, text...)
			text = long
		}
		switch {
		case ended, err == bufio.ErrBufferFull && len(long) >= longestLogLine, err == io.EOF && len(text) > 0:
			if !yield(text) {
				return nil
			}
			long = long[:0]
		}
		if err != nil && err != bufio.ErrBufferFull {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// cause is an error without the path that it is reported with.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
