package native

import (
	"os"
	"slices"
	"syscall"
	"time"
)

// search looks for the processes of units that neither the kernel nor wait4(2) tells of.
// It reads the whole of /proc, which at 600 processes takes 5 ms: so one search serves all
// who wish for one, on a goroutine that exists while it works.
type search struct {
	// sweeps are the invocations of runs that have ended: what they left behind is to be
	// ended too. Swept is when that was looked for last.
	sweeps  []string
	swept   time.Time
	timer   *time.Timer
	at      time.Time // of the timer, zero if it is not set
	working bool
	scanner scanner
}

// wished is what a search is to do for a family: to fulfil the first so many wishes, if
// they are still those of this run.
type wished struct {
	wishes     int
	invocation string
}

// signalWish is a signal for all processes of a family, but for except.
type signalWish struct {
	signal syscall.Signal
	except *tracked
}

const (
	// batch is how long a search waits for others to share it: as long as the signals for
	// a hundred units take.
	batch = time.Millisecond
	// Pauses between two searches for the same family.
	shortPause = 2 * time.Millisecond
	longPause  = 500 * time.Millisecond
	// Between the end of a run and the search for what it left, and between two of these:
	// apps that crash all the time do not make the supervisor search all the time.
	firstSweep = 20 * time.Millisecond
	nextSweep  = time.Second
	// grace is what a sweep leaves between SIGTERM and SIGKILL.
	grace = time.Second
)

// searchSoon has a search made for what is wished for now.
func (p *processes) searchSoon() { p.searchAt(time.Now().Add(batch)) }

// searchLater has a family searched for, with growing pauses.
func (p *processes) searchLater(f *family) {
	if f.unsure || len(f.wishes) > 0 {
		p.searchSoon()
		return
	}
	if f.next.IsZero() {
		f.pause = min(max(2*f.pause, shortPause), longPause)
		f.next = time.Now().Add(f.pause)
	}
	p.searchAt(f.next)
}

// sweepLater has a search made for what a run of f may have left outside of its sessions.
func (p *processes) sweepLater(f *family) {
	p.search.sweeps = append(p.search.sweeps, f.invocation)
	p.searchAt(later(time.Now().Add(firstSweep), p.search.swept.Add(nextSweep)))
}

// sweep has a search made for what a run has left that an earlier supervisor has seen the
// end of.
func (p *processes) sweep(invocation string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orphans = true
	p.search.sweeps = append(p.search.sweeps, invocation)
	p.searchAt(time.Now().Add(firstSweep))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// searchAt sets the timer, unless it is set for an earlier time. What works sets it again
// itself.
func (p *processes) searchAt(at time.Time) {
	s := &p.search
	if p.closed || s.working || !s.at.IsZero() && !at.Before(s.at) {
		return
	}
	s.at = at
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(at), p.searchNow)
	} else {
		s.timer.Reset(time.Until(at))
	}
}

func (s *search) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// searchNow reads the processes and does what was wished for.
func (p *processes) searchNow() {
	p.mu.Lock()
	s := &p.search
	if p.closed || s.working {
		p.mu.Unlock()
		return
	}
	s.working, s.at = true, time.Time{}
	due := s.sweeps
	if time.Since(s.swept) < nextSweep {
		due = nil
	} else if len(due) > 0 {
		s.sweeps, s.swept = nil, time.Now()
	}
	asked := map[*family]wished{}
	for _, f := range p.families {
		if len(f.wishes) > 0 || p.awaited[f] && f.group == "" && len(f.roots) == 0 {
			asked[f] = wished{len(f.wishes), f.invocation}
		}
		f.next = time.Time{}
	}
	whose := p.owners(&s.scanner.foreign, due)
	p.mu.Unlock()

	var all []found
	if len(asked)+len(due) > 0 {
		all = whose.search(s.scanner.snapshot(), s.scanner.environOf)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	s.working = false
	if p.closed {
		return
	}
	p.fulfil(whose, all, asked)
	clean(whose, all)
	p.settleAll()
	for _, f := range p.families {
		if len(f.wishes) > 0 {
			p.searchSoon()
			break
		}
	}
	if len(s.sweeps) > 0 {
		p.searchAt(s.swept.Add(nextSweep))
	}
}

// owners notes whose processes there are, those of runs that have ended behind the
// families. The caller holds the lock.
func (p *processes) owners(foreign *foreigners, ended []string) *owners {
	o := &owners{
		families: make([]*family, 0, len(p.families)), roots: make(map[int]int, len(p.byPID)),
		sessions: map[int]int{}, outside: map[proc]int{}, invocations: make(map[string]int, len(p.families)),
		orphans: p.orphans, self: os.Getpid(), foreign: foreign, adoptions: p.adoptions,
	}
	for _, f := range p.families {
		at := len(o.families)
		o.families = append(o.families, f)
		for _, t := range f.roots {
			o.roots[t.PID] = at
		}
		for _, id := range f.sessions {
			o.sessions[id] = at
		}
		for _, q := range f.outside {
			o.outside[q] = at
		}
		if f.invocation != "" {
			o.invocations[f.invocation] = at
		}
	}
	for i, invocation := range ended {
		if _, current := o.invocations[invocation]; !current {
			o.invocations[invocation] = len(o.families) + i
		}
	}
	return o
}

// fulfil sends the signals that were wished for, and notes what is left of families.
func (p *processes) fulfil(whose *owners, all []found, asked map[*family]wished) {
	for f, w := range asked {
		if f.invocation != w.invocation {
			delete(asked, f) // it has begun anew meanwhile
			continue
		}
		for _, wish := range f.wishes[:w.wishes] {
			p.signalSessions(f, wish)
		}
		f.outside, f.unsure = nil, false
	}
	left := make(map[*family]bool, len(asked))
	for _, q := range all {
		if q.family >= len(whose.families) || q.zombie {
			continue
		}
		f := whose.families[q.family]
		w, ok := asked[f]
		if !ok {
			continue
		}
		if _, root := whose.roots[q.PID]; !root {
			left[f] = true
			if !whose.knows(q.group) {
				f.outside = append(f.outside, q.proc)
			}
		}
		for _, wish := range f.wishes[:w.wishes] {
			leader := p.byPID[q.group]
			if (leader == nil || leader == wish.except) && (wish.except == nil || q.PID != wish.except.PID) {
				_ = signalExactly(q.proc, wish.signal)
			}
		}
		if f.kills && p.awaited[f] && w.wishes == 0 {
			_ = signalExactly(q.proc, syscall.SIGKILL) // it was made after the others were killed
		}
	}
	for f, w := range asked {
		f.wishes = slices.Clip(f.wishes[w.wishes:])
		if !left[f] && len(f.roots) == 0 {
			f.sessions = nil // there are zombies in them at most, which somebody fails to wait for
		}
	}
}

// signalSessions signals the process groups of a family's roots, in which is what was forked
// since the search too.
func (p *processes) signalSessions(f *family, w signalWish) {
	for _, t := range f.roots {
		if t != w.except && (t.child || runs(t.proc)) {
			_ = syscall.Kill(-t.PID, w.signal)
		}
	}
}

// clean ends what was left behind by runs that have ended.
func clean(whose *owners, all []found) {
	var doomed []proc
	for _, q := range all {
		if q.family < len(whose.families) || q.zombie {
			continue
		}
		_ = signalExactly(q.proc, syscall.SIGTERM)
		_ = signalExactly(q.proc, syscall.SIGCONT)
		doomed = append(doomed, q.proc)
	}
	if len(doomed) == 0 {
		return
	}
	time.AfterFunc(grace, func() {
		for _, q := range doomed {
			_ = signalExactly(q, syscall.SIGKILL)
		}
	})
}
