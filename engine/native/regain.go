package native

import "slices"

// regain takes back the sockets that a killed supervisor held, from the services that have
// them: no one else may listen there while those run, and none of them could be started again.
func (s *sockets) regain(lib *library, left []record) {
	for i := range left {
		r := &left[i]
		if len(s.opened[r.Unit]) > 0 || kindOf(r.Unit) != kindSocket || !stateNamed(r.Sub).active().isUp() {
			continue
		}
		def, ok := lib.find(r.Unit)
		if !ok || def.socket == nil || def.load != "loaded" {
			continue
		}
		var holders []proc
		for j := range left {
			if o := &left[j]; o.Main.PID != 0 && servedBy(lib, def, o.Unit) {
				holders = append(holders, o.Main)
			}
		}
		if len(holders) > 0 {
			s.kept[r.Unit] = socketsOf(holders, def.socket.listen)
		}
	}
}

// servedBy reports whether a service gets the sockets of a unit.
func servedBy(lib *library, d *definition, service string) bool {
	if triggeredName(d.name, d.socket.service) == service {
		return true
	}
	o, ok := lib.find(service)
	return ok && o.service != nil && slices.Contains(o.service.sockets, d.name)
}
