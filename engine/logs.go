package engine

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"
	"time"
)

// LogSource is one place where an app's lines are: the engine's own log, or a
// file.
type LogSource struct {
	App string
	// Unit wrote the lines; it is the template where instances write to one file.
	Unit   string
	Stream Stream
	File   string // "" is the engine's own log
	// Format is the app's log_date_format: of the stamps in a file, and of those to
	// be shown with the lines of the engine's log.
	Format string
	// Keep is how many of the files that the engine rotates File to are a part of it:
	// File.1 is what was before File.
	Keep int
	// From is how much of File there was before the lines that are meant.
	From int64
	// JSON says that the file holds PM2's records, one a line.
	JSON bool
	// Manager says that of the engine's log only its own lines about the unit are
	// meant: what the app writes goes elsewhere.
	Manager bool
}

// LogLine is one line of an app.
type LogLine struct {
	LogEntry
	App string
	// Dated says that Time is the line's own, or when it was read as it came.
	// Otherwise it is that of a line before it, or when the file was last written.
	Dated bool
	// Stamp is the time in the app's own format, if it has one: as the file has it.
	Stamp string
	// Raw is the whole line where Text is only a part of it.
	Raw []byte
}

// Instance returns the instance of the unit that wrote the line, "" if there is
// none or it is not known.
func (l *LogLine) Instance() string { return instanceOf(l.Unit) }

// LogOptions says which lines are asked for.
type LogOptions struct {
	// Lines is how many of the last lines of each app; negative: all.
	Lines  int
	Since  time.Time // zero: any time
	Until  time.Time
	Follow bool
	// Stream limits the lines to one output. Sources that have both as one are not
	// limited.
	Stream Stream
	// NoManager leaves the engine's own lines out.
	NoManager bool
	// Idle, if there is one, is called each time there is nothing more to read at
	// the moment.
	Idle func()
}

// LogFileError is the error of one file that cannot be read; the others still are.
type LogFileError struct {
	Path string
	Err  error
}

func (e *LogFileError) Error() string { return "cannot read " + e.Path + ": " + e.Err.Error() }

func (e *LogFileError) Unwrap() error { return e.Err }

// Logs returns the lines of sources as one sequence, and then, with Follow, those
// that are added until ctx ends. An error that is a *LogFileError is about one
// file, any other ends the sequence.
//
// Lines are in order of time. What has no time of its own follows the line before
// it in its file; a file without any times counts as written when it was last
// changed. The order within a source is never changed, and lines of the same time
// are in the order of their sources.
func Logs(ctx context.Context, e Engine, sources []LogSource, o LogOptions) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		r := newLogReader(e, sources, o)
		defer r.close()
		read := r.tail
		if o.Lines < 0 {
			read = r.all
		}
		if o.Lines != 0 && !read(ctx, yield) {
			return
		}
		if o.Follow {
			r.follow(ctx, yield)
		}
	}
}

// logReader reads sources.
type logReader struct {
	e       Engine
	o       LogOptions
	journal map[string]LogSource // by unit
	units   []string             // of the journal, in order
	files   []*logFile
	// seen is the newest that was read of the journal, for what follows.
	seen journalMark
}

func newLogReader(e Engine, sources []LogSource, o LogOptions) *logReader {
	r := &logReader{e: e, o: o, journal: map[string]LogSource{}, seen: journalMark{at: time.Now()}}
	if o.Lines != 0 && !o.Since.IsZero() {
		r.seen.at = o.Since
	}
	for _, s := range sources {
		switch {
		case o.Stream != Either && s.Stream != Either && s.Stream != o.Stream:
		case s.File != "":
			r.files = append(r.files, &logFile{source: s, o: &r.o})
		case s.Manager && (o.NoManager || o.Stream != Either):
		default:
			r.journal[s.Unit] = s
			r.units = append(r.units, s.Unit)
		}
	}
	for _, f := range r.files {
		f.open() // now, so that what is added while others are read is told later
	}
	return r
}

func (r *logReader) close() {
	for _, f := range r.files {
		f.close()
	}
}

// line makes a line of an entry of the engine's log, if it is asked for.
func (r *logReader) line(entry LogEntry) (LogLine, bool) {
	source, ok := r.journal[entry.Unit]
	if !ok || entry.Manager && (r.o.NoManager || r.o.Stream != Either) || !entry.Manager && source.Manager {
		return LogLine{}, false
	}
	l := LogLine{LogEntry: entry, App: source.App, Dated: true}
	if !entry.Manager {
		if l.Stream == Either {
			l.Stream = source.Stream
		}
		if source.Format != "" {
			l.Stamp = FormatTime(entry.Time.Local(), source.Format)
		}
	}
	return l, true
}

// entries reads the engine's log once, without following it.
func (r *logReader) entries(ctx context.Context, lines int) iter.Seq2[LogEntry, error] {
	if len(r.units) == 0 {
		return func(func(LogEntry, error) bool) {}
	}
	return r.e.Logs(ctx, LogQuery{Units: r.units, Since: r.o.Since, Until: r.o.Until, Lines: lines})
}

// all yields every line that is there.
func (r *logReader) all(ctx context.Context, yield func(LogLine, error) bool) bool {
	sequences := []iter.Seq2[LogLine, error]{func(yield func(LogLine, error) bool) {
		for entry, err := range r.entries(ctx, 0) {
			if err != nil {
				yield(LogLine{}, err)
				return
			}
			r.seen.note(entry)
			if l, ok := r.line(entry); ok && !yield(l, nil) {
				return
			}
		}
	}}
	for _, f := range r.files {
		sequences = append(sequences, f.lines)
	}
	return mergeLines(sequences, yield)
}

// tail yields the last lines of each app.
func (r *logReader) tail(ctx context.Context, yield func(LogLine, error) bool) bool {
	journal, err := r.journalTail(ctx)
	if err != nil {
		yield(LogLine{}, err)
		return false
	}
	sequences := []iter.Seq2[LogLine, error]{sequenceOf(journal)}
	for _, f := range r.files {
		lines, err := f.tail(r.o.Lines)
		if err != nil && !yield(LogLine{}, err) {
			return false
		}
		sequences = append(sequences, sequenceOf(lines))
	}
	var merged []LogLine
	count := map[string]int{}
	mergeLines(sequences, func(l LogLine, _ error) bool {
		merged = append(merged, l)
		count[l.App]++
		return true
	})
	for _, l := range merged {
		if count[l.App]--; count[l.App] < r.o.Lines && !yield(l, nil) {
			return false
		}
	}
	return true
}

// journalTail returns the last lines of each unit that are asked for. The engine
// counts its own lines too; where they are left out it may take more of them.
func (r *logReader) journalTail(ctx context.Context) ([]LogLine, error) {
	for ask := r.o.Lines; ; ask *= 4 {
		var lines []LogLine
		got, kept := map[string]int{}, map[string]int{}
		r.seen.reset()
		for entry, err := range r.entries(ctx, ask) {
			if err != nil {
				return nil, err
			}
			r.seen.note(entry)
			got[entry.Unit]++
			if l, ok := r.line(entry); ok {
				kept[entry.Unit]++
				lines = append(lines, l)
			}
		}
		short := slices.ContainsFunc(r.units, func(unit string) bool {
			return got[unit] >= ask && kept[unit] < r.o.Lines
		})
		if !short {
			return lines, nil
		}
	}
}

// journalMark is how far the engine's log was read: a time, and the entries of
// that very moment.
type journalMark struct {
	at   time.Time
	last []LogEntry
}

func (m *journalMark) reset() { m.last = nil }

func (m *journalMark) note(e LogEntry) {
	switch {
	case e.Time.After(m.at) || len(m.last) == 0:
		m.at, m.last = e.Time, append(m.last[:0], e)
	case e.Time.Equal(m.at):
		m.last = append(m.last, e)
	}
}

// has reports whether an entry was read already, and forgets it.
func (m *journalMark) has(e LogEntry) bool {
	if e.Time.Before(m.at) {
		return true
	}
	i := slices.IndexFunc(m.last, func(o LogEntry) bool {
		return o.Time.Equal(e.Time) && o.Unit == e.Unit && o.PID == e.PID && o.Manager == e.Manager && string(o.Text) == string(e.Text)
	})
	if i < 0 {
		return false
	}
	m.last = slices.Delete(m.last, i, i+1)
	return true
}

// follow yields what is added.
func (r *logReader) follow(ctx context.Context, yield func(LogLine, error) bool) {
	type item struct {
		line LogLine
		err  error
		done bool // there will be no more of the engine's log
	}
	inner, cancel := context.WithCancel(ctx)
	items := make(chan item, 256)
	send := func(i item) bool {
		select {
		case items <- i:
			return true
		case <-inner.Done():
			return false
		}
	}
	var running sync.WaitGroup
	// What was read before the end is told, lines that have no end yet among it.
	goOn := true
	defer func() {
		cancel()
		running.Wait()
		close(items)
		for i := range items {
			goOn = goOn && i.err == nil && !i.done && yield(i.line, nil)
		}
		for _, f := range r.files {
			goOn = goOn && f.end(yield)
		}
	}()

	open := 0
	start := func(work func()) {
		open++
		running.Go(work)
	}
	if len(r.units) > 0 {
		start(func() {
			for entry, err := range r.e.Logs(inner, LogQuery{Units: r.units, Since: r.seen.at, Follow: true}) {
				if err != nil {
					send(item{err: err, done: true})
					return
				}
				if r.seen.has(entry) {
					continue
				}
				if l, ok := r.line(entry); ok && !send(item{line: l}) {
					return
				}
			}
			send(item{done: true})
		})
	}
	if len(r.files) > 0 {
		start(func() {
			followFiles(inner, r.files, func(l LogLine, err error) bool { return send(item{line: l, err: err}) })
		})
	}
	for open > 0 {
		var next item
		select {
		case next = <-items:
		default:
			if r.o.Idle != nil {
				r.o.Idle()
			}
			select {
			case next = <-items:
			case <-ctx.Done():
				return
			}
		}
		if next.done {
			open--
		}
		if next.done && (next.err == nil || ctx.Err() != nil) {
			continue
		}
		if goOn = yield(next.line, next.err); !goOn {
			return
		}
	}
}

func sequenceOf(lines []LogLine) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		for _, l := range lines {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// mergeLines yields sequences as one, by time. A line is never before those that
// precede it in its own sequence: its time counts as theirs if it is lower.
func mergeLines(sequences []iter.Seq2[LogLine, error], yield func(LogLine, error) bool) bool {
	type head struct {
		line  LogLine
		at    time.Time
		order int
		next  func() (LogLine, error, bool)
	}
	var heads []*head // sorted by time and order
	fill := func(h *head) (ok, goOn bool) {
		for {
			line, err, ok := h.next()
			if !ok {
				return false, true
			}
			if err != nil {
				if !yield(LogLine{}, err) {
					return false, false
				}
				continue
			}
			if h.line = line; line.Time.After(h.at) {
				h.at = line.Time
			}
			return true, true
		}
	}
	place := func(h *head) {
		i, _ := slices.BinarySearchFunc(heads, h, func(a, b *head) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.order, b.order))
		})
		heads = slices.Insert(heads, i, h)
	}
	for i, sequence := range sequences {
		next, stop := iter.Pull2(sequence)
		defer stop()
		h := &head{order: i, next: next}
		ok, goOn := fill(h)
		if !goOn {
			return false
		}
		if ok {
			place(h)
		}
	}
	for len(heads) > 0 {
		h := heads[0]
		if !yield(h.line, nil) {
			return false
		}
		before := h.at
		ok, goOn := fill(h)
		switch {
		case !goOn:
			return false
		case !ok:
			heads = heads[1:]
		case h.at != before && len(heads) > 1:
			heads = heads[1:]
			place(h)
		}
	}
	return true
}
