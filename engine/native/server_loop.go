package native

import "gm/engine"

// serve answers clients of h with what the loop says.
func serve(h Home, l *loop) (*server, error) { return newServer(h, servedLoop{l}) }

// servedLoop is the loop as the server wants it.
type servedLoop struct{ l *loop }

func (s servedLoop) call(ev func(id callID) event, answer func(error)) { s.l.call(ev, answer) }

func (s servedLoop) units(detail engine.Detail, names []string) (states map[string]engine.UnitState, err error) {
	err = s.do(func(l *loop) error {
		states = l.units(detail, names)
		return nil
	})
	return states, err
}

func (s servedLoop) watch(names []string) (states <-chan engine.UnitState, cancel func()) {
	return s.l.watch(names)
}

func (s servedLoop) kill(unit string, signal int, all bool) error {
	return s.do(func(l *loop) error { return l.kill(unit, signal, all) })
}

func (s servedLoop) reload() error { return s.do((*loop).reload) }

func (s servedLoop) info() (info Info, err error) {
	err = s.do(func(l *loop) error {
		info = l.info()
		return nil
	})
	return info, err
}

func (s servedLoop) end() { s.l.end() }

func (s servedLoop) replace(program string) error { return s.l.replace(program) }

// do runs f on the loop's goroutine.
func (s servedLoop) do(f func(*loop) error) (err error) {
	if !s.l.do(func(l *loop) { err = f(l) }) {
		return errEnded
	}
	return err
}
