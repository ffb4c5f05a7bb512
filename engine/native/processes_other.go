//go:build !linux

package native

import (
	"errors"
	"syscall"
)

// becomeSubreaper fails: orphans go to the first process of the machine there.
func becomeSubreaper() error { return errors.New("this system has no subreapers") }

// signalExactly signals a process by its number, if that is still its.
func signalExactly(q proc, signal syscall.Signal) error { return signalIfSame(q, signal) }

// ends tells when processes end that are not children.
type ends struct{ fallback endsByAsking }

func (e *ends) watch(p *processes, t *tracked) bool { return e.fallback.watch(p, t) }

func (e *ends) close(p *processes) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.fallback.stop()
}
