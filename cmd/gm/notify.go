package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// newNotifyCmd is what the script that Node loads calls when an app says that it is ready.
func newNotifyCmd(c *caller) *cobra.Command {
	return &cobra.Command{
		Use:   "notify VARIABLE=VALUE...",
		Short: "Tell the service manager of the calling service's state (called by apps)",
		Long: `notify sends what systemd calls a notification (sd_notify(3)) to the address in
NOTIFY_SOCKET, and ends when it has been received. Node apps need not call it:
process.send('ready') does, where wait_ready is declared.`,
		Example: "  gm notify READY=1",
		Args:    arguments(1, math.MaxInt),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				if name, _, ok := strings.Cut(arg, "="); !ok || name == "" || strings.Contains(arg, "\n") {
					return usage("write READY=1", "%q is no VARIABLE=VALUE", arg)
				}
			}
			address := c.getenv("NOTIFY_SOCKET")
			if address == "" {
				return &failure{statusFailed, "no-notify-socket", "NOTIFY_SOCKET is not set: nobody waits for a notification", "services have it that declare wait_ready"}
			}
			if err := notify(address, strings.Join(args, "\n")); err != nil {
				return &failure{statusFailed, "failed", fmt.Sprintf("cannot notify %s: %v", address, err), ""}
			}
			return nil
		},
	}
}

// notifyLimit is how long a service manager may take to receive a message.
const notifyLimit = 5 * time.Second

// notify sends a message and waits until it has been received: systemd finds the service by
// the process that sent it, which must still be there.
func notify(address, text string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: address})
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(text)); err != nil {
		return err
	}
	// The receiver closes what comes with BARRIER=1 (sd_notify_barrier(3)).
	received, barrier, err := os.Pipe()
	if err != nil {
		return err
	}
	defer received.Close()
	err = sendFile(conn, "BARRIER=1", barrier)
	_ = barrier.Close()
	if err != nil {
		return err
	}
	if err := received.SetReadDeadline(time.Now().Add(notifyLimit)); err != nil {
		return err
	}
	if _, err := received.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("it was not received within %s", notifyLimit)
	}
	return nil
}

// sendFile sends a message with a file. Go's own WriteMsgUnix does not where a connection is
// one of datagrams.
func sendFile(conn *net.UnixConn, text string, file *os.File) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		failed = unix.Sendmsg(int(fd), []byte(text), unix.UnixRights(int(file.Fd())), nil, 0)
		return failed != unix.EAGAIN
	})
	return cmp.Or(err, failed)
}
