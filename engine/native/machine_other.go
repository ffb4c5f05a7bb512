//go:build !linux

package native

import (
	"strings"

	"golang.org/x/sys/unix"
)

// systemRun is where the system's sockets and pid files are.
const systemRun = "/var/run"

func thisBoot() string {
	id, _ := unix.Sysctl("kern.bootsessionuuid")
	return strings.ToLower(strings.ReplaceAll(id, "-", ""))
}

// machineMemory is the machine's. 0 is unknown.
func machineMemory() int64 {
	n, _ := unix.SysctlUint64("hw.memsize")
	return int64(n)
}

func isMountPoint(path string) bool { return isOtherDevice(path) }
