package native

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What a killed supervisor listened on is with the app that it left.
func TestRegainSockets(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "app.sock")
	local, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	local.(*net.UnixListener).SetUnlinkOnClose(false)
	app := exec.Command("/bin/sleep", "60")
	for _, l := range []interface{ File() (*os.File, error) }{tcp.(*net.TCPListener), local.(*net.UnixListener)} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		app.ExtraFiles = append(app.ExtraFiles, f)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() { _ = app.Process.Kill(); _ = app.Wait() }
	t.Cleanup(end)
	for _, f := range app.ExtraFiles {
		f.Close()
	}
	tcp.Close()
	local.Close()
	main, ok := lookAt(app.Process.Pid)
	if !ok {
		t.Fatal("the app has ended")
	}

	lib := mustLoad(t, home(t, `
-- app@.service --
[Service]
ExecStart=/bin/sleep 60
Sockets=app.socket
-- app.socket --
[Socket]
ListenStream=`+path+`
ListenStream=`+tcp.Addr().String()+`
Service=app@0.service
`), false, nil)
	left := []record{
		{Unit: "app.socket", Active: "active", Sub: "running"},
		{Unit: "app@1.service", Active: "active", Sub: "running", Main: main.proc},
	}
	s, _ := newTestSockets(t)
	if err := s.open("app.socket", mustFind(t, lib, "app.socket")); err == nil {
		t.Fatal("the addresses are free")
	}
	s.regain(lib, left)
	if err := s.open("app.socket", mustFind(t, lib, "app.socket")); err != nil {
		t.Fatal(err)
	}
	fds, _ := s.files([]string{"app.socket"})
	if len(fds) != 2 {
		t.Fatalf("it has %v", fds)
	}
	if at, err := unix.Getsockname(int(fds[0])); err != nil || at.(*unix.SockaddrUnix).Name != path {
		t.Errorf("the first is %v, %v", at, err)
	}
	end() // the listeners stay
	for _, l := range []struct{ network, address string }{{"tcp", tcp.Addr().String()}, {"unix", path}} {
		conn, err := net.Dial(l.network, l.address)
		if err != nil {
			t.Error(err)
			continue
		}
		conn.Close()
	}
}
