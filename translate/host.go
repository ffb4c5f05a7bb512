package translate

import (
	"path"
	"strings"
)

// Host is what a translation depends on beside its text: the facts of the
// machine that will run the units. The same text and the same Host give the
// same bytes anywhere. Its JSON is what `gm host` prints and --host reads.
type Host struct {
	// CPUs is what "max" and negative instance counts are reckoned from.
	CPUs int `json:"cpus"`
	// Systemd is the version that the units are written for.
	Systemd int `json:"systemd"`
	// Scope is "system" (PID 1's units, root) or "user" (systemd --user).
	Scope string `json:"scope"`
	// Root is the declaration's directory on that machine: the base of every
	// relative path, and of the project's name.
	Root string `json:"root"`
	// Home is what ~ stands for.
	Home string `json:"home"`
	// Gm is the absolute path of gm, for the units that call it.
	Gm string `json:"gm"`
	// Programs maps a command's name to its absolute path; "" is one that is
	// known to be absent.
	Programs map[string]string `json:"programs,omitempty"`
	// Versions maps the path of a node to its version: "20.20.2".
	Versions map[string]string `json:"versions,omitempty"`
	// Accounts maps "user NAME" and "group NAME" to whether they exist.
	Accounts map[string]bool `json:"accounts,omitempty"`
	// Files says what a path holds.
	Files map[string]FileKind `json:"files,omitempty"`

	// Probe answers what the maps do not hold. The zero Probe knows nothing.
	Probe Probe `json:"-"`
}

// Probe asks the machine. Each question is optional.
type Probe struct {
	Program func(name string) string
	Version func(program string) string
	Account func(kind, name string) bool
	File    func(path string) FileKind
}

// FileKind is what is at a path: one of the constants, or the first line of a
// script, "#!/bin/bash".
type FileKind string

// The kinds of files. Unknown is a path nobody looked at.
const (
	FileUnknown FileKind = ""
	FileMissing FileKind = "missing"
	FileText    FileKind = "text"
	FileBinary  FileKind = "binary"
	FileDir     FileKind = "directory"
)

// DefaultSystemd is the version that units are written for when the host has
// no systemd: Debian 12's. MinSystemd is the oldest supported.
const (
	DefaultSystemd = 252
	MinSystemd     = 245
)

// program returns the absolute path of a command. Known is false when nobody
// could look: the path is then a guess.
func (h *Host) program(name string) (file string, known bool) {
	if file, ok := h.Programs[name]; ok {
		return file, true
	}
	if h.Probe.Program != nil {
		return h.Probe.Program(name), true
	}
	return "", false
}

func (h *Host) version(program string) string {
	if v, ok := h.Versions[program]; ok {
		return v
	}
	if h.Probe.Version != nil {
		return h.Probe.Version(program)
	}
	return ""
}

// account reports whether a user or group exists; known is false when nobody
// could look.
func (h *Host) account(kind, name string) (exists, known bool) {
	if exists, ok := h.Accounts[kind+" "+name]; ok {
		return exists, true
	}
	if h.Probe.Account != nil {
		return h.Probe.Account(kind, name), true
	}
	return false, false
}

func (h *Host) file(name string) FileKind {
	if kind, ok := h.Files[name]; ok {
		return kind
	}
	if h.Probe.File != nil {
		return h.Probe.File(name)
	}
	return FileUnknown
}

// resolve makes p absolute: ~ is the home, relative paths are below base.
func (h *Host) resolve(base, p string) string {
	if p == "~" || strings.HasPrefix(p, "~/") {
		return path.Join(h.Home, p[1:])
	}
	if !path.IsAbs(p) {
		p = path.Join(base, p)
	}
	return path.Clean(p)
}

// Scopes of units.
const (
	ScopeSystem = "system"
	ScopeUser   = "user"
)
