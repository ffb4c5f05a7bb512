package systemd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"gm/engine"
)

// peer is a systemd of which the test says what it answers.
type peer struct {
	*manager
	dials  atomic.Int32
	answer func(p *peer, conn io.Writer, call *dbus.Message) // what is not asked by Open
}

// newPeer listens as /run/systemd/private does, and connects to it.
func newPeer(t *testing.T, answer func(p *peer, conn io.Writer, call *dbus.Message)) *peer {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := Options{Root: root, User: true, RuntimeDir: "/run"}
	l, err := net.Listen("unix", strings.TrimPrefix(o.addresses()[0].name, "unix:path="))
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{answer: answer}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.dials.Add(1)
			t.Cleanup(func() { conn.Close() })
			go p.serve(conn)
		}
	}()
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	p.manager = e.(*manager)
	return p
}

func (p *peer) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	in.ReadByte() // of the credentials
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch strings.TrimSpace(line) {
		case "AUTH":
			io.WriteString(conn, "REJECTED EXTERNAL\r\n")
		case "BEGIN":
			for {
				call, err := dbus.DecodeMessage(in)
				if err != nil {
					return
				}
				switch {
				case slices.Equal(call.Body, []any{managerIface, "Version"}):
					reply(conn, call, dbus.MakeVariant("252.1-1"))
				case slices.Equal(call.Body, []any{managerIface, "UnitPath"}):
					reply(conn, call, dbus.MakeVariant([]string{"/etc/systemd/user"}))
				default:
					p.answer(p, conn, call)
				}
			}
		default:
			io.WriteString(conn, "OK 0123456789abcdef0123456789abcdef\r\n")
		}
	}
}

func member(m *dbus.Message) string { return m.Headers[dbus.FieldMember].Value().(string) }

func reply(conn io.Writer, call *dbus.Message, body ...any) {
	m := &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{}}
	send(conn, call, m)
}

func refuse(conn io.Writer, call *dbus.Message, name string) {
	m := &dbus.Message{Type: dbus.TypeError, Body: []any{"no"}, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldErrorName: dbus.MakeVariant(name),
	}}
	send(conn, call, m)
}

func tell(conn io.Writer, path dbus.ObjectPath, iface, name string, body ...any) {
	m := &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(path), dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant(name),
	}}
	send(conn, nil, m)
}

func send(conn io.Writer, call, m *dbus.Message) {
	if call != nil {
		m.Headers[dbus.FieldReplySerial] = dbus.MakeVariant(call.Serial())
	}
	if len(m.Body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(m.Body...))
	}
	// godbus numbers only what it sends itself, and no message may have number 0.
	var b strings.Builder
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		panic(err)
	}
	text := []byte(b.String())
	binary.LittleEndian.PutUint32(text[8:], 1)
	conn.Write(text)
}

func TestErrorsAreExplained(t *testing.T) {
	for _, c := range []struct {
		name string
		want error
	}{
		{"org.freedesktop.DBus.Error.AccessDenied", engine.ErrDenied},
		{"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", engine.ErrDenied},
		{"org.freedesktop.PolicyKit1.Error.Failed", engine.ErrDenied},
		{"org.freedesktop.DBus.Error.NoReply", engine.ErrUnreachable},
		{"org.freedesktop.DBus.Error.ServiceUnknown", engine.ErrUnreachable},
		{"org.freedesktop.systemd1.UnitMasked", nil},
	} {
		p := newPeer(t, func(_ *peer, conn io.Writer, call *dbus.Message) { refuse(conn, call, c.name) })
		err := p.Do(t.Context(), engine.Job{Op: engine.Start, Unit: "a.service"})
		var failed *engine.JobError
		if refused := errors.As(err, &failed); refused != (c.want == nil) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestBrokenConnection(t *testing.T) {
	p := newPeer(t, func(p *peer, conn io.Writer, call *dbus.Message) {
		if p.dials.Load() == 1 {
			conn.(net.Conn).Close()
			return
		}
		reply(conn, call)
	})
	// All that are under way end at once, and the next connects again.
	done := make(chan error, 50)
	for range cap(done) {
		go func() { done <- p.Reload(t.Context()) }()
	}
	broken := 0
	for range cap(done) {
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, engine.ErrUnreachable) {
				t.Error(err)
			}
			if err != nil {
				broken++
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a call hangs")
		}
	}
	if broken == 0 {
		t.Error("no call noticed")
	}
	if err := p.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if n := p.dials.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	// A write may fail before the reader sees the end.
	explained := (&call{}).done(&dbus.Call{Err: syscall.EPIPE})
	if !errors.Is(explained, errBroken) || !errors.Is(explained, engine.ErrUnreachable) {
		t.Errorf("a failed write: %v", explained)
	}
	p.Close()
	if err := p.Reload(t.Context()); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("after Close: %v", err)
	}
}

func TestNoAnswer(t *testing.T) {
	p := newPeer(t, func(*peer, io.Writer, *dbus.Message) {})
	for what, call := range map[string]func(context.Context) error{
		"reload": p.Reload,
		"units": func(ctx context.Context) error {
			_, err := p.Units(ctx, engine.Brief, []string{"a.service"})
			return err
		},
		"job": func(ctx context.Context) error { return p.Do(ctx, engine.Job{Op: engine.Stop, Unit: "a.service"}) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", what, err)
		}
		cancel()
	}
	if n := len(p.conn.slots); n != 0 {
		t.Errorf("%d calls are still counted", n)
	}
}

// TestJobEndsBeforeReply has systemd tell the end of a job before the reader of the
// reply that names it could register.
func TestJobEndsBeforeReply(t *testing.T) {
	p := newPeer(t, func(_ *peer, conn io.Writer, call *dbus.Message) {
		unit := call.Body[0].(string)
		job := dbus.ObjectPath("/org/freedesktop/systemd1/job/" + strings.TrimSuffix(unit, ".service"))
		tell(conn, object, managerIface, "JobRemoved", uint32(1), job, unit, map[bool]string{true: "done", false: "failed"}[len(unit)%2 == 0])
		reply(conn, call, job)
	})
	for i := range 300 {
		unit := fmt.Sprintf("%d.service", i)
		err := p.Do(t.Context(), engine.Job{Op: engine.Start, Unit: unit})
		if ok := len(unit)%2 == 0; (err == nil) != ok {
			t.Fatalf("%s: %v", unit, err)
		}
	}
	if n := len(p.conn.jobs) + len(p.conn.ended); n != 0 {
		t.Errorf("%d jobs are still known", n)
	}
}

// TestSlowWatcher has many changes of two units pile up: their last state is told.
func TestSlowWatcher(t *testing.T) {
	const changes = 500
	p := newPeer(t, func(_ *peer, conn io.Writer, call *dbus.Message) {
		switch member(call) {
		case "ListUnits":
			reply(conn, call, []systemd.UnitStatus{{Name: "a.service", LoadState: "loaded", ActiveState: "active", SubState: "running", Path: "/a", JobPath: "/"}})
		default:
			for i := range changes {
				for _, unit := range []string{"a.service", "b.service", "c.service"} {
					tell(conn, unitPath(unit), propsIface, "PropertiesChanged", serviceIface,
						map[string]dbus.Variant{"MainPID": dbus.MakeVariant(uint32(i)), "NRestarts": dbus.MakeVariant(uint32(i))}, []string{})
					tell(conn, unitPath(unit), propsIface, "PropertiesChanged", unitIface,
						map[string]dbus.Variant{"ActiveState": dbus.MakeVariant("active"), "SubState": dbus.MakeVariant("running")}, []string{})
				}
			}
			reply(conn, call)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	states, err := p.Watch(ctx, []string{"a.service", "b.service"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Reload(ctx); err != nil { // returns after all signals, which nobody reads
		t.Fatal(err)
	}
	last := map[string]engine.UnitState{}
	told := 0
	for last["a.service"].MainPID != changes-1 || last["b.service"].MainPID != changes-1 {
		select {
		case u := <-states:
			last[u.Name] = u
			told++
		case <-time.After(20 * time.Second):
			t.Fatalf("the last states are %+v", last)
		}
	}
	if told > 10 {
		t.Errorf("told %d states to a reader that came late", told)
	}
	if u := last["b.service"]; u.Restarts != changes-1 || u.Active != "active" || u.Sub != "running" || u.Load != "loaded" {
		t.Errorf("got %+v", u)
	}
	if _, ok := last["c.service"]; ok {
		t.Error("told of a unit that is not watched")
	}
	cancel()
	for range states {
	}
}

func TestUnitPaths(t *testing.T) {
	for _, name := range []string{"a.service", "web@0.service", `we\x2db_1-é.service`, "0.timer", "_"} {
		if got := unitName(unitPath(name)); got != name {
			t.Errorf("%q comes back as %q", name, got)
		}
	}
	if got := unitName("/org/freedesktop/systemd1/job/1"); got != "" {
		t.Errorf("a job is unit %q", got)
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]int{"252.39-1~deb12u2": 252, "v257": 257, "262~rc1-2": 262, "247": 247, "": 0, "x": 0} {
		if got := major(text); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
}

func TestParseCgroup(t *testing.T) {
	for _, c := range []struct{ name, text, unit, unified, memory string }{
		{"v2", "0::/system.slice/a.service\n", "a.service", "/system.slice/a.service", ""},
		{"below", "0::/system.slice/a.service/sub/leaf\n", "a.service", "/system.slice/a.service", ""},
		{"escaped", "0::/system.slice/_cpu.service\n", "cpu.service", "/system.slice/_cpu.service", ""},
		{"elsewhere", "0::/user.slice/session-1.scope\n", "a.service", "", ""},
		{"instance of a user", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-a.slice/a@1.service\n", "a@1.service",
			"/user.slice/user-1000.slice/user@1000.service/app.slice/app-a.slice/a@1.service", ""},
		{"hybrid", "5:memory:/system.slice/a.service\n4:cpu,cpuacct:/\n1:name=systemd:/system.slice/a.service\n0::/system.slice/a.service\n",
			"a.service", "/system.slice/a.service", "memory/system.slice/a.service"},
		{"v1", "5:memory:/\n1:name=systemd:/system.slice/a.service\n", "a.service", "/system.slice/a.service", ""},
		{"nonsense", "a\n:\n", "a.service", "", ""},
	} {
		g := parseCgroup(c.text, c.unit)
		if g == nil {
			g = new(cgroup)
		}
		if g.unified != c.unified || g.v1["memory"] != c.memory {
			t.Errorf("%s: got %+v", c.name, g)
		}
	}
}

func TestReadJournalLine(t *testing.T) {
	for _, c := range []struct{ name, json, want string }{
		{"text", `"a\nb"`, "a\nb"},
		{"bytes", `[104,255,0]`, "h\xff\x00"},
		{"several", `["first","second"]`, "first"},
		{"several of bytes", `[[104,255],[1]]`, "h\xff"},
		{"too long", `null`, ""},
		{"empty", `[]`, ""},
	} {
		var f field
		if err := f.UnmarshalJSON([]byte(c.json)); err != nil || string(f) != c.want {
			t.Errorf("%s: got %q (%v), want %q", c.name, f, err, c.want)
		}
	}
	for _, bad := range []string{`[256]`, `{}`, `[{}]`, `7`} {
		if err := new(field).UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
