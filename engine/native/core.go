package native

import (
	"math/rand/v2"
	"slices"
	"time"

	"gm/engine"
)

// core is every unit and job, and all that is decided about them. It touches nothing:
// what happens comes in by step, what is to be done goes out as effects.
//
// A request becomes a transaction (transaction.go): the jobs of all units that it
// concerns. Jobs run in the order that units declare (job.go) and move the state machine
// of their unit (service.go, timer.go, socket_unit.go); each change of a state is looked at
// by the unit's job, by the timers and sockets that start the unit, and by those bound to it.
type core struct {
	// holds evaluates a condition of a unit, invocation names a run of one, and random
	// returns a number below n: what a step depends on beside the time and the event.
	holds      func(condition) bool
	invocation func() string
	random     func(n int64) int64

	lib   *library
	units map[string]*unit // by name, and by alias
	// By template: instances that links name, and those in memory.
	linked map[string][]string
	made   map[string][]*unit

	now     time.Time
	began   time.Time // the first step: of OnStartupSec=
	effects []effect
	replies []effect // told last, when what they answer has been said
	touched []*unit

	last   token
	tokens map[token]*unit // of processes, timers and sockets that something may be told of
	queue  []*job          // to be run as soon as their order allows
	later  []func()        // what must not happen in the middle of a change
	txs    uint64

	pulls   map[callID]map[*unit]*outcome
	pulled  []callID // the keys of pulls, the oldest first
	noted   map[string]bool
	adopted adopted
	ending  *shutdown
}

func newCore(holds func(condition) bool, invocation func() string) *core {
	return &core{
		holds: holds, invocation: invocation, random: rand.Int64N,
		lib: newLibrary("", false), units: map[string]*unit{}, linked: map[string][]string{}, made: map[string][]*unit{},
		tokens: map[token]*unit{}, pulls: map[callID]map[*unit]*outcome{}, noted: map[string]bool{},
	}
}

// step takes an event and returns what is to be done, in this order.
func (c *core) step(now time.Time, ev event) []effect {
	c.now = now
	if c.began.IsZero() {
		c.began = now
	}
	c.handle(ev)
	c.drain()
	for _, u := range c.touched {
		u.touched = false
		c.emit(effChanged{u.name})
	}
	c.touched = c.touched[:0]
	out := append(c.effects, c.replies...)
	c.effects, c.replies = nil, nil
	return out
}

func (c *core) handle(ev event) {
	switch ev := ev.(type) {
	case evLoaded:
		c.load(ev.lib)
	case evJob:
		c.submit(ev.job, func(err error) { c.reply(ev.call, err) })
	case evPull:
		c.pull(ev)
	case evJoin:
		c.join(ev)
	case evReset:
		c.reset(ev)
	case evSpawned:
		c.onSpawned(ev)
	case evExited:
		c.onExited(ev.token, ev.exit)
	case evEmptied:
		if u := c.units[ev.unit]; u != nil && u.service != nil {
			c.emptied(u)
		}
	case evNotified:
		if u := c.units[ev.unit]; u != nil && u.service != nil {
			c.notified(u, ev)
		}
	case evTimeout:
		c.onTimeout(ev.token)
	case evIncoming:
		if u := c.units[ev.unit]; u != nil && u.socket != nil {
			c.incoming(u)
		}
	case evOverMemory:
		if u := c.units[ev.unit]; u != nil && u.service != nil {
			c.overMemory(u, ev.killed)
		}
	case evClockSet:
		c.clockSet()
	case evAdopted:
		c.adopt(ev)
	case evBoot:
		c.boot()
	case evShutdown:
		c.endAll(ev.call)
	}
}

// unit is one unit in memory: one that had a job, was adopted, or is named by another.
type unit struct {
	name string
	kind kind
	// def is what the files say now, nil if there are none. ran is what the unit runs by:
	// the definition it was started with, nil when it is down.
	def, ran *definition
	digest   string // of the definition it was started with
	linked   bool   // its dependencies are in the lists below
	touched  bool

	state substate
	since time.Time // when Active became what it is
	up    time.Time // when it left the inactive states, and when it came back to them
	down  time.Time

	job    *job
	entry  *entry // in the transaction that is being made
	seen   uint64 // the transaction that looked for circles here
	starts starts

	service *service
	timer   *timerRun
	socket  *socketRun

	// What the unit depends on, and what depends on it.
	pulls, needs, bindsTo, checks, conflicts []*unit // Wants=; Requires= and BindsTo=; …; Requisite=
	neededBy, boundBy, parts, conflictedBy   []*unit // neededBy has those of Requisite= too
	after, before                            []*unit
	triggers, triggeredBy                    []*unit // of timers and sockets
}

// runs returns the definition that a unit runs by or would be started by; nil if it has none.
func (u *unit) runs() *definition {
	if u.ran != nil {
		return u.ran
	}
	return u.def
}

// builtin reports whether a unit is one of systemd's own targets that nobody has written.
func (u *unit) builtin() bool {
	return u.kind == kindTarget && u.def != nil && u.def.fragment == "" && u.def.load == "loaded"
}

// set brings a unit into another state, and has everybody look at it who is concerned.
func (c *core) set(u *unit, s substate) {
	if s == u.state {
		return
	}
	from, to := u.state.active(), s.active()
	u.state = s
	if from != to {
		u.since = c.now
	}
	switch {
	case from.isDown() && !to.isDown():
		u.up = c.now
	case !from.isDown() && to.isDown():
		u.down = c.now
	}
	c.touch(u)
	expected := u.job != nil && stops(u.job.typ)
	c.progress(u)
	if to.isDown() && !from.isDown() && !expected && !u.returns() {
		c.stopBound(u)
	}
	c.inform(u)
}

// returns reports whether a unit that comes down is about to be started again.
func (u *unit) returns() bool { return u.service != nil && u.service.returns }

// stopBound stops what cannot be there without u: BindsTo=.
func (c *core) stopBound(u *unit) {
	for _, o := range u.boundBy {
		if !o.state.active().isDown() && o.state.active() != deactivating {
			c.later = append(c.later, func() { _, _ = c.transact(jobRequest{unit: o, typ: jobStop}) })
		}
	}
}

// inform tells the timers and sockets that start a unit that it or its job has changed.
func (c *core) inform(u *unit) {
	for _, t := range u.triggeredBy {
		switch t.kind {
		case kindTimer:
			c.timerInformed(t)
		case kindSocket:
			c.socketInformed(t, u)
		}
	}
}

func (c *core) touch(u *unit) {
	if !u.touched {
		u.touched = true
		c.touched = append(c.touched, u)
	}
}

func (c *core) emit(e effect) { c.effects = append(c.effects, e) }

func (c *core) log(u *unit, text string) { c.emit(effLog{u.name, text}) }

func (c *core) reply(call callID, err error) {
	if call != 0 {
		c.replies = append(c.replies, effReply{call, err})
	}
}

// newToken names something of a unit that will be told of.
func (c *core) newToken(u *unit) token {
	c.last++
	c.tokens[c.last] = u
	return c.last
}

// arm sets a timer that ends at a time.
func (c *core) arm(u *unit, at time.Time, wall bool) token {
	t := c.newToken(u)
	c.emit(effArm{t, at, wall})
	return t
}

func (c *core) disarm(t *token) {
	if *t != 0 {
		delete(c.tokens, *t)
		c.emit(effDisarm{*t})
		*t = 0
	}
}

// onTimeout finds out whose timer it is that has ended.
func (c *core) onTimeout(t token) {
	u := c.tokens[t]
	if u == nil {
		if t != 0 && t == c.adopted.token {
			c.resume()
		}
		return
	}
	delete(c.tokens, t)
	switch {
	case u.timer != nil && (t == u.timer.wall || t == u.timer.mono):
		c.elapse(u, t)
	case u.service != nil && t == u.service.watchdog:
		u.service.watchdog = 0
		c.watchdogEnded(u)
	case u.service != nil && t == u.service.timer:
		u.service.timer = 0
		c.timedOut(u)
	}
}

// onSpawned finds out whose process or socket it is that was made or not.
func (c *core) onSpawned(ev evSpawned) {
	switch u := c.tokens[ev.token]; {
	case u == nil:
	case u.socket != nil:
		c.opened(u, ev.token, ev.err)
	case u.service != nil:
		c.spawned(u, ev)
	}
}

func (c *core) onExited(t token, x exitStatus) {
	u := c.tokens[t]
	if u == nil || u.service == nil {
		return
	}
	delete(c.tokens, t)
	if x.at.IsZero() {
		x.at = c.now
	}
	switch t {
	case u.service.main.token:
		c.mainExited(u, x)
	case u.service.control.token:
		c.controlExited(u, x)
	}
}

// reset clears the failed state and the start counter of a unit.
func (c *core) reset(ev evReset) {
	if u := c.units[ev.unit]; u != nil {
		c.resetFailed(u)
	}
	c.reply(ev.call, nil)
}

func (c *core) resetFailed(u *unit) {
	u.starts = starts{}
	if u.service != nil {
		u.service.restarts = 0
		if u.state == stateFailed {
			u.service.result = resultSuccess
		}
		c.touch(u)
	}
	if u.socket != nil {
		u.socket.result = resultSuccess
	}
	if u.state == stateFailed {
		c.set(u, stateDead)
	}
}

// state returns a unit's state but for what must be measured (CPU, Memory, Measured, Tasks).
func (c *core) state(name string) (engine.UnitState, bool) {
	u := c.units[name]
	if u == nil {
		d := c.lookup(name)
		if d == nil {
			return engine.UnitState{}, false
		}
		u = &unit{name: d.name, kind: d.kind, def: d} // asking makes no unit
		if u.builtin() {
			u.state, u.since = stateActive, c.began
		}
	}
	d := u.runs()
	if d == nil && u.state == stateDead {
		return engine.UnitState{}, false
	}
	s := engine.UnitState{
		Name: u.name, Load: "not-found", Active: u.state.active().String(), Sub: u.state.String(),
		Since: u.since, CPU: -1, Memory: -1,
	}
	if u.def != nil {
		s.Load = u.def.load
	}
	if d != nil {
		s.Fragment, s.DropIns = d.fragment, d.dropIns
	}
	s.Stale = u.stale()
	if u.service != nil {
		u.service.describe(&s, d)
	}
	if u.timer != nil {
		s.Next = u.timer.next
	}
	if u.socket != nil {
		s.Result = u.socket.result
	}
	return s, true
}

// stale reports whether a unit runs by files that are no more.
func (u *unit) stale() bool {
	return !u.state.active().isDown() && !u.builtin() && (u.def == nil || u.def.digest != u.digest)
}

// expand returns the names of the units that are meant by name: a template's instances that are
// pulled in by a link, run or failed; all that run or failed for engine.Every; else the unit
// itself if there is one.
func (c *core) expand(name string) []string {
	if name == engine.Every {
		var names []string
		for unit, u := range c.units {
			if unit == u.name && u.state != stateDead {
				names = append(names, unit)
			}
		}
		slices.Sort(names)
		return names
	}
	if !isTemplate(name) {
		if u := c.units[name]; u != nil && (u.runs() != nil || u.state != stateDead) || u == nil && c.lookup(name) != nil {
			return []string{name}
		}
		return nil
	}
	names := slices.Clone(c.linked[name])
	for _, u := range c.made[name] {
		if u.state != stateDead || u.job != nil {
			names = append(names, u.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// record returns what is to be saved of a unit; false if nothing is.
func (c *core) record(name string) (record, bool) {
	u := c.units[name]
	if u == nil || u.builtin() {
		return record{}, false
	}
	// It has a job as soon as all units are known.
	begins := c.adopted.token != 0 && u.state == stateDead && u.service != nil && u.service.afresh
	if u.state == stateDead && u.job == nil && !begins && (u.down.IsZero() || u.def == nil) {
		return record{}, false
	}
	r := record{
		Unit: u.name, Active: u.state.active().String(), Sub: u.state.String(),
		Since: u.since, Starts: u.starts.at, Digest: u.digest,
	}
	switch {
	case u.job != nil:
		r.Job = u.job.typ.String()
	case begins:
		r.Job = jobStart.String()
	}
	if u.service != nil {
		u.service.note(&r)
	}
	if u.timer != nil {
		r.Last = u.timer.last
	}
	if u.socket != nil {
		r.Result = u.socket.result
	}
	return r, true
}

// running returns the units that have processes or tasks, sorted.
func (c *core) running() []string {
	var names []string
	for name, u := range c.units {
		if name == u.name && u.service != nil && (u.service.main.there() || u.service.control.there()) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// definition returns the definition that a unit runs by (the one it was started with), or
// would be started by.
func (c *core) definition(name string) (*definition, bool) {
	var d *definition
	if u := c.units[name]; u != nil {
		d = u.runs()
	} else {
		d = c.lookup(name)
	}
	return d, d != nil
}
