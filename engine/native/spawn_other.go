//go:build !linux

package native

import "syscall"

func intoGroup(*syscall.SysProcAttr, int) {}

func outOfGroup(*syscall.SysProcAttr) {}

// socketPair must keep forks away until its ends are closed in them.
func socketPair() ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(ends[0])
		syscall.CloseOnExec(ends[1])
	}
	return ends, err
}
