package native

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// jobRequest is a job that is asked for, with what goes with it.
type jobRequest struct {
	unit *unit
	typ  jobType
	// alone leaves dependencies out, yield refuses to contradict what is under way.
	alone, yield bool
	// ripple restarts what depends on the unit with its start: an automatic restart.
	ripple bool
	queued func(*job) // told of each job
}

// transaction is all jobs that one request comes to, before they are installed: the
// transaction of systemd's src/core/transaction.c.
//
// What is required must be possible, or nothing is done. What is only wanted is left out
// if it cannot be done, with all that it would require for itself.
type transaction struct {
	c       *core
	r       jobRequest
	id      uint64
	entries []*entry
	wanted  []step         // yet to be tried
	without map[*unit]bool // starts that are left out to break a circle
	changed []entry        // what entries were before, to be undone
	circle  []*unit        // the way to the unit that is looked at
}

// entry is the job of one unit.
type entry struct {
	unit     *unit
	typ      jobType
	required bool
	// What has been followed: the dependencies of its start, and of its stop.
	started, stopped bool
	self             *entry // of a copy: the original
}

// step is a job that another one asks for.
type step struct {
	unit *unit
	typ  jobType
}

// errContradicted is the refusal of a job that yields.
var errContradicted = errors.New("it contradicts a job that is under way")

// transact carries a request out: it installs its jobs, and returns that of its unit.
func (c *core) transact(r jobRequest) (*job, error) {
	if c.ending != nil && r.typ != jobStop {
		return nil, errors.New("the supervisor is about to end")
	}
	t := &transaction{c: c, r: r}
	defer t.forget()
	anchor := step{r.unit, r.typ}
	if err := t.build([]step{anchor}, true); err != nil {
		return nil, err
	}
	if r.yield {
		for _, e := range t.entries {
			if j := e.unit.job; j != nil {
				if _, ok := mergeJobs(j.typ, e.typ); !ok {
					return nil, fmt.Errorf("%w: %s of %s", errContradicted, j.typ, e.unit.name)
				}
			}
		}
	}
	var first *job
	for _, e := range t.entries {
		j := c.install(e.unit, e.typ, r.alone)
		if e.unit == r.unit {
			first = j
		}
		if r.queued != nil {
			r.queued(j)
		}
	}
	return first, nil
}

// transactAll starts several units as one transaction, each as if something wanted it. It
// returns what is wrong with those that cannot be started.
func (c *core) transactAll(names []string) (refused []error) {
	t := &transaction{c: c}
	defer t.forget()
	var steps []step
	for _, name := range names {
		u := c.find(name)
		if err := startable(u); err != nil {
			refused = append(refused, err)
			continue
		}
		steps = append(steps, step{u, jobStart})
	}
	if err := t.build(steps, false); err != nil {
		return append(refused, err)
	}
	for _, e := range t.entries {
		c.install(e.unit, e.typ, false)
	}
	return refused
}

// typeOf returns the job that a unit is to have.
func (t *transaction) typeOf(u *unit) (jobType, bool) {
	if u.entry != nil {
		return u.entry.typ, true
	}
	if u.job != nil && !u.job.alone {
		return u.job.typ, true
	}
	return 0, false
}

// build collects the jobs. It begins again as long as there is a circle that can be
// broken.
func (t *transaction) build(steps []step, required bool) error {
	for {
		var err error
		if required {
			err = t.collect(steps, true)
		} else {
			t.wanted = steps
		}
		if err != nil {
			return err
		}
		for i := 0; i < len(t.wanted); i++ {
			_ = t.collect(t.wanted[i:i+1:i+1], false)
		}
		t.dropIdle()
		circle := t.findCircle()
		if circle == nil {
			return nil
		}
		victim := t.victim(circle)
		if victim == nil {
			return fmt.Errorf("the order of these units is a circle: %s", chain(circle))
		}
		t.c.log(victim, fmt.Sprintf("Found ordering cycle: %s. Its start is left out to break it.", chain(circle)))
		if t.without == nil {
			t.without = map[*unit]bool{}
		}
		t.without[victim] = true
		t.forget()
	}
}

// forget takes the entries off their units.
func (t *transaction) forget() {
	for _, e := range t.entries {
		e.unit.entry = nil
	}
	t.entries, t.wanted = nil, nil
}

// collect adds jobs with all that they require, or nothing of it.
func (t *transaction) collect(steps []step, required bool) error {
	entries, wanted := len(t.entries), len(t.wanted)
	t.changed = t.changed[:0]
	todo := steps
	for i := 0; i < len(todo); i++ {
		e, err := t.add(todo[i], required)
		if err != nil {
			for _, was := range slices.Backward(t.changed) {
				*was.self = was
			}
			for _, e := range t.entries[entries:] {
				e.unit.entry = nil
			}
			t.entries, t.wanted = t.entries[:entries], t.wanted[:wanted]
			return err
		}
		if !t.r.alone {
			todo = t.follow(e, todo)
		}
	}
	return nil
}

// add enters one job.
func (t *transaction) add(s step, required bool) (*entry, error) {
	u := s.unit
	if !u.linked {
		t.c.link(u)
	}
	if s.typ == jobStart || s.typ == jobRestart {
		if err := startable(u); err != nil {
			return nil, err
		}
		if t.without[u] {
			return nil, fmt.Errorf("%s would close a circle", u.name)
		}
	}
	e := u.entry
	if e == nil {
		e = &entry{unit: u, typ: s.typ, required: required}
		u.entry = e
		t.entries = append(t.entries, e)
		return e, nil
	}
	typ, ok := mergeJobs(e.typ, s.typ)
	if !ok {
		return nil, fmt.Errorf("%s would have to be started and stopped: what is required contradicts itself", u.name)
	}
	if typ != e.typ || required && !e.required {
		was := *e
		was.self = e
		t.changed = append(t.changed, was)
		e.typ, e.required = typ, e.required || required
	}
	return e, nil
}

// follow adds what a job asks for: todo has to be done with it, t.wanted if it can.
func (t *transaction) follow(e *entry, todo []step) []step {
	u := e.unit
	if (e.typ == jobStart || e.typ == jobRestart) && !e.started {
		t.remember(e)
		e.started = true
		for _, o := range u.needs {
			todo = append(todo, step{o, jobStart})
		}
		for _, o := range u.checks {
			todo = append(todo, step{o, jobVerify})
		}
		for _, o := range u.conflicts {
			todo = append(todo, step{o, jobStop})
		}
		for _, o := range u.pulls {
			t.wanted = append(t.wanted, step{o, jobStart})
		}
		for _, o := range u.conflictedBy {
			t.wanted = append(t.wanted, step{o, jobStop})
		}
	}
	ripple := t.r.ripple && u == t.r.unit
	if (stops(e.typ) || ripple) && !e.stopped {
		t.remember(e)
		e.stopped = true
		for _, list := range [][]*unit{u.parts, u.neededBy} {
			for _, o := range list {
				if e.typ == jobStop {
					todo = append(todo, step{o, jobStop})
				} else if a := o.state.active(); !a.isDown() && a != deactivating {
					todo = append(todo, step{o, jobRestart})
				}
			}
		}
	}
	return todo
}

func (t *transaction) remember(e *entry) {
	was := *e
	was.self = e
	t.changed = append(t.changed, was)
}

// dropIdle leaves out jobs that have nothing to do, but for that which was asked for.
func (t *transaction) dropIdle() {
	t.entries = slices.DeleteFunc(t.entries, func(e *entry) bool {
		u := e.unit
		if u == t.r.unit {
			return false
		}
		if u.job != nil {
			if _, ok := mergeJobs(u.job.typ, e.typ); !ok {
				return false
			}
		}
		idle := false
		switch a := u.state.active(); e.typ {
		case jobStart, jobVerify:
			idle = a.isUp()
		case jobStop:
			idle = a.isDown()
		}
		if idle {
			u.entry = nil
		}
		return idle
	})
}

// findCircle returns units whose jobs would wait for each other, nil if there are none.
func (t *transaction) findCircle() []*unit {
	if t.r.alone {
		return nil
	}
	t.c.txs++
	t.id, t.circle = t.c.txs, t.circle[:0]
	for _, e := range t.entries {
		if circle := t.look(e.unit); circle != nil {
			return circle
		}
	}
	return nil
}

// look goes along what u waits for; see core.obstacle.
func (t *transaction) look(u *unit) []*unit {
	typ, busy := t.typeOf(u)
	if !busy {
		return nil
	}
	if u.seen == t.id {
		if i := slices.Index(t.circle, u); i >= 0 {
			return slices.Clone(t.circle[i:])
		}
		return nil
	}
	u.seen = t.id
	t.circle = append(t.circle, u)
	if !stops(typ) {
		for _, o := range u.after {
			if circle := t.look(o); circle != nil {
				return circle
			}
		}
	}
	for _, o := range u.before {
		if other, busy := t.typeOf(o); busy && stops(other) {
			if circle := t.look(o); circle != nil {
				return circle
			}
		}
	}
	t.circle = t.circle[:len(t.circle)-1]
	return nil
}

// victim chooses the start that is left out to break a circle: one that nothing requires.
func (t *transaction) victim(circle []*unit) *unit {
	for _, u := range circle {
		if e := u.entry; e != nil && !e.required && e.typ == jobStart {
			return u
		}
	}
	return nil
}

// chain writes a circle down.
func chain(circle []*unit) string {
	var list []string
	for _, u := range circle {
		list = append(list, u.name)
	}
	return strings.Join(append(list, circle[0].name), " after ")
}
