//go:build !linux

package native

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is when the machine was booted.
func bootTime() time.Time {
	t, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return time.Time{}
	}
	return time.Unix(t.Unix())
}
