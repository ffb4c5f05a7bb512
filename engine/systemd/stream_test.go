package systemd

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"gm/engine"
)

// TestStreamDropsSignals: what is not wanted is not read, and all else is whole.
func TestStreamDropsSignals(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		server, client := net.Pipe()
		message := func(kind dbus.Type, name string, body ...any) []byte {
			m := &dbus.Message{Type: kind, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldPath: dbus.MakeVariant(unitPath("PropertiesChanged.service")), dbus.FieldInterface: dbus.MakeVariant(propsIface),
				dbus.FieldMember: dbus.MakeVariant(name), dbus.FieldSender: dbus.MakeVariant(":1.1"),
			}}
			if len(body) > 0 {
				m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
			}
			var b strings.Builder
			if err := m.EncodeTo(&b, order); err != nil {
				t.Fatal(err)
			}
			text := []byte(b.String())
			order.PutUint32(text[8:], 1)
			return text
		}
		long := strings.Repeat("x", 200<<10)
		sent := slices.Concat(
			message(dbus.TypeSignal, "PropertiesChanged", "a", map[string]dbus.Variant{"A": dbus.MakeVariant(long)}),
			message(dbus.TypeSignal, "JobRemoved", uint32(1), "b"),
			message(dbus.TypeSignal, "PropertiesChanged"),
			message(dbus.TypeMethodCall, "PropertiesChanged", "c"),
			message(dbus.TypeSignal, "Reloading", long),
			message(dbus.TypeSignal, "PropertiesChanged", "d"))
		go func() {
			server.Write([]byte("OK 0123\r\n"))
			bufio.NewReaderSize(server, 16).ReadString('\n')
			server.Write(sent)
			server.Close()
		}()
		s := &stream{Conn: client, r: bufio.NewReader(client), wanted: func(name []byte) bool { return string(name) != "PropertiesChanged" }}
		line := make([]byte, len("OK 0123\r\n"))
		if _, err := io.ReadFull(s, line); err != nil || string(line) != "OK 0123\r\n" {
			t.Fatalf("before BEGIN: %q, %v", line, err)
		}
		if _, err := s.Write([]byte("BEGIN\r\n")); err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			m, err := dbus.DecodeMessage(s)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, member(m))
		}
		if want := []string{"JobRemoved", "PropertiesChanged", "Reloading"}; !slices.Equal(got, want) {
			t.Errorf("%v: got %q, want %q", order, got, want)
		}
	}
}

// TestLastExit: the end of a process is known while the next one runs.
func TestLastExit(t *testing.T) {
	at := time.UnixMicro(1_700_000_000_000_000)
	before := engine.Exit{Code: 3, At: at.Add(-time.Hour)}
	signal := func(usec uint64, code, status int32) map[string]dbus.Variant {
		return map[string]dbus.Variant{
			"ExecMainExitTimestamp": dbus.MakeVariant(usec), "ExecMainCode": dbus.MakeVariant(code), "ExecMainStatus": dbus.MakeVariant(status),
		}
	}
	for _, test := range []struct {
		name       string
		properties map[string]dbus.Variant
		want       engine.Exit
	}{
		{"exited", signal(uint64(at.UnixMicro()), 1, 7), engine.Exit{Code: 7, At: at}},
		{"killed", signal(uint64(at.UnixMicro()), 2, 9), engine.Exit{Signal: 9, At: at}},
		{"dumped core", signal(uint64(at.UnixMicro()), 3, 6), engine.Exit{Signal: 6, At: at}},
		{"runs", signal(0, 0, 0), before},
		{"of another interface", map[string]dbus.Variant{"ActiveState": dbus.MakeVariant("active")}, before},
	} {
		if got := lastExit(before, test.properties); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
