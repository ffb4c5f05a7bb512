package native

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// notifier receives what services say by sd_notify(3). Each has a socket of its own, so
// that a message is known to be the unit's even when its sender has ended by then.
type notifier struct {
	home    Home
	main    func(unit string) int // the main process, asked on the loop's goroutine
	mailbox *mailbox
	conns   map[string]*net.UnixConn
}

// listen makes the socket of a unit, or finds it, and returns its address. The address
// is always the same, so that processes which outlive a supervisor reach the next one.
func (n *notifier) listen(unit string) (string, error) {
	address := n.address(unit)
	if n.conns[unit] != nil {
		return address, nil
	}
	if address[0] != '@' {
		_ = os.Remove(address)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: address})
	if err != nil {
		return "", err
	}
	if err := passCredentials(conn); err != nil {
		_ = conn.Close()
		return "", err
	}
	if address[0] != '@' {
		_ = os.Chmod(address, 0o666)
	}
	n.conns[unit] = conn
	go n.receive(unit, conn)
	return address, nil
}

// address is short enough for a socket, whatever the unit's name is.
func (n *notifier) address(unit string) string {
	sum := sha256.Sum256([]byte(string(n.home) + "\x00" + unit))
	return notifyAddress(n.home, hex.EncodeToString(sum[:12]))
}

func (n *notifier) forget(unit string) {
	if conn := n.conns[unit]; conn != nil {
		delete(n.conns, unit)
		_ = conn.Close()
	}
}

func (n *notifier) close() {
	for unit := range n.conns {
		n.forget(unit)
	}
}

// longestMessage is systemd's limit (NOTIFY_BUFFER_MAX).
const longestMessage = 4096

func (n *notifier) receive(unit string, conn *net.UnixConn) {
	buf, oob := make([]byte, longestMessage), make([]byte, 1024)
	for {
		size, sizeOOB, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return // closed
		}
		pid, uid, known := sender(oob[:sizeOOB])
		fields := parseMessage(string(buf[:size]))
		if !known || len(fields) == 0 {
			continue
		}
		n.mailbox.put(func(l *loop) {
			main := n.main(unit)
			if !mayNotify(uid, main) {
				l.log.write(unit, "a message of a foreign user's process was ignored")
				return
			}
			l.feed(evNotified{unit: unit, pid: pid, main: pid == main && pid != 0, fields: fields})
		})
	}
}

// mayNotify reports whether a process of that user may speak for a unit: root, the
// supervisor's user, or the one that the main process runs as.
func mayNotify(uid, main int) bool {
	if uid == 0 || uid == os.Geteuid() || uid < 0 {
		return true
	}
	owner, ok := ownerOf(main)
	return ok && owner == uid
}

// parseMessage reads the lines NAME=value of a message.
func parseMessage(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if name, value, ok := strings.Cut(line, "="); ok && name != "" {
			fields[name] = value
		}
	}
	return fields
}

// closeRights closes descriptors that came with a message. For FDSTORE= there is no
// place, and BARRIER= is answered by closing.
func closeRights(messages []unix.SocketControlMessage) {
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		}
	}
}
