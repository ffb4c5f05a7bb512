package native

import "slices"

// socketRun is a socket unit as it runs: listening as long as none of the services that
// have its sockets runs, and running then.
type socketRun struct {
	opening token
	result  string
}

func (c *core) startSocket(u *unit) {
	u.ran, u.digest = u.def, u.def.digest
	u.socket.result = resultSuccess
	u.socket.opening = c.newToken(u)
	c.emit(effOpen{u.socket.opening, u.name, u.ran})
}

// opened takes note of the sockets, or of why there are none.
func (c *core) opened(u *unit, t token, err error) {
	s := u.socket
	delete(c.tokens, t)
	if t != s.opening {
		return
	}
	s.opening = 0
	if err != nil {
		c.log(u, "Failed to listen: "+err.Error())
		s.result = resultResources
		c.set(u, stateFailed)
		u.ran = nil
		if u.job != nil && u.job.typ == jobStart { // it had failed before, and no state has changed
			c.finish(u.job, jobFailed)
		}
		return
	}
	c.listenOrRun(u)
}

func (c *core) listenOrRun(u *unit) {
	if u.isServed() {
		c.set(u, stateRunning)
	} else if u.state != stateListening {
		c.set(u, stateListening)
		c.emit(effListen{u.name})
	}
}

// isServed reports whether a service is there for a socket, or on its way: also one that
// waits for its automatic restart, to which connections must not be a reason to hurry.
func (u *unit) isServed() bool {
	return slices.ContainsFunc(u.triggers, func(o *unit) bool {
		switch o.state {
		case stateDead, stateFailed, stateFinalSigterm, stateFinalSigkill, stateFinalWatchdog:
			return o.job != nil && o.job.typ == jobStart
		}
		return true
	})
}

// stopSocket closes the sockets. What was waiting in them is lost.
func (c *core) stopSocket(u *unit, result string) {
	c.emit(effClose{u.name, u.ran})
	u.socket.result = result
	u.ran = nil
	if result == resultSuccess {
		c.set(u, stateDead)
	} else {
		c.log(u, "Failed with result '"+result+"'.")
		c.set(u, stateFailed)
	}
}

// incoming: somebody wants something of a socket.
func (c *core) incoming(u *unit) {
	if u.state != stateListening || c.ending != nil || u.job != nil && stops(u.job.typ) {
		return
	}
	if !u.isServed() {
		service := c.find(triggeredName(u.name, u.ran.socket.service))
		if _, err := c.transact(jobRequest{unit: service, typ: jobStart}); err != nil {
			c.log(u, "Failed to queue service startup job: "+err.Error())
			c.stopSocket(u, resultResources)
			return
		}
	}
	c.set(u, stateRunning)
}

// socketInformed: a service that has the sockets has changed, or its job has. One that
// was started too often takes them down, or it would be started again at once.
func (c *core) socketInformed(u, service *unit) {
	if u.state != stateListening && u.state != stateRunning {
		return
	}
	if service.starts.hit && service.state == stateFailed {
		c.stopSocket(u, resultServiceLimit)
		return
	}
	c.listenOrRun(u)
}

// openSockets are the socket units whose descriptors a service gets: those of Sockets=, in
// that order, and those that start it.
func (u *unit) openSockets() []string {
	var list []string
	for _, name := range u.ran.service.sockets {
		if slices.ContainsFunc(u.triggeredBy, func(o *unit) bool { return o.name == name && o.isOpen() }) {
			list = append(list, name)
		}
	}
	for _, o := range u.triggeredBy {
		if o.isOpen() && !slices.Contains(list, o.name) {
			list = append(list, o.name)
		}
	}
	return list
}

func (u *unit) isOpen() bool {
	return u.kind == kindSocket && (u.state == stateListening || u.state == stateRunning)
}
