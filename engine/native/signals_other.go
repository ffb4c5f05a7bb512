//go:build !linux

package native

import (
	"os"
	"os/signal"
	"syscall"
)

// resetIgnored has no process begin with a signal ignored because the supervisor was
// started by nohup, or in the background of a shell; see signals_linux.go.
func resetIgnored() {
	nobody := make(chan os.Signal, 1)
	for s := syscall.Signal(1); s < 32; s++ {
		if signal.Ignored(s) {
			signal.Notify(nobody, s)
		}
	}
}
