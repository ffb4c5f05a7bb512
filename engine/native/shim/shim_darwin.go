package shim

import (
	"os/signal"
	"syscall"
)

var resources = map[string]int{
	"CPU": syscall.RLIMIT_CPU, "FSIZE": syscall.RLIMIT_FSIZE, "DATA": syscall.RLIMIT_DATA,
	"STACK": syscall.RLIMIT_STACK, "CORE": syscall.RLIMIT_CORE, "NOFILE": syscall.RLIMIT_NOFILE,
	"AS": syscall.RLIMIT_AS,
}

// Resource returns the number that setrlimit(2) knows a limit by, given the part of
// systemd's directive behind Limit.
func Resource(name string) (int, bool) {
	n, ok := resources[name]
	return n, ok
}

// rlim maps infinity, which is the largest signed number there.
func rlim(n uint64) uint64 { return min(n, 1<<63-1) }

// There is no such thing on this system, and nothing that came close.
func setOOMScore(int) error   { return syscall.ENOTSUP }
func setIOPriority(int) error { return syscall.ENOTSUP }
func setNoNewPrivs() error    { return syscall.ENOTSUP }

// ignoreSIGPIPE undoes what Go's runtime has done: a signal with a handler of its is back at
// its default after execve(2).
func ignoreSIGPIPE(ignore bool) {
	if ignore {
		signal.Ignore(syscall.SIGPIPE)
	}
}
