package native

import (
	"fmt"
	"slices"
)

// jobType is what a job does with its unit.
type jobType uint8

const (
	jobStart  jobType = iota
	jobVerify         // waits that the unit is up, and fails if it is not: Requisite=
	jobReload         // runs ExecReload=
	jobStop
	jobRestart // stops, and becomes a jobStart then
)

var jobTypes = [...]string{"start", "verify-active", "reload", "stop", "restart"}

func (t jobType) String() string { return jobTypes[t] }

// stops reports whether a job of that type brings its unit down first.
func stops(t jobType) bool { return t == jobStop || t == jobRestart }

// The results of jobs: JobRemoved in org.freedesktop.systemd1(5).
const (
	jobDone       = "done"
	jobFailed     = "failed"
	jobCanceled   = "canceled"
	jobDependency = "dependency"
	jobSkipped    = "skipped"
)

// mergeJobs returns the job that does what both of two jobs of a unit do; false when they
// contradict each other.
func mergeJobs(a, b jobType) (jobType, bool) {
	switch {
	case a == b:
		return a, true
	case a == jobStop || b == jobStop:
		return 0, false
	case a == jobRestart || b == jobRestart:
		return jobRestart, true
	case a == jobVerify:
		return b, true
	}
	return a, true // of a start and a reload that which is under way
}

// job is what is to be done with a unit; a unit has one at a time.
type job struct {
	unit *unit
	typ  jobType
	// alone has no order: ignore-dependencies.
	alone bool
	begun bool
	// again says that the unit must first come to the end of something else.
	again  bool
	queued bool   // it is in the core's queue
	told   bool   // the next supervisor knows of it
	scan   int    // where in the order of the unit the last obstacle was
	held   []*job // those that wait for this one
	holder *job   // the one that this one waits for
	done   []func(result string)
}

// install gives a unit a job. One that contradicts it is canceled, another one becomes
// one with it.
func (c *core) install(u *unit, typ jobType, alone bool) *job {
	if old := u.job; old != nil {
		if merged, ok := mergeJobs(old.typ, typ); !ok {
			c.finish(old, jobCanceled)
		} else {
			old.alone = old.alone || alone
			if merged != old.typ {
				old.typ = merged
				c.putBack(old)
				c.release(old)
			}
			return old
		}
	}
	j := &job{unit: u, typ: typ, alone: alone}
	u.job = j
	c.enqueue(j)
	return j
}

// putBack has a job run anew.
func (c *core) putBack(j *job) {
	j.begun, j.again, j.holder = false, false, nil
	c.enqueue(j)
}

func (c *core) enqueue(j *job) {
	if !j.queued {
		j.queued = true
		c.queue = append(c.queue, j)
	}
}

// release has those that wait for a job look again.
func (c *core) release(j *job) {
	for _, held := range j.held {
		held.holder = nil
		c.enqueue(held)
	}
	j.held = nil
}

// drain runs all jobs that can be run.
func (c *core) drain() {
	for {
		adopting := c.adopted.token != 0
		for i := 0; i < len(c.queue) && !adopting; i++ {
			j := c.queue[i]
			j.queued = false
			if j.unit.job == j && !j.begun {
				c.run(j)
			}
		}
		if !adopting {
			c.queue = c.queue[:0]
		}
		if len(c.later) == 0 {
			return
		}
		f := c.later[0]
		c.later = c.later[1:]
		f()
	}
}

// obstacle returns a job that has to be finished before j begins.
//
// Of two units the later one stops first, and starts last; a stop or restart of the later
// one goes before whatever the earlier one is to do. The job found is the one for which j
// waits, and where it stood is where the next look begins: so all looks of a job together
// cost no more than one look at all of its neighbours.
func (c *core) obstacle(j *job) *job {
	if j.alone {
		return nil
	}
	u := j.unit
	for range len(u.after) + len(u.before) {
		if j.scan >= len(u.after)+len(u.before) {
			j.scan = 0
		}
		var o *unit
		var waits bool
		if j.scan < len(u.after) {
			o, waits = u.after[j.scan], !stops(j.typ)
		} else {
			o = u.before[j.scan-len(u.after)]
			waits = o.job != nil && stops(o.job.typ)
		}
		if waits && o.job != nil && !o.job.alone {
			return o.job
		}
		j.scan++
	}
	return nil
}

// wait has a job wait for another, unless that one waits for it: then units that were
// loaded meanwhile have closed a circle that no transaction has seen.
func (c *core) wait(j, o *job) bool {
	for next := o; next != nil; next = next.holder {
		if next == j {
			c.log(j.unit, "Found ordering cycle: it does not wait for "+o.unit.name+", which waits for it.")
			return false
		}
	}
	j.holder = o
	o.held = append(o.held, j)
	if j.typ == jobStart && !j.told {
		j.told = true
		c.touch(j.unit) // the next supervisor is to know of it
	}
	return true
}

// run begins a job, unless its order is yet to come.
func (c *core) run(j *job) {
	if j.holder != nil {
		return
	}
	if o := c.obstacle(j); o != nil && c.wait(j, o) {
		return
	}
	j.begun = true
	u := j.unit
	switch j.typ {
	case jobStart:
		c.start(j)
	case jobVerify:
		if a := u.state.active(); a.isUp() {
			c.finish(j, jobDone)
		} else if a != activating {
			c.finish(j, jobSkipped)
		}
	case jobReload:
		switch u.state.active() {
		case active:
			c.reloadService(u)
		case reloading, activating:
			j.again = true
		default:
			c.finish(j, jobSkipped)
		}
	case jobStop, jobRestart:
		if u.state.active().isDown() {
			c.finish(j, jobDone)
		} else {
			c.stop(u)
		}
	}
}

// start starts a unit.
func (c *core) start(j *job) {
	u := j.unit
	switch a := u.state.active(); {
	case a.isUp():
		c.finish(j, jobDone)
		return
	case a == deactivating:
		j.again = true
		return
	case a == activating && u.state != stateAutoRestart:
		return // its end is the job's
	}
	if err := startable(u); err != nil {
		c.log(u, err.Error())
		c.finish(j, jobFailed)
		return
	}
	for _, o := range u.bindsTo {
		if !o.state.active().isUp() && slices.Contains(u.def.after, o.name) {
			c.log(u, "Bound to unit "+o.name+", but unit isn't active.")
			c.finish(j, jobDependency)
			return
		}
	}
	if u.kind != kindTarget && u.kind != kindSlice && !u.starts.admit(c.now, u.def) {
		c.log(u, "Start request repeated too quickly.")
		c.limitHit(u)
		c.finishIfHere(j, jobFailed)
		return
	}
	if !allHold(u.def.conditions, c.holds) {
		i := slices.IndexFunc(u.def.conditions, func(k condition) bool { return !c.holds(k) })
		c.log(u, u.title()+" was skipped because of an unmet condition check ("+u.def.conditions[i].String()+").")
		if u.state == stateAutoRestart {
			c.enterDead(u, resultSuccess, false)
		}
		c.finishIfHere(j, jobDone)
		return
	}
	c.noteIgnored(u)
	switch u.kind {
	case kindService:
		c.startService(u)
	case kindTimer:
		c.startTimer(u)
	case kindSocket:
		c.startSocket(u)
	default:
		c.startPlain(u)
	}
}

// finishIfHere finishes a job that a change of its unit has not finished yet.
func (c *core) finishIfHere(j *job, result string) {
	if j.unit.job == j {
		c.finish(j, result)
	}
}

// startable says why a unit cannot be started.
func startable(u *unit) error {
	switch {
	case isTemplate(u.name):
		return fmt.Errorf("%s is a template: name one of its instances", u.name)
	case u.def == nil:
		return fmt.Errorf("there is no unit %s", u.name)
	case u.def.load != "loaded" && u.def.why != "":
		return fmt.Errorf("%s cannot be loaded (%s): %s", u.name, u.def.load, u.def.why)
	case u.def.load != "loaded":
		return fmt.Errorf("%s cannot be loaded (%s)", u.name, u.def.load)
	}
	return nil
}

// noteIgnored says once of each file what is ignored in it.
func (c *core) noteIgnored(u *unit) {
	if key := u.def.fragment + u.def.digest; len(u.def.notes) > 0 && !c.noted[key] {
		c.noted[key] = true
		for _, note := range u.def.notes {
			c.log(u, note)
		}
	}
}

// limitHit brings a unit down that was started too often.
func (c *core) limitHit(u *unit) {
	switch u.kind {
	case kindService:
		u.starts.hit = true
		c.enterDead(u, resultLimit, false)
	case kindSocket:
		u.socket.result = resultLimit
		c.set(u, stateFailed)
	default:
		c.set(u, stateFailed)
	}
}

// stop stops a unit that is up, coming up or coming down.
func (c *core) stop(u *unit) {
	switch u.kind {
	case kindService:
		c.stopService(u)
	case kindTimer:
		c.stopTimer(u)
	case kindSocket:
		c.stopSocket(u, resultSuccess)
	default:
		c.stopPlain(u)
	}
}

// progress finishes the job of a unit whose state has changed, if that is its end.
func (c *core) progress(u *unit) {
	j := u.job
	if j == nil {
		return
	}
	a := u.state.active()
	if j.again {
		if a != deactivating && j.typ == jobStart || j.typ == jobReload && a != activating && a != reloading {
			c.putBack(j)
		}
		return
	}
	switch j.typ {
	case jobStart, jobVerify:
		switch {
		case a.isUp():
			c.finish(j, jobDone)
		case j.begun && a.isDown():
			c.finish(j, downResult(a))
		}
	case jobReload:
		switch {
		case !j.begun:
		case a == active && u.service != nil && u.service.reloadResult != resultSuccess:
			c.finish(j, jobFailed)
		case a == active:
			c.finish(j, jobDone)
		case a.isDown():
			c.finish(j, downResult(a))
		}
	case jobStop, jobRestart:
		switch {
		case a.isDown():
			c.finish(j, jobDone)
		case j.begun && a != deactivating:
			c.finish(j, jobFailed)
		}
	}
}

// downResult is what a job comes to that has found its unit down.
func downResult(a activity) string {
	if a == failedActivity {
		return jobFailed
	}
	return jobDone
}

// finish ends a job: it tells who waits for it, and has those go on that come after it.
func (c *core) finish(j *job, result string) {
	u := j.unit
	if result == jobDone && j.typ == jobRestart {
		j.typ = jobStart
		c.putBack(j)
		c.release(j)
		return
	}
	u.job = nil
	c.announce(j, result)
	for _, f := range j.done {
		f(result)
	}
	switch {
	case j.typ == jobStop, j.typ == jobReload, result == jobCanceled:
	case result != jobDone:
		c.failDependents(u, true)
	case !u.state.active().isUp():
		c.failDependents(u, false)
	}
	if result != jobDone && u.state == stateAutoRestart && u.service.scheduled {
		// There will be no start, and no timer that would try again.
		c.enterDead(u, resultSuccess, false)
	}
	c.release(j)
	c.inform(u)
}

// failDependents ends the starts that need u, which could not be started. One that is
// not up after a start that was done, such as a Type=oneshot, fails those alone that
// want it to be up: Requisite=.
func (c *core) failDependents(u *unit, failed bool) {
	for _, o := range u.neededBy {
		if o.job == nil || o.job.typ != jobStart && o.job.typ != jobVerify {
			continue
		}
		if failed || slices.Contains(o.checks, u) {
			c.finish(o.job, jobDependency)
		}
	}
}

// announce logs the end of a job in systemd's words.
func (c *core) announce(j *job, result string) {
	u := j.unit
	switch {
	case result == jobDependency && j.typ == jobStart:
		c.log(u, "Dependency failed for "+u.title()+".")
	case u.kind == kindSlice:
	case result == jobFailed && j.typ == jobStart:
		c.log(u, "Failed to start "+u.title()+".")
	case result == jobDone && j.typ == jobStart && u.state == stateDead:
		if u.service != nil && u.down.Equal(c.now) && u.service.result == resultSuccess {
			c.log(u, "Finished "+u.title()+".")
		}
	case result == jobDone && j.typ == jobStart && u.since.Equal(c.now):
		c.log(u, "Started "+u.title()+".")
	case result == jobDone && j.typ == jobStop && u.down.Equal(c.now):
		c.log(u, "Stopped "+u.title()+".")
	case result == jobDone && j.typ == jobReload:
		c.log(u, "Reloaded "+u.title()+".")
	case result == jobFailed && j.typ == jobReload:
		c.log(u, "Reload failed for "+u.title()+".")
	}
}

// title is what a person calls a unit.
func (u *unit) title() string {
	if d := u.runs(); d != nil && d.description != "" {
		return d.description
	}
	return u.name
}
