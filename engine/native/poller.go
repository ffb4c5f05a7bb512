package native

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// poller waits for descriptors to become readable without reading: with one goroutine,
// that exists from the first wish on. Sockets of units stay in blocking mode, which their
// services share, so that Go's own poller cannot have them.
type poller struct {
	wakeRead, wakeWrite int

	mu     sync.Mutex
	wishes []*wish
	closed bool
}

// wish is to be told once when one of some descriptors is readable.
type wish struct {
	fds  []int
	tell func()
}

func newPoller() (*poller, error) {
	var pipe [2]int
	if err := pipe2(pipe[:]); err != nil {
		return nil, err
	}
	p := &poller{wakeRead: pipe[0], wakeWrite: pipe[1]}
	go p.run()
	return p, nil
}

func (p *poller) wake() { _, _ = unix.Write(p.wakeWrite, []byte{0}) }

func (p *poller) await(fds []int, tell func()) {
	p.mu.Lock()
	p.wishes = append(p.wishes, &wish{fds, tell})
	p.mu.Unlock()
	p.wake()
}

// forget drops the wish for a descriptor that is about to be closed.
func (p *poller) forget(fd int) {
	p.mu.Lock()
	p.wishes = slices.DeleteFunc(p.wishes, func(w *wish) bool { return slices.Contains(w.fds, fd) })
	p.mu.Unlock()
	p.wake()
}

func (p *poller) close() {
	p.mu.Lock()
	p.closed, p.wishes = true, nil
	p.mu.Unlock()
	p.wake()
}

func (p *poller) run() {
	var list []unix.PollFd
	var owners []*wish
	for {
		list = append(list[:0], unix.PollFd{Fd: int32(p.wakeRead), Events: unix.POLLIN})
		owners = append(owners[:0], nil)
		p.mu.Lock()
		closed := p.closed
		for _, w := range p.wishes {
			for _, fd := range w.fds {
				list = append(list, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
				owners = append(owners, w)
			}
		}
		p.mu.Unlock()
		if closed {
			_ = unix.Close(p.wakeRead)
			_ = unix.Close(p.wakeWrite)
			return
		}
		if _, err := unix.Poll(list, -1); err != nil && err != unix.EINTR {
			return
		}
		if list[0].Revents != 0 {
			var buf [64]byte
			_, _ = unix.Read(p.wakeRead, buf[:])
		}
		for i := 1; i < len(list); i++ {
			if list[i].Revents == 0 {
				continue
			}
			p.mu.Lock()
			at := slices.Index(p.wishes, owners[i])
			if at >= 0 {
				p.wishes = slices.Delete(p.wishes, at, at+1)
			}
			p.mu.Unlock()
			if at >= 0 {
				owners[i].tell()
			}
		}
	}
}
