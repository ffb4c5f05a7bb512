package native

import (
	"path"
	"strings"

	"gm/engine"
)

// The service that restarts an app at its times calls systemctl. There is none that knows
// this supervisor, and none is needed: its jobs are done here.

// systemctlCall is a command line of systemctl(1) that the core carries out itself.
type systemctlCall struct {
	verb  string
	yield bool // --job-mode=fail
	units []string
}

// parseSystemctl reads a command line, if it is one of those that the core carries out.
func parseSystemctl(argv []string) (call systemctlCall, ok bool) {
	if len(argv) < 3 || path.Base(argv[0]) != "systemctl" {
		return call, false
	}
	for _, arg := range argv[1:] {
		switch {
		case arg == "--user", arg == "--system", arg == "--quiet", arg == "-q", arg == "--job-mode=replace":
		case arg == "--job-mode=fail":
			call.yield = true
		case strings.HasPrefix(arg, "-"), strings.ContainsAny(arg, "*?["):
			return call, false
		case call.verb == "":
			call.verb = arg
		default:
			call.units = append(call.units, arg)
		}
	}
	switch call.verb {
	case "start", "stop", "restart", "try-restart", "reload", "reset-failed":
		return call, len(call.units) > 0
	}
	return call, false
}

// callOwn carries a call out, and lets it end as a process of systemctl would: with 1 if
// one of its jobs failed.
func (c *core) callOwn(u *unit, role role, t token, call systemctlCall) {
	if role == roleMain {
		c.later = append(c.later, func() {
			if s := u.service; s.main.token == t {
				s.started = c.now
				c.mainMade(u)
			}
		})
	}
	left, code := 1, 0
	ended := func(err error) {
		if err != nil {
			code = 1
			c.log(u, err.Error())
		}
		if left--; left == 0 {
			c.later = append(c.later, func() { c.onExited(t, exitStatus{code: code, at: c.now}) })
		}
	}
	c.later = append(c.later, func() {
		if c.tokens[t] != u {
			return // it was killed before it began
		}
		for _, name := range call.units {
			left++
			c.doOwn(call, name, ended)
		}
		ended(nil)
	})
}

func (c *core) doOwn(call systemctlCall, name string, ended func(error)) {
	job := engine.Job{Unit: name, Yield: call.yield}
	switch call.verb {
	case "reset-failed":
		if u := c.units[name]; u != nil {
			c.resetFailed(u)
		}
		ended(nil)
		return
	case "try-restart":
		if u := c.units[name]; u == nil || u.state.active().isDown() || u.state.active() == deactivating {
			ended(nil)
			return
		}
		job.Op = engine.Restart
	default:
		job.Op = engine.Op(call.verb)
	}
	c.submit(job, ended)
}

// giveUpOwn ends a call as a signal would end the process. Its jobs go on.
func (c *core) giveUpOwn(u *unit, p *process, signal int) {
	t := p.token
	c.later = append(c.later, func() { c.onExited(t, exitStatus{signal: signal, at: c.now}) })
}
