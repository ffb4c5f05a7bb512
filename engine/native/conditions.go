package native

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gm/units"
)

// allHold evaluates the conditions of a unit: all of them must hold, but of those with "|"
// one is enough (systemd.unit(5), CONDITIONS AND ASSERTS).
func allHold(conditions []condition, holds func(condition) bool) bool {
	triggers, triggered := false, false
	for _, c := range conditions {
		switch {
		case c.trigger:
			triggers = true
			triggered = triggered || holds(c)
		case !holds(c):
			return false
		}
	}
	return triggered || !triggers
}

// holds evaluates a condition on this machine (systemd.unit(5), CONDITIONS AND ASSERTS).
func holds(c condition) bool {
	test, ok := conditionTests[c.key]
	return !ok || test(c.value) != c.negate
}

// conditionTests are the testedConditions of rules.go.
var conditionTests = map[string]func(value string) bool{
	"Architecture":      func(v string) bool { return v == "native" || v == architecture() },
	"Virtualization":    isVirtual,
	"Host":              isHost,
	"KernelCommandLine": isOnCommandLine,
	"KernelVersion":     func(v string) bool { return matchesAll(kernelRelease(), v, "$=") },
	"ACPower":           func(v string) bool { return onMains() == isYes(v) },
	"FirstBoot":         func(v string) bool { return !isYes(v) }, // a supervisor is not part of an installation
	"OSRelease":         isRelease,
	"Memory": func(v string) bool {
		return compares(uint64(machineMemory()), v, func(text string) (uint64, bool) {
			size, err := units.ParseValue(units.Rule{Kind: units.KindBytes}, text)
			n, ok := size.(units.Bytes)
			return uint64(n), err == nil && ok
		})
	},
	"CPUs": func(v string) bool {
		return compares(uint64(runtime.NumCPU()), v, func(text string) (uint64, bool) {
			n, err := strconv.ParseUint(text, 10, 32)
			return n, err == nil
		})
	},
	"User":  isUser,
	"Group": isGroup,

	"PathExists": func(v string) bool { _, err := os.Stat(v); return err == nil },
	"PathExistsGlob": func(v string) bool {
		found, err := filepath.Glob(v)
		return err == nil && len(found) > 0
	},
	"PathIsDirectory":    func(v string) bool { return modeIs(os.Stat, v, fs.ModeDir) },
	"PathIsSymbolicLink": func(v string) bool { return modeIs(os.Lstat, v, fs.ModeSymlink) },
	"PathIsSocket":       func(v string) bool { return modeIs(os.Stat, v, fs.ModeSocket) },
	"PathIsMountPoint":   isMountPoint,
	"PathIsReadWrite":    isWritable,
	"DirectoryNotEmpty":  func(v string) bool { list, err := os.ReadDir(v); return err == nil && len(list) > 0 },
	"FileNotEmpty":       func(v string) bool { i, err := os.Stat(v); return err == nil && i.Mode().IsRegular() && i.Size() > 0 },
	"FileIsExecutable": func(v string) bool {
		i, err := os.Stat(v)
		return err == nil && i.Mode().IsRegular() && i.Mode()&0o111 != 0
	},
}

// isPathCondition reports whether a condition's value is a path.
func isPathCondition(key string) bool {
	return strings.HasPrefix(key, "Path") || strings.HasPrefix(key, "File") || key == "DirectoryNotEmpty"
}

func modeIs(stat func(string) (fs.FileInfo, error), file string, mode fs.FileMode) bool {
	info, err := stat(file)
	return err == nil && info.Mode()&mode != 0
}

// isOtherDevice reports whether a directory lies on another device than the one above it.
func isOtherDevice(file string) bool {
	var here, above unix.Stat_t
	if unix.Stat(file, &here) != nil || unix.Stat(path.Join(file, ".."), &above) != nil {
		return false
	}
	return here.Dev != above.Dev || here.Ino == above.Ino // the root is its own parent
}

// isWritable asks about the file system, not about permission.
func isWritable(file string) bool {
	err := unix.Access(file, unix.W_OK)
	return err == nil || err == unix.EACCES
}

func isYes(value string) bool {
	v, err := units.ParseValue(units.Rule{Kind: units.KindBool}, value)
	return err == nil && v == units.Bool(true)
}

func isHost(value string) bool {
	if value == machineID() {
		return true
	}
	ok, err := path.Match(strings.ToLower(value), strings.ToLower(hostName()))
	return err == nil && ok
}

func isUser(value string) bool {
	uid := os.Getuid()
	if value == "@system" {
		return uid < 1000 || uid == 65534
	}
	users := newAccounts()
	who, ok := users.user(value)
	return value == strconv.Itoa(uid) || ok && who.uid == uid
}

func isGroup(value string) bool {
	users := newAccounts()
	gid, ok := users.groupID(value)
	if !ok {
		return false
	}
	groups, _ := os.Getgroups()
	return gid == os.Getgid() || gid == os.Getegid() || slices.Contains(groups, gid)
}

// isOnCommandLine looks for an option of the kernel, or in a container of its first process.
func isOnCommandLine(value string) bool {
	file := "/proc/cmdline"
	if container() != "" {
		file = "/proc/1/cmdline"
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for word := range strings.FieldsSeq(strings.ReplaceAll(string(text), "\x00", " ")) {
		name, _, _ := strings.Cut(word, "=")
		if word == value || name == value {
			return true
		}
	}
	return false
}

// onMains reports whether a mains adapter is connected, or none is known.
func onMains() bool {
	adapters, _ := filepath.Glob("/sys/class/power_supply/*/type")
	known := false
	for _, file := range adapters {
		if readLine(file) != "Mains" {
			continue
		}
		known = true
		if readLine(filepath.Join(filepath.Dir(file), "online")) == "1" {
			return true
		}
	}
	return !known
}

func readLine(file string) string {
	text, _ := os.ReadFile(file)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// isVirtual knows containers by their kind. Virtual machines it tells from others by what the
// processor says, without their makers.
func isVirtual(value string) bool {
	inside := container()
	machine := inside == "" && isVirtualMachine()
	switch value {
	case "container":
		return inside != ""
	case "vm":
		return machine
	}
	if v, err := units.ParseValue(units.Rule{Kind: units.KindBool}, value); err == nil {
		return v == units.Bool(inside != "" || machine)
	}
	return value == inside
}

func isVirtualMachine() bool {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, flags, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "flags" {
			return slices.Contains(strings.Fields(flags), "hypervisor")
		}
	}
	return false
}

// container returns the kind of container that this is, in the words of
// systemd-detect-virt(1), or "".
func container() string {
	if strings.Contains(strings.ToLower(kernelRelease()), "microsoft") {
		return "wsl"
	}
	for _, mark := range [...]struct{ file, kind string }{{"/run/.containerenv", "podman"}, {"/.dockerenv", "docker"}} {
		if _, err := os.Lstat(mark.file); err == nil {
			return mark.kind
		}
	}
	if kind := readLine("/run/systemd/container"); kind != "" {
		return kind
	}
	environ, _ := os.ReadFile("/proc/1/environ")
	for pair := range strings.SplitSeq(string(environ), "\x00") {
		if kind, ok := strings.CutPrefix(pair, "container="); ok && kind != "" {
			return kind
		}
	}
	return ""
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func isRelease(value string) bool {
	release := osRelease()
	for word := range strings.FieldsSeq(value) {
		end := strings.IndexAny(word, "=<>!$")
		if end <= 0 || !matches(release[word[:end]], strings.Trim(word[end:], `"'`), "=") {
			return false
		}
	}
	return true
}

// operators are those of versions, the longer ones first.
var operators = []string{"!$=", "$=", "!=", "<>", "<=", "==", ">=", "<", "=", ">"}

func cutOperator(text, otherwise string) (operator, rest string) {
	for _, op := range operators {
		if rest, ok := strings.CutPrefix(text, op); ok {
			return op, strings.TrimLeft(rest, " \t")
		}
	}
	return otherwise, text
}

// matchesAll holds a text to a list of expressions, as ">= 6.1 != 6.5".
func matchesAll(text, expressions, otherwise string) bool {
	words := strings.Fields(expressions)
	for i := 0; i < len(words); i++ {
		word := strings.Trim(words[i], `"'`)
		if slices.Contains(operators, word) && i+1 < len(words) {
			i++
			word += strings.Trim(words[i], `"'`)
		}
		if !matches(text, word, otherwise) {
			return false
		}
	}
	return len(words) > 0
}

// matches compares as literal text ("=", "!="), by a pattern ("$=", "!$=") or as versions.
func matches(text, expression, otherwise string) bool {
	op, wanted := cutOperator(expression, otherwise)
	switch op {
	case "=", "!=":
		return (text == wanted) == (op == "=")
	case "$=", "!$=":
		ok, err := path.Match(wanted, text)
		return err == nil && ok == (op == "$=")
	}
	return accepts(op, compareVersions(text, wanted))
}

// accepts reports whether an operator takes the outcome of a comparison.
func accepts(operator string, outcome int) bool {
	switch operator {
	case "<":
		return outcome < 0
	case "<=":
		return outcome <= 0
	case "=", "==":
		return outcome == 0
	case "!=", "<>":
		return outcome != 0
	case ">":
		return outcome > 0
	}
	return outcome >= 0
}

// compares holds a number to an expression; without an operator it must not be less.
func compares(n uint64, expression string, parse func(string) (uint64, bool)) bool {
	op, text := cutOperator(expression, ">=")
	wanted, ok := parse(text)
	if !ok {
		return false
	}
	switch {
	case n < wanted:
		return accepts(op, -1)
	case n > wanted:
		return accepts(op, 1)
	}
	return accepts(op, 0)
}

// compareVersions orders versions as systemd does (the UAPI group's version format): parts of
// digits by number, others by letters, "~" before everything, then "-", "^" and ".".
func compareVersions(a, b string) int {
	for {
		a, b = strings.TrimLeftFunc(a, isNoVersion), strings.TrimLeftFunc(b, isNoVersion)
		for _, c := range []string{"~", "", "-", "^", "."} {
			restA, restB := strings.TrimPrefix(a, c), strings.TrimPrefix(b, c)
			hasA, hasB := c != "" && restA != a || c == "" && a == "", c != "" && restB != b || c == "" && b == ""
			switch {
			case hasA && hasB && c == "":
				return 0
			case hasA && hasB:
				a, b = restA, restB
			case hasA:
				return -1
			case hasB:
				return 1
			}
		}
		part := isDigit
		if !startsWith(a, isDigit) && !startsWith(b, isDigit) {
			part = isLetter
		}
		var headA, headB string
		headA, a = cutPart(a, part)
		headB, b = cutPart(b, part)
		if headA == "" && headB == "" {
			if a == "" || b == "" {
				return len(a) - len(b)
			}
			continue
		}
		if headA == "" || headB == "" { // a number is newer than letters
			return len(headA) - len(headB)
		}
		if startsWith(headA, isDigit) {
			headA, headB = strings.TrimLeft(headA, "0"), strings.TrimLeft(headB, "0")
			if len(headA) != len(headB) {
				return len(headA) - len(headB)
			}
		}
		if c := strings.Compare(headA, headB); c != 0 {
			return c
		}
	}
}

func isDigit(c rune) bool  { return '0' <= c && c <= '9' }
func isLetter(c rune) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// isNoVersion is what separates parts and has no order of its own.
func isNoVersion(c rune) bool { return !isDigit(c) && !isLetter(c) && !strings.ContainsRune("~-^.", c) }

func startsWith(s string, is func(rune) bool) bool { return s != "" && is(rune(s[0])) }

func cutPart(s string, is func(rune) bool) (part, rest string) {
	rest = strings.TrimLeftFunc(s, is)
	return s[:len(s)-len(rest)], rest
}
