package native

import (
	"cmp"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"gm/diag"
	"gm/units"
)

// expanded resolves the specifiers of a text: systemd.unit(5), SPECIFIERS.
func (b *builder) expanded(s units.Spec) string {
	if !strings.Contains(string(s), "%") {
		return b.intern(string(s))
	}
	return b.intern(s.Expand(b.specifier))
}

// specifier resolves those that are about the unit, and leaves the others to the facts.
func (b *builder) specifier(c byte) (string, bool) {
	name := b.d.name
	base := strings.TrimSuffix(name, path.Ext(name))
	prefix, instance, isInstance := strings.Cut(base, "@")
	final := prefix[strings.LastIndexByte(prefix, '-')+1:]
	switch c {
	case 'n':
		return name, true
	case 'N':
		return base, true
	case 'p':
		return prefix, true
	case 'P':
		return unescape(prefix), true
	case 'i':
		return instance, true
	case 'I':
		return unescape(instance), true
	case 'j':
		return final, true
	case 'J':
		return unescape(final), true
	case 'f':
		file := prefix
		if isInstance {
			file = instance
		}
		if file == "-" {
			return "/", true
		}
		return "/" + unescape(file), true
	case 'y':
		return b.d.fragment, b.d.fragment != ""
	case 'Y':
		return path.Dir(b.d.fragment), b.d.fragment != ""
	}
	return b.lib.facts.get(c)
}

// unescape undoes systemd-escape(1), where "-" was "/".
func unescape(name string) string { return units.UnescapeName(strings.ReplaceAll(name, "-", "/")) }

// facts are what specifiers say of the machine and of who runs the supervisor. Each is
// found out when a unit asks for it.
type facts struct {
	user  bool
	home  Home
	known map[byte]string
	who   *account
	os    map[string]string // os-release(5)
}

func (f *facts) get(c byte) (string, bool) {
	if text, ok := f.known[c]; ok {
		return text, true
	}
	text, ok := f.find(c)
	if ok {
		if f.known == nil {
			f.known = map[byte]string{}
		}
		f.known[c] = text
	}
	return text, ok
}

func (f *facts) find(c byte) (string, bool) {
	if text, ok := f.place(c); ok {
		return text, true
	}
	switch c {
	case 'u':
		return f.account().name, true
	case 'U':
		return strconv.Itoa(f.account().uid), true
	case 'g':
		gid := strconv.Itoa(f.account().gid)
		if g, err := user.LookupGroupId(gid); err == nil {
			return g.Name, true
		}
		return gid, true
	case 'G':
		return strconv.Itoa(f.account().gid), true
	case 'h':
		return f.account().home, true
	case 's':
		return f.account().shell, true
	case 'H':
		return hostName(), true
	case 'l':
		return shortHostName(), true
	case 'q':
		if pretty := readPairs("/etc/machine-info")["PRETTY_HOSTNAME"]; pretty != "" {
			return pretty, true
		}
		return shortHostName(), true
	case 'm':
		return machineID(), true
	case 'b':
		return thisBoot(), true
	case 'v':
		return kernelRelease(), true
	case 'a':
		return architecture(), true
	}
	if key, ok := releaseKeys[c]; ok {
		if f.os == nil {
			f.os = osRelease()
		}
		return f.os[key], true
	}
	return "", false
}

// place returns the directories of the table of specifiers. Those of a user are the ones that
// the XDG variables stand for when they are not set: whatever shell started the supervisor,
// its units mean the same. There may be no /run/user where there is no systemd, so what a
// user's units keep there is kept in the home.
func (f *facts) place(c byte) (string, bool) {
	switch c {
	case 'T':
		return "/tmp", true
	case 'V':
		return "/var/tmp", true
	}
	if !f.user {
		place, ok := map[byte]string{'t': systemRun, 'S': "/var/lib", 'C': "/var/cache", 'L': "/var/log", 'E': "/etc", 'D': "/usr/share"}[c]
		return place, ok
	}
	if c == 't' {
		return f.home.Run(), true
	}
	place, ok := map[byte]string{
		'S': ".local/state", 'C': ".cache", 'L': ".local/state/log", 'E': ".config", 'D': ".local/share",
	}[c]
	return filepath.Join(f.account().home, place), ok
}

// account is the user of the supervisor, which User= does not change.
func (f *facts) account() *account {
	if f.who != nil {
		return f.who
	}
	users := newAccounts()
	who, ok := users.user(strconv.Itoa(os.Getuid()))
	if !ok { // as in a container that runs as any number
		who = account{name: strconv.Itoa(os.Getuid()), uid: os.Getuid(), gid: os.Getgid(), home: "/"}
	}
	if home, err := os.UserHomeDir(); err == nil && f.user && path.IsAbs(home) {
		who.home = home
	}
	who.shell = cmp.Or(who.shell, "/bin/sh")
	f.who = &who
	return f.who
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

func shortHostName() string {
	short, _, _ := strings.Cut(hostName(), ".")
	return short
}

// machineID is "" where there is none.
func machineID() string {
	for _, file := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if text, err := os.ReadFile(file); err == nil {
			if id := strings.TrimSpace(string(text)); len(id) == 32 {
				return id
			}
		}
	}
	return ""
}

// architecture is the machine's, in systemd's words: systemd.unit(5), ConditionArchitecture=.
func architecture() string {
	if name, ok := map[string]string{
		"amd64": "x86-64", "386": "x86", "mipsle": "mips-le", "mips64le": "mips64-le", "ppc64le": "ppc64-le", "loong64": "loongarch64",
	}[runtime.GOARCH]; ok {
		return name
	}
	return runtime.GOARCH
}

// releaseKeys are the fields of os-release(5) that have a specifier.
var releaseKeys = map[byte]string{
	'o': "ID", 'w': "VERSION_ID", 'W': "VARIANT_ID", 'A': "IMAGE_VERSION", 'B': "BUILD_ID", 'M': "IMAGE_ID",
}

func osRelease() map[string]string {
	pairs := readPairs("/etc/os-release")
	if len(pairs) == 0 {
		pairs = readPairs("/usr/lib/os-release")
	}
	return pairs
}

// readPairs reads a file of assignments; one that cannot be read has none.
func readPairs(file string) map[string]string {
	pairs := map[string]string{}
	text, err := os.ReadFile(file)
	if err != nil {
		return pairs
	}
	u, _ := units.Parse("pairs.env", diag.NewSource(file, text))
	for _, d := range u.Directives {
		if v, ok := d.Value.(units.FileAssign); ok {
			pairs[d.Key] = string(v)
		}
	}
	return pairs
}
