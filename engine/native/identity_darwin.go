package native

import (
	"net"

	"golang.org/x/sys/unix"
)

// bootIdentity names what processes live in: another one means that those of before are gone. The
// time of the boot would not do, as it moves when the clock is set.
func bootIdentity() (string, error) { return unix.Sysctl("kern.bootsessionuuid") }

// peer returns who is at the other end of a connection.
func peer(conn *net.UnixConn) (uid, pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Xucred
	if e := raw.Control(func(fd uintptr) {
		if cred, err = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED); err == nil {
			pid, err = unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID)
		}
	}); e != nil {
		return 0, 0, e
	}
	if err != nil {
		return 0, 0, err
	}
	return int(cred.Uid), pid, nil
}
