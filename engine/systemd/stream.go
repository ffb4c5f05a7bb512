package systemd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"

	"github.com/godbus/dbus/v5"
)

// stream is a socket without the signals that nobody waits for. systemd itself tells
// its peers of every change of every unit, with tens of properties, and godbus decodes
// all that it reads: for the start of 100 services that is 70 ms of a CPU that they
// could use.
type stream struct {
	net.Conn
	r      *bufio.Reader // godbus reads each field of a message by itself
	wanted func(member []byte) bool

	begun bool // what follows are messages
	left  int  // of the message that is being read
}

func (s *stream) Write(p []byte) (int, error) {
	// Nobody else reads or writes before that line, see the D-Bus specification.
	if !s.begun && bytes.Equal(p, []byte("BEGIN\r\n")) {
		s.begun = true
	}
	return s.Conn.Write(p)
}

func (s *stream) Read(p []byte) (int, error) {
	if !s.begun {
		return s.r.Read(p)
	}
	if s.left == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n, err := s.r.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

// headLen is the length of what each message begins with, the length of its header
// fields at the end.
const headLen = 16

// next goes to the next message that is wanted.
func (s *stream) next() error {
	for {
		head, err := s.r.Peek(headLen)
		if err != nil {
			return err
		}
		var order binary.ByteOrder = binary.LittleEndian
		if head[0] == 'B' {
			order = binary.BigEndian
		}
		isSignal := dbus.Type(head[1]) == dbus.TypeSignal
		fields := int(order.Uint32(head[12:]))
		s.left = headLen + (fields+7)&^7 + int(order.Uint32(head[4:]))
		if !isSignal || headLen+fields > s.r.Size() {
			return nil
		}
		head, err = s.r.Peek(headLen + fields)
		if err != nil {
			return err
		}
		if s.wanted(memberOf(head[headLen:], order)) {
			return nil
		}
		if _, err := s.r.Discard(s.left); err != nil {
			return err
		}
	}
}

// memberOf finds the name of a signal among its header fields: structs of a number, a
// signature and a value, each at a multiple of 8. It is nil where there is none, or
// something that is not understood.
func memberOf(fields []byte, order binary.ByteOrder) []byte {
	for at := 0; at+8 <= len(fields); at = (at + 7) &^ 7 {
		field, kind := dbus.HeaderField(fields[at]), string(fields[at+1:at+4])
		switch kind {
		case "\x01s\x00", "\x01o\x00":
			start := at + 8
			end := start + int(order.Uint32(fields[at+4:]))
			if end < start || end > len(fields) {
				return nil
			}
			if field == dbus.FieldMember {
				return fields[start:end]
			}
			at = end + 1
		case "\x01g\x00":
			at += 4 + 1 + int(fields[at+4]) + 1
		case "\x01u\x00":
			at += 8
		default:
			return nil
		}
	}
	return nil
}

// wanted reports whether someone waits for signals of that name. Those that are not
// understood, and those about names, are godbus's.
func (c *conn) wanted(member []byte) bool {
	switch string(member) {
	case "JobNew", "UnitNew", "UnitRemoved", "UnitFilesChanged", "StartupFinished":
		return false
	case "PropertiesChanged":
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.watches) > 0
	}
	return true
}
