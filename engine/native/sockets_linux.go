package native

import "golang.org/x/sys/unix"

func newSocket(family, typ int) (int, error) {
	return unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
}

func pipe2(fds []int) error { return unix.Pipe2(fds, unix.O_CLOEXEC|unix.O_NONBLOCK) }

func setFreeBind(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1) }

func setPipeSize(fd, size int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size) }
