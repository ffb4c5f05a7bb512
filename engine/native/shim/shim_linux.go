package shim

import (
	"os/signal"
	"strconv"
	"syscall"
)

// The numbers of setrlimit(2) that package syscall lacks, the same on every architecture
// that gm is built for.
var resources = map[string]int{
	"CPU": syscall.RLIMIT_CPU, "FSIZE": syscall.RLIMIT_FSIZE, "DATA": syscall.RLIMIT_DATA,
	"STACK": syscall.RLIMIT_STACK, "CORE": syscall.RLIMIT_CORE, "RSS": 5, "NPROC": 6,
	"NOFILE": syscall.RLIMIT_NOFILE, "MEMLOCK": 8, "AS": syscall.RLIMIT_AS, "LOCKS": 10,
	"SIGPENDING": 11, "MSGQUEUE": 12, "NICE": 13, "RTPRIO": 14, "RTTIME": 15,
}

// Resource returns the number that setrlimit(2) knows a limit by, given the part of
// systemd's directive behind Limit.
func Resource(name string) (int, bool) {
	n, ok := resources[name]
	return n, ok
}

func rlim(n uint64) uint64 { return n }

func setOOMScore(score int) error {
	fd, err := syscall.Open("/proc/self/oom_score_adj", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = syscall.Write(fd, strconv.AppendInt(nil, int64(score), 10))
	_ = syscall.Close(fd)
	return err
}

// setIOPriority is of the calling thread alone, as Setpriority and setNoNewPrivs are: the
// one that will execute the program, since a shim runs before main and so on the first
// thread.
func setIOPriority(priority int) error {
	const process = 1 // IOPRIO_WHO_PROCESS
	if _, _, errno := syscall.RawSyscall(syscall.SYS_IOPRIO_SET, process, 0, uintptr(priority)); errno != 0 {
		return errno
	}
	return nil
}

func setNoNewPrivs() error {
	const setNoNewPrivs = 38 // PR_SET_NO_NEW_PRIVS
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// ignoreSIGPIPE undoes what Go's runtime has done: a signal with a handler of its is back at
// its default after execve(2).
func ignoreSIGPIPE(ignore bool) {
	if ignore {
		signal.Ignore(syscall.SIGPIPE)
	}
}
