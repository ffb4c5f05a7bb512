package native

import (
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// notifyAddress is an abstract one: nothing is left of it, and a service of another user
// need not get into the home.
func notifyAddress(_ Home, id string) string { return "@gm/notify/" + id }

func passCredentials(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	if err != nil {
		return err
	}
	return failed
}

// sender returns whose message it is, by the kernel's word.
func sender(oob []byte) (pid, uid int, known bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, 0, false
	}
	closeRights(messages)
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			return int(cred.Pid), int(cred.Uid), true
		}
	}
	return 0, 0, false
}

// ownerOf returns the user that a process runs as.
func ownerOf(pid int) (uid int, ok bool) {
	if pid == 0 {
		return 0, false
	}
	info, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
