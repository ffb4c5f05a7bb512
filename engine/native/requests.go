package native

import (
	"errors"
	"fmt"

	"gm/engine"
)

// What clients ask for, and the loop at its beginning and end.

// submit does a job, and calls done at its end.
func (c *core) submit(asked engine.Job, done func(error)) {
	refuse := func(result string, cause error) { done(&engine.JobError{Job: asked, Result: result, Cause: cause}) }
	r := jobRequest{alone: asked.Alone, yield: asked.Yield}
	switch asked.Op {
	case engine.Start:
		r.typ = jobStart
	case engine.Stop:
		r.typ = jobStop
	case engine.Restart:
		r.typ = jobRestart
	case engine.Reload:
		r.typ = jobReload
	default:
		refuse("", fmt.Errorf("there is no such job: %s", asked.Op))
		return
	}
	if r.typ == jobStop && c.units[asked.Unit] == nil && c.lookup(asked.Unit) == nil {
		done(nil) // it does not run
		return
	}
	r.unit = c.find(asked.Unit)
	if r.typ == jobReload {
		if err := reloadable(r.unit); err != nil {
			refuse("", err)
			return
		}
	}
	j, err := c.transact(r)
	if err != nil {
		result := ""
		if errors.Is(err, errContradicted) {
			result = jobCanceled
		}
		refuse(result, err)
		return
	}
	j.done = append(j.done, func(result string) {
		if result == jobDone {
			done(nil)
		} else {
			refuse(result, nil)
		}
	})
}

// outcome is how a job of an evPull ends.
type outcome struct {
	result  string // "" as long as it has not ended
	waiting []func(result string)
}

// maxPulls is how many of the last pulls can be joined. A client joins right after its pull.
const maxPulls = 64

// pull starts a unit with all that it pulls in. What could not be queued is left to the
// joins, which say why.
func (c *core) pull(ev evPull) {
	members := map[*unit]*outcome{}
	_, _ = c.transact(jobRequest{unit: c.find(ev.unit), typ: jobStart, queued: func(j *job) {
		o := &outcome{}
		members[j.unit] = o
		j.done = append(j.done, func(result string) {
			o.result = result
			for _, f := range o.waiting {
				f(result)
			}
			o.waiting = nil
		})
	}})
	c.pulls[ev.call] = members
	if c.pulled = append(c.pulled, ev.call); len(c.pulled) > maxPulls {
		delete(c.pulls, c.pulled[0])
		c.pulled = c.pulled[1:]
	}
	c.reply(ev.call, nil)
}

// join waits for a member of a pull, or starts one that it did not reach.
func (c *core) join(ev evJoin) {
	asked := engine.Job{Op: engine.Start, Unit: ev.unit}
	var o *outcome
	if u := c.units[ev.unit]; u != nil {
		o = c.pulls[ev.pull][u]
	}
	answer := func(result string) {
		if result == jobDone {
			c.reply(ev.call, nil)
		} else {
			c.reply(ev.call, &engine.JobError{Job: asked, Result: result})
		}
	}
	switch {
	case o == nil:
		c.submit(asked, func(err error) { c.reply(ev.call, err) })
	case o.result != "":
		answer(o.result)
	default:
		o.waiting = append(o.waiting, answer)
	}
}

// boot starts what is enabled.
func (c *core) boot() {
	for _, err := range c.transactAll(bootTargets) {
		c.emit(effLog{bootTargets[0], err.Error()})
	}
}

// shutdown is the stop of everything.
type shutdown struct {
	calls []callID
	left  int // jobs
}

// endAll stops everything, and tells when nothing runs any more.
func (c *core) endAll(call callID) {
	if c.ending != nil {
		c.ending.calls = append(c.ending.calls, call)
		return
	}
	c.ending = &shutdown{calls: []callID{call}}
	if c.adopted.token != 0 {
		c.disarm(&c.adopted.token)
		c.adopted = adopted{}
	}
	ended := func(string) {
		if c.ending.left--; c.ending.left == 0 {
			c.down()
		}
	}
	c.ending.left = 1 // until all have their job
	for _, u := range c.sorted() {
		switch {
		case !u.state.active().isDown() && !u.builtin():
			c.ending.left++
			j := c.install(u, jobStop, false)
			j.done = append(j.done, ended)
		case u.job != nil:
			c.finish(u.job, jobCanceled)
		}
	}
	ended(jobDone)
}

func (c *core) down() {
	for _, call := range c.ending.calls {
		c.reply(call, nil)
	}
	c.replies = append(c.replies, effDown{})
}
