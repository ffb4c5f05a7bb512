package native

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// becomeSubreaper has the orphans of units become the supervisor's children, for which it
// then can wait.
func becomeSubreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// signalExactly signals a process by its number, if that is still its.
func signalExactly(q proc, signal syscall.Signal) error {
	fd, err := unix.PidfdOpen(q.PID, 0)
	if err != nil {
		if err == unix.ESRCH {
			return err
		}
		return signalIfSame(q, signal) // no pidfds: Linux before 5.3, gVisor
	}
	defer unix.Close(fd)
	if !runs(q) {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, signal, nil, 0)
}

// ends tells when processes end that are not children. Their pidfds are in one epoll, which
// is in Go's own: that takes a goroutine, and no thread.
type ends struct {
	epoll    *os.File
	watched  map[int]*tracked // by pidfd
	fallback endsByAsking
}

// watch reports whether a process runs, and then tells when it does not any more.
func (e *ends) watch(p *processes, t *tracked) bool {
	fd, err := unix.PidfdOpen(t.PID, 0)
	if err != nil {
		return err != unix.ESRCH && e.fallback.watch(p, t)
	}
	if !runs(t.proc) {
		_ = unix.Close(fd)
		return false
	}
	if e.epoll == nil {
		if err := e.open(p); err != nil {
			_ = unix.Close(fd)
			return e.fallback.watch(p, t)
		}
	}
	raw, err := e.epoll.SyscallConn()
	if err == nil {
		_ = raw.Control(func(epoll uintptr) {
			event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
			err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, fd, &event)
		})
	}
	if err != nil {
		_ = unix.Close(fd)
		return e.fallback.watch(p, t)
	}
	e.watched[fd] = t
	return true
}

func (e *ends) open(p *processes) error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return err
	}
	e.epoll, e.watched = os.NewFile(uintptr(fd), "pidfds"), map[int]*tracked{}
	raw, err := e.epoll.SyscallConn()
	if err != nil {
		return err
	}
	go func() {
		_ = raw.Read(func(epoll uintptr) bool {
			for {
				var events [32]unix.EpollEvent
				n, err := unix.EpollWait(int(epoll), events[:], 0)
				for i := range max(n, 0) {
					e.tell(p, int(events[i].Fd))
				}
				if n <= 0 && err != unix.EINTR {
					return err != nil
				}
			}
		})
	}()
	return nil
}

func (e *ends) tell(p *processes, fd int) {
	p.mu.Lock()
	t := e.watched[fd]
	if t != nil {
		delete(e.watched, fd)
		_ = unix.Close(fd) // takes it out of the epoll too
	}
	p.mu.Unlock()
	if t != nil {
		p.gone(t)
	}
}

// close must not be called with the lock held, for which its goroutine may wait.
func (e *ends) close(p *processes) {
	p.mu.Lock()
	e.fallback.stop()
	for fd := range e.watched {
		_ = unix.Close(fd)
	}
	e.watched = nil
	p.mu.Unlock()
	if e.epoll != nil {
		_ = e.epoll.Close()
	}
}
