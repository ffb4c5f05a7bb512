package native

// Targets and slices do nothing but to be there: they are active once started, and the
// targets of systemd's that nobody has written always, since nothing is to wait for them.

// bootTargets are those that a machine, or a user's manager, boots into.
var bootTargets = []string{"multi-user.target", "default.target", "graphical.target"}

// startPlain and stopPlain are all that targets and slices do.
func (c *core) startPlain(u *unit) {
	u.ran, u.digest = u.def, u.def.digest
	c.set(u, stateActive)
}

func (c *core) stopPlain(u *unit) {
	u.ran = nil
	c.set(u, stateDead)
}
