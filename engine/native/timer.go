package native

import "time"

// timerRun is a timer as it runs.
type timerRun struct {
	// last is when it elapsed last. A timer with Persistent= keeps it when it is stopped.
	last time.Time
	next time.Time
	// Calendar times go by the clock on the wall, which may be set, the others do not.
	wall, mono token
}

func (c *core) startTimer(u *unit) {
	u.ran, u.digest = u.def, u.def.digest
	if !u.ran.timer.persistent {
		u.timer.last = time.Time{}
	}
	if u.triggers[0].def == nil {
		c.log(u, "Unit to trigger vanished.")
		c.finishIfHere(u.job, jobFailed)
		return
	}
	c.enterWaiting(u, false)
}

func (c *core) stopTimer(u *unit) {
	c.disarm(&u.timer.wall)
	c.disarm(&u.timer.mono)
	u.timer.next, u.ran = time.Time{}, nil
	c.set(u, stateDead)
}

// enterWaiting waits for the next of its times. Jumped says that the clock was set.
func (c *core) enterWaiting(u *unit, jumped bool) {
	t := u.timer
	wall, byWall := c.nextByCalendar(u)
	mono, byMono := c.nextBySpan(u, jumped)
	c.disarm(&t.wall)
	c.disarm(&t.mono)
	t.next = time.Time{}
	if byWall {
		wall = c.delayed(u, wall)
		t.wall, t.next = c.arm(u, wall, true), wall
	}
	if byMono {
		mono = c.delayed(u, mono)
		t.mono = c.arm(u, mono, false)
		if !byWall || mono.Before(wall) {
			t.next = mono
		}
	}
	c.touch(u)
	d := u.ran.timer
	switch {
	case byWall || byMono:
		c.set(u, stateWaiting)
	case d.remain || len(d.onUnit)+len(d.onInact) > 0:
		// A unit that is started by others may set it going again.
		c.set(u, stateElapsed)
	default:
		u.ran = nil
		c.set(u, stateDead)
	}
}

// nextByCalendar returns the next time of OnCalendar= lines: of the first one to come
// after the timer elapsed last, or was started. One that was missed (Persistent=) is now.
func (c *core) nextByCalendar(u *unit) (next time.Time, ok bool) {
	now := c.now.Round(0)
	base := now
	switch {
	case !u.timer.last.IsZero():
		base = u.timer.last.Round(0)
	case u.state.active() == active:
		base = u.up.Round(0)
	}
	if base.After(now) {
		base = now // the clock was set back
	}
	for _, line := range u.ran.timer.calendar {
		if at, found := line.Next(base.In(c.now.Location())); found && (!ok || at.Before(next)) {
			next, ok = at, true
		}
	}
	// What was missed before the supervisor was there is as if it came with it, so that
	// RandomizedDelaySec= counts from there. The clock may have been set since.
	if began := now.Add(-c.now.Sub(c.began)); ok && next.Before(began) && !began.After(now) {
		next = began
	}
	return next, ok
}

// nextBySpan returns the next time of OnActiveSec= and the like. The machine's boot and the
// start of the supervisor are the same to it, as in a container: systemd.timer(5).
func (c *core) nextBySpan(u *unit, jumped bool) (next time.Time, ok bool) {
	t, d, target := u.timer, u.ran.timer, u.triggers[0]
	take := func(base time.Time, spans []time.Duration, once bool) {
		if base.IsZero() {
			return
		}
		for _, span := range spans {
			at := base.Add(span)
			if once && !t.last.IsZero() && !jumped && !at.After(c.now) {
				continue // it has been
			}
			if !ok || at.Before(next) {
				next, ok = at, true
			}
		}
	}
	activated := c.now
	if u.state.active() == active {
		activated = u.up
	}
	take(activated, d.onActive, true)
	take(c.began, d.onBoot, true)
	take(c.began, d.onStartup, true)
	take(later(target.up, t.last), d.onUnit, false)
	take(later(target.down, t.last), d.onInact, false)
	return next, ok
}

// delayed adds the random part: RandomizedDelaySec=.
func (c *core) delayed(u *unit, at time.Time) time.Time {
	if d := u.ran.timer.randomDelay; d > 0 {
		return at.Add(time.Duration(c.random(int64(d))))
	}
	return at
}

// elapse starts the unit of a timer.
func (c *core) elapse(u *unit, by token) {
	t := u.timer
	if by == t.wall {
		t.wall = 0
	} else {
		t.mono = 0
	}
	if u.state != stateWaiting || c.ending != nil || u.job != nil && u.job.typ == jobStop {
		return
	}
	c.disarm(&t.wall)
	c.disarm(&t.mono)
	t.last, t.next = c.now, time.Time{}
	c.set(u, stateRunning)
	c.touch(u)
	target := c.find(u.triggers[0].name)
	if _, err := c.transact(jobRequest{unit: target, typ: jobStart}); err != nil {
		c.log(u, "Failed to queue unit startup job: "+err.Error())
		u.ran = nil
		c.set(u, stateFailed)
	}
}

// timerInformed: the unit that a timer starts has changed, or its job has.
func (c *core) timerInformed(u *unit) {
	target := u.triggers[0]
	switch u.state {
	case stateWaiting, stateElapsed:
		if d := u.ran.timer; len(d.onUnit)+len(d.onInact) > 0 {
			c.enterWaiting(u, false)
		}
	case stateRunning:
		if target.state.active().isDown() && target.job == nil && !target.returns() {
			c.enterWaiting(u, false)
		}
	}
}

// rearm has a timer go by its new definition.
func (c *core) rearm(u *unit) {
	if u.state.active() != active || u.def.timer == nil || u.def.load != "loaded" {
		return
	}
	u.ran, u.digest = u.def, u.def.digest
	if u.state != stateRunning {
		c.enterWaiting(u, false)
	}
}

// clockSet computes all times anew that go by the clock on the wall.
func (c *core) clockSet() {
	for _, u := range c.sorted() {
		if u.timer == nil || u.state != stateWaiting {
			continue
		}
		if now := c.now.Round(0); u.timer.last.Round(0).After(now) {
			u.timer.last = now // it was set back: those times come again
		}
		c.enterWaiting(u, true)
	}
}
