package native

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"
)

// resetIgnored has no process begin with a signal ignored because the supervisor was
// started by nohup, or in the background of a shell: what is ignored stays so over
// execve(2), and a shell cannot even trap it. A signal that Go has a handler for is at its
// default after that; the supervisor itself goes on as if it were ignored.
func resetIgnored() {
	nobody := make(chan os.Signal, 1)
	for s := syscall.Signal(1); s <= 64; s++ {
		// struct sigaction of the kernel; SIG_DFL is 0, and SIG_IGN 1.
		var action struct{ handler, flags, restorer, mask uintptr }
		at := uintptr(unsafe.Pointer(&action))
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), 0, at, unsafe.Sizeof(action.mask), 0, 0)
		if errno != 0 || action.handler != 1 {
			continue
		}
		switch s {
		case 32, 33, 34: // libc's, for which Go takes no handler
			action.handler = 0
			syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), at, 0, unsafe.Sizeof(action.mask), 0, 0)
		default:
			signal.Notify(nobody, s)
		}
	}
}
