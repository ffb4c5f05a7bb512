// Command killer runs a program and kills it, with SIGKILL, when it enters the Nth
// system call by which a program changes something outside of itself: writes,
// renames, removes, locks, sends.
//
//	killer N PROGRAM [ARGUMENT...]
//
// It ends with 137 when it did so, and with the program's own status when that
// ended before.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "killer:", err)
		os.Exit(2)
	}
	status, err := run(n, os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "killer:", err)
		os.Exit(2)
	}
	os.Exit(status)
}

// callInfo is struct ptrace_syscall_info of ptrace(2), as far as it is read.
type callInfo struct {
	op   uint8
	_    [23]byte
	nr   uint64
	args [6]uint64
	_    [32]byte
}

const (
	requestCallInfo = 0x420e // PTRACE_GET_SYSCALL_INFO
	atEntry         = 1      // PTRACE_SYSCALL_INFO_ENTRY
)

func run(n int, argv []string) (int, error) {
	// ptrace(2) is a matter between two threads.
	runtime.LockOSThread()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil {
		return 0, err
	}
	// Its threads are traced as well, the programs that it starts are not.
	if err := unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return 0, err
	}
	if err := unix.PtraceSyscall(pid, 0); err != nil {
		return 0, err
	}
	for {
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case ws.Exited() && tid == pid:
			return ws.ExitStatus(), nil
		case ws.Signaled() && tid == pid:
			return 128 + int(ws.Signal()), nil
		case !ws.Stopped():
			continue
		}
		pass := 0
		switch signal := ws.StopSignal(); {
		case signal == unix.SIGTRAP|0x80:
			var info callInfo
			_, _, errno := unix.Syscall6(unix.SYS_PTRACE, requestCallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
			if errno == 0 && info.op == atEntry && changes(&info) {
				if n--; n <= 0 {
					if err := unix.Kill(pid, unix.SIGKILL); err != nil {
						return 0, err
					}
				}
			}
		case signal == unix.SIGTRAP, signal == unix.SIGSTOP:
			// Of a new thread.
		default:
			pass = int(signal)
		}
		unix.PtraceSyscall(tid, pass) // it may be gone by now
	}
}

// changes reports whether a system call has an effect outside of the process.
func changes(info *callInfo) bool {
	switch info.nr {
	case unix.SYS_WRITE:
		return info.args[2] != 8 // Go's runtime wakes itself by an eventfd
	case unix.SYS_OPENAT:
		return info.args[2]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT) != 0
	}
	return changing[info.nr]
}
