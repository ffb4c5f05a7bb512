package native

import "time"

// polling compares what units use with their MemoryMax=, once a second, while a unit runs
// that has one and no control group holds it to that.
type polling struct {
	families map[*family]bool
	timer    *time.Timer
	scanner  scanner
}

const pollEvery = time.Second

// add has a family polled, if that is needed and can be done.
func (m *polling) add(p *processes, f *family) {
	if f.limit < 0 || f.enforced || !canMeasure {
		return
	}
	if m.families == nil {
		m.families = map[*family]bool{}
	}
	m.families[f] = true
	if len(m.families) > 1 {
		return
	}
	if m.timer == nil {
		m.timer = time.AfterFunc(pollEvery, func() { m.poll(p) })
	} else {
		m.timer.Reset(pollEvery)
	}
}

func (m *polling) remove(f *family) {
	delete(m.families, f)
	if len(m.families) == 0 {
		m.stop()
	}
}

func (m *polling) stop() {
	if m.timer != nil {
		m.timer.Stop()
	}
}

func (m *polling) poll(p *processes) {
	p.mu.Lock()
	if p.closed || len(m.families) == 0 {
		p.mu.Unlock()
		return
	}
	whose := p.owners(&m.scanner.foreign, nil)
	groups := make(map[*family]string, len(m.families))
	search := false
	for f := range m.families {
		groups[f] = f.group
		search = search || f.group == ""
	}
	p.mu.Unlock()

	members := make(map[*family][]procStat, len(groups))
	for f, dir := range groups {
		if dir == "" {
			continue
		}
		for _, pid := range groupMembers(dir) {
			if s, ok := lookAt(pid); ok {
				members[f] = append(members[f], s)
			}
		}
	}
	if search {
		for _, q := range whose.search(m.scanner.snapshot(), m.scanner.environOf) {
			if f := whose.families[q.family]; groups[f] == "" {
				members[f] = append(members[f], q.procStat)
			}
		}
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	for f := range groups {
		if m.families[f] && !f.over && exceeds(members[f], f.limit) {
			f.over = true
			p.post(evOverMemory{unit: f.unit})
		}
	}
	if len(m.families) > 0 && !p.closed {
		m.timer.Reset(pollEvery)
	}
}

// exceeds reports whether processes use more than limit in all. What they share is counted
// for each by rss, which costs nothing, and once by pss, which is asked for only if it
// matters.
func exceeds(members []procStat, limit int64) bool {
	var sum int64
	for _, q := range members {
		sum += q.rss
	}
	if sum <= limit {
		return false
	}
	sum = 0
	for _, q := range members {
		n := pss(q.PID)
		if n < 0 {
			n = q.rss
		}
		sum += n
	}
	return sum > limit
}

// memory says how the MemoryMax= of a unit is enforced: "cgroup" or "polling"; "" if it has
// none, or if nothing can.
func (p *processes) memory(unit string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch f := p.families[unit]; {
	case f == nil || f.limit < 0 && !f.enforced:
		return ""
	case f.enforced:
		return "cgroup"
	case canMeasure:
		return "polling"
	}
	return ""
}

type usage struct {
	cpu      time.Duration // -1: unknown
	memory   int64         // bytes, -1: unknown
	tasks    int
	measured time.Time
	before   spent
}

// spent is how long processes have been on CPUs, at a time. Zero is none.
type spent struct {
	cpu time.Duration
	at  time.Time
}

// What may lie between two readings that a share of a CPU is computed from: the kernel
// counts in ticks, and what was a minute ago is of no interest now.
const (
	leastApart = 60 * time.Millisecond
	mostApart  = time.Minute
)

// note takes a reading and returns the one before it.
func (f *family) note(now spent) (before spent) {
	if !f.used[1].at.IsZero() && now.at.Sub(f.used[1].at) >= leastApart {
		f.used[0], f.used[1] = f.used[1], spent{}
	}
	if f.used[1].at.IsZero() {
		f.used[1] = now
	}
	if apart := now.at.Sub(f.used[0].at); f.used[0].at.IsZero() || apart > mostApart || now.cpu < f.used[0].cpu {
		return spent{}
	}
	return f.used[0]
}

// usage measures what units use at this moment. One that has no processes is not in the
// result.
func (p *processes) usage(units []string) map[string]usage {
	out := make(map[string]usage, len(units))
	p.mu.Lock()
	whose := p.owners(&p.measure.foreign, nil)
	search := make(map[*family]bool, len(units))
	groups := map[string]string{}
	for _, unit := range units {
		if f := p.families[unit]; f == nil {
			continue
		} else if f.enforced {
			groups[unit] = f.group
		} else {
			search[f] = true
		}
	}
	p.mu.Unlock()
	for unit, dir := range groups {
		if u, ok := groupUsage(dir); ok {
			u.measured = time.Now()
			out[unit] = u
		}
	}
	if len(search) > 0 {
		p.usageOf(search, whose, out)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for unit, u := range out {
		if f := p.families[unit]; f != nil && u.cpu >= 0 {
			u.before = f.note(spent{u.cpu, u.measured})
			out[unit] = u
		}
	}
	return out
}

// usageOf measures families whose processes must be searched for.
func (p *processes) usageOf(search map[*family]bool, whose *owners, out map[string]usage) {
	now := time.Now()
	for _, q := range whose.search(p.measure.snapshot(), p.measure.environOf) {
		f := whose.families[q.family]
		if !search[f] || q.zombie {
			continue
		}
		u, ok := out[f.unit]
		if !ok {
			u.measured = now
		}
		u.tasks += max(q.threads, 1)
		if q.rss < 0 {
			u.cpu, u.memory = -1, -1
		} else {
			u.cpu += time.Duration(q.cpu)
			u.memory += q.rss
		}
		out[f.unit] = u
	}
}

func microseconds(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
