package native

import (
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// bootIdentity names what processes live in: another one means that those of before are gone. A
// container that was started anew has the boot of the machine, and may even have the number of
// the namespace of before.
func bootIdentity() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s %s", strings.TrimSpace(string(boot)), space, startOfInit()), nil
}

// startOfInit is when process 1 was started, in ticks since the boot: the 22nd field of
// its stat (proc(5)). A /proc with hidepid= tells it to root alone.
func startOfInit() string {
	stat, err := os.ReadFile("/proc/1/stat")
	if err != nil {
		return ""
	}
	// The name in the second field may hold blanks and parentheses.
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// peer returns who is at the other end of a connection.
func peer(conn *net.UnixConn) (uid, pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return 0, 0, e
	}
	if err != nil {
		return 0, 0, err
	}
	return int(cred.Uid), int(cred.Pid), nil
}
