package native

import (
	"encoding/json"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// handover is what a supervisor leaves to the program that it executes in its place.
type handover struct {
	PID     int                 `json:"pid"`
	Sockets map[string][]passed `json:"sockets"`
}

// passed is an open socket or FIFO.
type passed struct {
	FD   int    `json:"fd"`
	Name string `json:"name"`
	Path string `json:"path,omitempty"`
	Gone bool   `json:"gone,omitempty"` // RemoveOnStop=
}

func (h Home) handover() string { return filepath.Join(h.Run(), "handover.json") }

// handOver writes down what is open, and returns the descriptors that must stay open.
func (s *sockets) handOver(h Home) (keep []int, err error) {
	note := handover{os.Getpid(), map[string][]passed{}}
	for unit, list := range s.opened {
		for _, k := range list {
			note.Sockets[unit] = append(note.Sockets[unit], passed{k.fd, k.name, k.path, k.gone})
			keep = append(keep, k.fd)
		}
	}
	text, err := json.Marshal(note)
	if err != nil {
		return nil, err
	}
	return keep, os.WriteFile(h.handover(), text, 0o600)
}

// takeOver reads what this process was left by the program that it was before.
func takeOver(h Home) handover {
	var note handover
	text, err := os.ReadFile(h.handover())
	if err != nil {
		return note
	}
	_ = os.Remove(h.handover())
	if json.Unmarshal(text, &note) != nil || note.PID != os.Getpid() {
		return handover{}
	}
	return note
}

// inherit has the sockets that were left open. Those of units that are no more are closed
// when the unit is not opened again.
func (s *sockets) inherit(note handover) {
	for unit, list := range note.Sockets {
		for _, k := range list {
			setInherited(k.FD, false)
			s.opened[unit] = append(s.opened[unit], &socket{k.FD, k.Name, k.Path, k.Gone})
		}
	}
}

// setInherited says whether a descriptor stays open over an exec.
func setInherited(fd int, inherited bool) {
	flag := unix.FD_CLOEXEC
	if inherited {
		flag = 0
	}
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag)
}
