//go:build !linux

package native

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func newSocket(family, typ int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, typ, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

func pipe2(fds []int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := unix.Pipe(fds); err != nil {
		return err
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		_ = unix.SetNonblock(fd, true)
	}
	return nil
}

// setFreeBind does nothing: only Linux can bind an address that no interface has yet.
func setFreeBind(int) {}

// setPipeSize does nothing: the size of a pipe is the system's affair.
func setPipeSize(int, int) {}
