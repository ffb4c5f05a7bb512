package native

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// socketsOf finds the sockets that listen at these addresses among those that processes have,
// -1 for what is not there. It takes Linux 5.6 and the right to trace the processes
// (pidfd_getfd(2)), which root has, and in a container root may not have.
func socketsOf(holders []proc, addresses []listenDef) []int {
	found := make([]int, len(addresses))
	for i := range found {
		found[i] = -1
	}
	missing := len(addresses)
	for _, q := range holders {
		if missing == 0 {
			break
		}
		pidfd, err := unix.PidfdOpen(q.PID, 0)
		if err != nil {
			continue
		}
		if runs(q) { // it is that process, and no later one of its number
			missing -= takeSockets(pidfd, q.PID, addresses, found)
		}
		_ = unix.Close(pidfd)
	}
	return found
}

// takeSockets looks through the descriptors of one process, and returns how many it took.
func takeSockets(pidfd, pid int, addresses []listenDef, found []int) (taken int) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, entry := range list {
		n, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if target, err := os.Readlink(dir + "/" + entry.Name()); err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if err != nil {
			return taken
		}
		used := false
		for i, l := range addresses {
			if found[i] < 0 && listensAt(fd, l) {
				found[i], used = fd, true
				taken++
				break
			}
		}
		if !used {
			_ = unix.Close(fd)
		}
	}
	return taken
}

// listensAt reports whether a socket is that of a Listen…= line.
func listensAt(fd int, l listenDef) bool {
	typ, ok := socketTypes[l.typ]
	if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); !ok || err != nil || got != typ {
		return false
	}
	if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); typ != unix.SOCK_DGRAM && (err != nil || listens == 0) {
		return false
	}
	want, _, err := address(l.address)
	if err != nil {
		return false
	}
	got, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch want := want.(type) {
	case *unix.SockaddrInet4:
		got, ok := got.(*unix.SockaddrInet4)
		return ok && got.Port == want.Port && got.Addr == want.Addr
	case *unix.SockaddrInet6:
		got, ok := got.(*unix.SockaddrInet6)
		return ok && got.Port == want.Port && got.Addr == want.Addr
	case *unix.SockaddrUnix:
		if got, ok := got.(*unix.SockaddrUnix); !ok || got.Name != want.Name {
			return false
		}
		_, err := os.Lstat(want.Name)
		return err == nil || strings.HasPrefix(want.Name, "@")
	}
	return false
}
