package machine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"gm/translate"
)

// prober answers a translation's questions about this machine, when they are
// asked: most declarations need one or two answers.
type prober struct {
	*Caller
	// root is the declaration's directory on the machine that runs the units;
	// dir is where that directory is here.
	root, dir string
	home      string
	// found is the programs that were asked for and are here.
	found map[string]bool
}

func (p *prober) probe() translate.Probe {
	return translate.Probe{Program: p.program, Version: p.version, Account: p.Account, File: p.file}
}

// systemDirs is where programs are that a caller's PATH may leave out.
var systemDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// Path lists the directories of programs: the caller's, then systemd's. Relative
// ones are left out, since units run elsewhere.
func (c *Caller) Path() []string {
	var dirs []string
	for _, dir := range append(filepath.SplitList(c.Getenv("PATH")), systemDirs...) {
		if filepath.IsAbs(dir) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// program returns the absolute path of a command, or "". "node@X" is a version
// that nvm installed.
func (p *prober) program(name string) string {
	path := p.find(name)
	if path != "" {
		p.found[path] = true
	}
	return path
}

func (p *prober) find(name string) string {
	if version, ok := strings.CutPrefix(name, "node@"); ok {
		nvm := p.Getenv("NVM_DIR")
		if nvm == "" {
			nvm = filepath.Join(p.home, ".nvm")
		}
		node := filepath.Join(nvm, "versions/node", "v"+strings.TrimPrefix(version, "v"), "bin/node")
		if strings.Contains(version, "/") || !Executable(node) {
			return ""
		}
		return node
	}
	return p.LookPath(name)
}

// LookPath is exec.LookPath with the caller's environment for the process's own.
func (c *Caller) LookPath(name string) string {
	if name == "" || strings.Contains(name, "/") {
		return ""
	}
	for _, dir := range c.Path() {
		if file := filepath.Join(dir, name); Executable(file) {
			return file
		}
	}
	return ""
}

// Executable reports whether a file is a program.
func Executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// version asks a node for its version: "20.20.2", or "" when it does not say.
func (p *prober) version(program string) string {
	ctx, cancel := context.WithTimeout(context.Background(), VersionLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = p.Environ
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(strings.TrimSpace(line), "v")
}

// Account reports whether a "user" or "group" exists. Without cgo, os/user
// reads /etc/passwd and /etc/group only; getent also knows LDAP and the like.
func (c *Caller) Account(kind, name string) bool {
	database := "passwd"
	lookups := []func(string) error{
		func(s string) error { _, err := user.Lookup(s); return err },
		func(s string) error { _, err := user.LookupId(s); return err },
	}
	if kind == "group" {
		database = "group"
		lookups = []func(string) error{
			func(s string) error { _, err := user.LookupGroup(s); return err },
			func(s string) error { _, err := user.LookupGroupId(s); return err },
		}
	}
	for _, lookup := range lookups {
		if lookup(name) == nil {
			return true
		}
	}
	getent := c.LookPath("getent")
	if getent == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), VersionLimit)
	defer cancel()
	return exec.CommandContext(ctx, getent, "--", database, name).Run() == nil
}

// file looks at what is at a path of the target machine. Below root that is
// here below dir; elsewhere nobody can tell, unless the target is this machine.
// Programs were taken from this machine, so their files are too.
func (p *prober) file(path string) translate.FileKind {
	if local, ok := relocate(path, p.root, p.dir); ok {
		return lookAt(local)
	}
	if p.root != p.dir && !p.found[path] {
		return translate.FileUnknown
	}
	return lookAt(path)
}

// relocate maps a path below the directory from to the same path below to.
func relocate(path, from, to string) (string, bool) {
	rel, err := filepath.Rel(from, path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	return filepath.Join(to, rel), true
}

// lookAt tells what a path of this machine holds.
func lookAt(path string) translate.FileKind {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err != nil && strings.Contains(Reason(err), "not a directory"):
		return translate.FileMissing
	case err != nil:
		return translate.FileUnknown
	case info.IsDir():
		return translate.FileDir
	case !info.Mode().IsRegular(): // opening a pipe would wait for its writer
		return translate.FileUnknown
	}
	f, err := os.Open(path)
	if err != nil {
		return translate.FileUnknown
	}
	defer f.Close()
	head := make([]byte, sniffLength)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return translate.FileUnknown
	}
	return sniff(head[:n])
}

// sniffLength is how much of a file PM2 looks at, and longestShebang how much
// of a first line the kernel does (BINPRM_BUF_SIZE).
const (
	sniffLength    = 512
	longestShebang = 256
)

// sniff tells a file's kind from its first bytes: as PM2 does
// (lib/tools/isbinaryfile.js), and the line of a script that says who reads it.
func sniff(head []byte) translate.FileKind {
	if binary(head) {
		return translate.FileBinary
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	line = bytes.TrimRight(line, " \t\r")
	if bytes.HasPrefix(line, []byte("#!")) && len(line) <= longestShebang && len(line) > 2 {
		return translate.FileKind(line)
	}
	return translate.FileText
}

// binary reports a NUL byte, or more than a tenth of bytes that text does not
// hold. A byte-order mark makes any file text. The details are PM2's: what
// counts as text is 7 to 14, 32 to 127 and UTF-8 sequences of two and three
// bytes, and after 33 bytes the tenth is taken of the whole.
func binary(head []byte) bool {
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		return false
	}
	odd := 0
	tooMany := func() bool { return odd*100 > 10*len(head) }
	continues := func(i int) bool { return i < len(head) && head[i] > 127 && head[i] < 192 }
	for i := 0; i < len(head); i++ {
		c := head[i]
		switch {
		case c == 0:
			return true
		case c >= 7 && c <= 14, c >= 32 && c <= 127:
			continue
		case c > 193 && c < 224 && i+1 < len(head):
			i++
			if continues(i) {
				continue
			}
		case c > 223 && c < 240 && i+2 < len(head):
			i++
			if continues(i) && continues(i+1) {
				i++
				continue
			}
		}
		odd++
		if i > 32 && tooMany() {
			return true
		}
	}
	return tooMany()
}
