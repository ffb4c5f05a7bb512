package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNotify: what is said arrives, and gm waits until it has been received.
func TestNotify(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: address})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error, 1)
	go func() { ended <- notify(address, "READY=1\nSTATUS=up") }()
	buf, oob := make([]byte, 100), make([]byte, 100)
	n, _, _, _, err := l.ReadMsgUnix(buf, oob)
	if got := string(buf[:n]); got != "READY=1\nSTATUS=up" {
		t.Fatalf("got %q, %v", got, err)
	}
	n, m, _, _, err := l.ReadMsgUnix(buf, oob)
	if got := string(buf[:n]); got != "BARRIER=1" {
		t.Fatalf("got %q, %v", got, err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:m])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	files, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	select {
	case err := <-ended:
		t.Errorf("it ended before the message was received: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	unix.Close(files[0])
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
	if err := notify(address+"-none", "READY=1"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("to nobody: %v", err)
	}
}
