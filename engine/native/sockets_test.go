package native

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// awaitEvent returns the next event that is posted.
func awaitEvent(t *testing.T, events <-chan event) event {
	t.Helper()
	select {
	case ev := <-events:
		return ev
	case <-time.After(20 * time.Second):
		t.Fatal("no event in 20 s")
		return nil
	}
}

func newTestSockets(t *testing.T) (*sockets, <-chan event) {
	events := make(chan event, 16)
	s := newSockets(func(ev event) { events <- ev })
	t.Cleanup(s.closeAll)
	return s, events
}

// socketUnit is a socket unit of some Listen…= lines.
func socketUnit(lines ...listenDef) *definition {
	return &definition{kind: kindSocket, socket: &socketDef{listen: lines, mode: 0o666, dirMode: 0o755}}
}

func TestSocketQueuesWhileNobodyListens(t *testing.T) {
	s, events := newTestSockets(t)
	if err := s.open("web.socket", socketUnit(listenDef{"stream", "127.0.0.1:0"})); err != nil {
		t.Fatal(err)
	}
	fds, names := s.files([]string{"web.socket"})
	if len(fds) != 1 || names[0] != "web.socket" {
		t.Fatalf("files: %v %v", fds, names)
	}
	bound, err := unix.Getsockname(int(fds[0]))
	if err != nil {
		t.Fatal(err)
	}
	s.listen("web.socket")
	conn, err := net.DialTimeout("tcp", (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: bound.(*unix.SockaddrInet4).Port}).String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if ev := awaitEvent(t, events); ev != (evIncoming{"web.socket"}) {
		t.Errorf("told %#v", ev)
	}
	// Told once only: the service has it now.
	select {
	case ev := <-events:
		t.Errorf("told again: %#v", ev)
	default:
	}
	// Asked again, told again, as the connection still waits.
	s.listen("web.socket")
	awaitEvent(t, events)
}

func TestSocketOfFileSystem(t *testing.T) {
	s, _ := newTestSockets(t)
	path := filepath.Join(t.TempDir(), "new", "app.sock")
	unit := socketUnit(listenDef{"stream", path})
	unit.socket.mode, unit.socket.removeOnStop = 0o600, true
	// What a killed supervisor left is in nobody's way.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	if err := s.open("app.socket", unit); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	s.close("app.socket")
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("RemoveOnStop=yes leaves %s: %v", path, err)
	}
}

func TestFIFOHasNoEnd(t *testing.T) {
	s, events := newTestSockets(t)
	path := filepath.Join(t.TempDir(), "log.fifo")
	if err := s.open("log.socket", socketUnit(listenDef{"fifo", path})); err != nil {
		t.Fatal(err)
	}
	s.listen("log.socket")
	writer, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	writer.WriteString("a line\n")
	writer.Close()
	awaitEvent(t, events)
	fds, _ := s.files([]string{"log.socket"})
	buf := make([]byte, 100)
	if n, _ := unix.Read(int(fds[0]), buf); string(buf[:n]) != "a line\n" {
		t.Errorf("read %q", buf[:n])
	}
	// No end of file although no writer is left.
	if _, err := unix.Read(int(fds[0]), buf); err != unix.EAGAIN {
		t.Errorf("reading the empty FIFO: %v", err)
	}
}

func TestSocketErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, want string
		lines      []listenDef
	}{
		{"address in use", "address already in use", []listenDef{{"stream", "127.0.0.1:0"}, {"stream", taken.Addr().String()}}},
		{"no address", "is no address", []listenDef{{"stream", "localhost"}}},
		{"no FIFO", "is no FIFO", []listenDef{{"fifo", file}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := newTestSockets(t)
			err := s.open("x.socket", socketUnit(test.lines...))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.lines[len(test.lines)-1].address) {
				t.Errorf("error %v; %q and the address are expected", err, test.want)
			}
			if fds, _ := s.files([]string{"x.socket"}); len(fds) > 0 {
				t.Errorf("%d sockets stay open", len(fds))
			}
		})
	}
}

// An address family that is not there leaves the other.
func TestAddress(t *testing.T) {
	for text, want := range map[string]int{
		"127.0.0.1:80": unix.AF_INET, "[::1]:80": unix.AF_INET6, "/run/x.sock": unix.AF_UNIX, "@x": unix.AF_UNIX,
	} {
		if _, family, err := address(text); err != nil || family != want {
			t.Errorf("address(%q) is of family %d: %v", text, family, err)
		}
	}
	if _, _, err := address("65536"); err == nil {
		t.Error("port 65536 is taken")
	}
}

func TestHandOver(t *testing.T) {
	home := Home(t.TempDir())
	if err := os.Mkdir(home.Run(), 0o700); err != nil {
		t.Fatal(err)
	}
	s, _ := newTestSockets(t)
	if err := s.open("web.socket", socketUnit(listenDef{"stream", "127.0.0.1:0"})); err != nil {
		t.Fatal(err)
	}
	keep, err := s.handOver(home)
	if err != nil || len(keep) != 1 {
		t.Fatalf("%v %v", keep, err)
	}
	next := newSockets(func(event) {})
	next.inherit(takeOver(home))
	fds, names := next.files([]string{"web.socket"})
	if len(fds) != 1 || int(fds[0]) != keep[0] || names[0] != "web.socket" {
		t.Errorf("taken over: %v %v", fds, names)
	}
	if err := next.open("web.socket", socketUnit(listenDef{"stream", "256.0.0.1:1"})); err != nil {
		t.Errorf("what is open is opened again: %v", err)
	}
	if again := takeOver(home); len(again.Sockets) > 0 {
		t.Errorf("taken over twice: %v", again)
	}
	// That of another process is not ours.
	if err := os.WriteFile(home.handover(), []byte(`{"pid":1,"sockets":{"a.socket":[{"fd":3}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if foreign := takeOver(home); len(foreign.Sockets) > 0 {
		t.Errorf("taken over from another process: %v", foreign)
	}
}

func TestNotify(t *testing.T) {
	home := Home(t.TempDir())
	if err := os.Mkdir(home.Run(), 0o700); err != nil {
		t.Fatal(err)
	}
	box := mailbox{wake: make(chan struct{}, 1)}
	n := &notifier{home: home, mailbox: &box, conns: map[string]*net.UnixConn{}, main: func(string) int { return os.Getpid() }}
	defer n.close()
	address, err := n.listen("web@1.service")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := n.listen("web@1.service"); again != address || err != nil {
		t.Errorf("the second address is %q, %v", again, err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	before := descriptors(t)
	// systemd-notify(1) sends a descriptor and waits for it to be closed.
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	message, rights := []byte("READY=1\nSTATUS=as=it is\nnothing"), unix.UnixRights(pipe[1])
	if err := unix.Sendmsg(fd, message, rights, &unix.SockaddrUnix{Name: address}, 0); err != nil {
		t.Fatal(err)
	}
	syscall.Close(pipe[1])
	select {
	case <-box.wake:
	case <-time.After(20 * time.Second):
		t.Fatal("no message in 20 s")
	}
	if got := box.take(); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
	if n, err := syscall.Read(pipe[0], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the barrier stays: %d %v", n, err)
	}
	syscall.Close(pipe[0])
	if after := descriptors(t); after != before {
		t.Errorf("%d files are open, %d were", after, before)
	}
}

func TestParseMessage(t *testing.T) {
	got := parseMessage("READY=1\nSTATUS=as=it is\nnothing\n=x\n")
	if len(got) != 2 || got["READY"] != "1" || got["STATUS"] != "as=it is" {
		t.Errorf("%v", got)
	}
}

// descriptors counts the descriptors of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestTimersComeInOrder(t *testing.T) {
	ts := timers{byToken: map[token]*armed{}}
	now := time.Now()
	for i, after := range []int{5, 1, 4, 2, 3} {
		ts.arm(effArm{token: token(i), at: now.Add(time.Duration(after) * time.Second)})
	}
	ts.arm(effArm{token: 1, at: now.Add(10 * time.Second)}) // again, later
	ts.disarm(4)
	ts.disarm(99)
	var got []token
	for ts.Len() > 0 {
		next := ts.list[0].token
		got = append(got, next)
		ts.disarm(next)
	}
	if want := []token{3, 2, 0, 1}; len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("the order is %v, not %v", got, want)
	}
	if len(ts.byToken) != 0 {
		t.Errorf("%d timers are left", len(ts.byToken))
	}
}
