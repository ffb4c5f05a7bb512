package native

import (
	"syscall"
	"time"
)

// bootTime is when the machine was booted.
func bootTime() time.Time {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(info.Uptime) * time.Second)
}
