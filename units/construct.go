package units

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// What systemd and the kernel can carry.
const (
	// maxLine is below the 1 MiB at which systemd refuses to load a file; the
	// difference is room for the key.
	maxLine = 1<<20 - 256
	// maxArg is execve(2)'s MAX_ARG_STRLEN without the NUL: one argument, or
	// one NAME=value.
	maxArg = 128<<10 - 1
	// maxPath and maxComponent are PATH_MAX and NAME_MAX without the NUL.
	maxPath      = 4095
	maxComponent = 255
)

// NewText returns text for a one-line directive.
func NewText(text Spec) (Text, error) {
	if err := checkLine(string(text)); err != nil {
		return "", about(string(text), err)
	}
	return Text(text), nil
}

// NewRaw returns text as it stands behind "Key=".
func NewRaw(text string) (Raw, error) {
	if err := checkLine(text); err != nil {
		return "", about(text, err)
	}
	return Raw(text), nil
}

// NewWord returns one token.
func NewWord(text string) (Word, error) {
	if err := checkWord(text); err != nil {
		return "", about(text, err)
	}
	return Word(text), nil
}

// NewWords returns a list of at least one token. Some directives take quotes
// away and some do not, so a token with one is refused.
func NewWords(words ...string) (Words, error) {
	if len(words) == 0 {
		return nil, errors.New("the list is empty; it needs at least one word")
	}
	size := 0
	for _, w := range words {
		if err := checkWord(w); err != nil {
			return nil, about(w, err)
		}
		if strings.ContainsAny(w, `"'`) {
			return nil, fmt.Errorf("%q holds a quote; the words of a list are written without", clip(w))
		}
		size += len(w) + 1
	}
	if size > maxLine {
		return nil, fmt.Errorf("the list %w", tooLong(size))
	}
	return Words(words), nil
}

// NewSpan returns d, cut to whole microseconds.
func NewSpan(d time.Duration) (Span, error) {
	if d < 0 {
		return 0, fmt.Errorf("%v is negative; a length of time is 0 or more", d)
	}
	return Span(d.Truncate(time.Microsecond)), nil
}

// NewPath returns a path: absolute or starting with a specifier, or "~" (the
// user's home, in WorkingDirectory=), with a "-" before it where a missing file
// is no error.
func NewPath(path Spec) (Path, error) {
	text := strings.TrimPrefix(string(path), "-")
	if text != "~" {
		if err := checkNormalPath(text); err != nil {
			return "", about(string(path), err)
		}
	}
	return Path(path), nil
}

// NewStream returns where a stream goes. The kinds append, file and truncate
// need an absolute path, fd a name; the others have none.
func NewStream(kind string, path Spec) (Stream, error) {
	switch kind {
	case "append", "file", "truncate":
		if err := checkNormalPath(string(path)); err != nil {
			return Stream{}, about(string(path), err)
		}
	case "fd":
		if path != "" {
			if err := checkWord(string(path)); err != nil {
				return Stream{}, about(string(path), err)
			}
		}
	case "journal", "null", "inherit", "tty", "tty-force", "tty-fail", "socket", "kmsg", "journal+console", "kmsg+console", "data":
		if path != "" {
			return Stream{}, fmt.Errorf("%s takes no path, and there is %q", kind, clip(string(path)))
		}
	default:
		return Stream{}, fmt.Errorf("%q is no kind of stream; there are journal, null, inherit, append, file, truncate, tty, socket and fd", clip(kind))
	}
	return Stream{kind, path}, nil
}

// NewCommand returns a command whose program gets argv exactly: every byte of
// it, without expansion of variables. The program is absolute or starts with a
// specifier.
func NewCommand(prefix string, argv []Spec) (Command, error) {
	c := Command{Prefix: prefix, Argv: argv}
	if err := c.check(); err != nil {
		return Command{}, err
	}
	return c, nil
}

// check says why c cannot be written, or would not arrive as it is.
func (c Command) check() error {
	if err := checkPrefix(c.Prefix); err != nil {
		return err
	}
	if len(c.Argv) == 0 {
		return errors.New("the command is empty; it needs a program")
	}
	if strings.Contains(c.Prefix, "@") && len(c.Argv) < 2 {
		return errors.New("the prefix @ needs the program's own name (argv[0]) behind the path")
	}
	if err := checkPath(string(c.Argv[0])); err != nil {
		return fmt.Errorf("the program %w", about(string(c.Argv[0]), err))
	}
	if err := checkProgram(string(c.Argv[0])); err != nil {
		return err
	}
	for i, arg := range c.Argv {
		if err := checkBytes(string(arg)); err != nil {
			return fmt.Errorf("argument %d %w", i, err)
		}
		if size := expandedSize(arg); size > maxArg {
			return fmt.Errorf("argument %d has %d bytes; the kernel passes at most %d", i, size, maxArg)
		}
	}
	if size := len(c.append(nil)); size > maxLine {
		return fmt.Errorf("the command %w", tooLong(size))
	}
	return nil
}

// NewAssign returns a variable of Environment=.
func NewAssign(name string, value Spec) (Assign, error) {
	if err := CheckEnvName(name); err != nil {
		return Assign{}, err
	}
	if err := checkBytes(string(value)); err != nil {
		return Assign{}, fmt.Errorf("the value of %s %w", name, err)
	}
	a := Assign{name, value}
	if size := len(name) + 1 + expandedSize(value); size > maxArg {
		return Assign{}, fmt.Errorf("%s has %d bytes with its name; the kernel passes at most %d", name, size, maxArg)
	}
	if size := len(a.append(nil)); size > maxLine {
		return Assign{}, fmt.Errorf("%s %w", name, tooLong(size))
	}
	return a, nil
}

// NewFileAssign returns the value of the variable of that name in an
// environment file.
func NewFileAssign(name, value string) (FileAssign, error) {
	if err := CheckEnvName(name); err != nil {
		return "", err
	}
	if err := checkBytes(value); err != nil {
		return "", fmt.Errorf("the value of %s %w", name, err)
	}
	if size := len(name) + 1 + len(value); size > maxArg {
		return "", fmt.Errorf("%s has %d bytes with its name; the kernel passes at most %d", name, size, maxArg)
	}
	return FileAssign(value), nil
}

// CheckEnvName says why systemd would drop a variable of that name:
// environ(7) is wider, systemd.exec(5), Environment= is not.
func CheckEnvName(name string) error {
	if name == "" {
		return errors.New("the variable's name is empty")
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case '0' <= c && c <= '9' && i > 0:
		default:
			return fmt.Errorf("%q is no variable name for systemd; it takes letters, digits and _, not beginning with a digit", clip(name))
		}
	}
	if len(name) > maxArg-2 {
		return fmt.Errorf("the variable's name has %d bytes; the kernel passes at most %d", len(name), maxArg-2)
	}
	return nil
}

// CheckKey says why [section] key= cannot be a line of a unit file.
func CheckKey(section, key string) error {
	if !isKey(section) || section == "" {
		return fmt.Errorf("%q is no section name; it takes letters, digits, -, _ and .", clip(section))
	}
	if !isKey(key) || key == "" {
		return fmt.Errorf("%q is no directive name; it takes letters, digits, -, _ and .", clip(key))
	}
	return nil
}

func isKey(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// checkPrefix knows the prefixes that every systemd since 245 takes.
func checkPrefix(prefix string) error {
	for i, c := range prefix {
		twice := strings.ContainsRune(prefix[:i], c) && !(c == '!' && strings.Count(prefix[:i], "!") == 1 && prefix[i-1] == '!')
		if !strings.ContainsRune("@-:+!", c) || twice {
			return fmt.Errorf("%q is no prefix of a command; it is made of @ - : and one of + ! !!", clip(prefix))
		}
	}
	if strings.Contains(prefix, "+") && strings.Contains(prefix, "!") {
		return fmt.Errorf("the prefix %q holds both + and !; they exclude each other", prefix)
	}
	return nil
}

// checkProgram refuses what systemd refuses in the first word of a command,
// however it is quoted, and what it would change.
func checkProgram(program string) error {
	bad := func(what string) error {
		return fmt.Errorf("the program %q %s, which systemd does not take in a program's path", clip(program), what)
	}
	switch {
	case hasControl(program):
		return bad("holds a control character")
	case strings.ContainsAny(program, "\"'\\"):
		return bad("holds a quote or a backslash")
	case strings.HasSuffix(program, "/"), strings.HasSuffix(program, "/."), strings.HasSuffix(program, "/.."):
		return bad("is a directory")
	case strings.Contains(program, "$$"), strings.Contains(program, "${"):
		// The path is taken as it stands, but its copy in argv[0] is expanded.
		return bad("holds $$ or ${")
	}
	return nil
}

// checkNormalPath refuses what checkPath does, and a path with a ".." in it,
// which systemd takes nowhere but in commands ("path is not normalized").
func checkNormalPath(path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	for component := range strings.SplitSeq(path, "/") {
		if component == ".." {
			return errors.New(`has a ".." in it; a path without is expected`)
		}
	}
	return nil
}

// checkPath refuses what is not an absolute path on a line of its own. The
// errors of this and the functions below lack their subject.
func checkPath(path string) error {
	if err := checkLine(path); err != nil {
		return err
	}
	switch {
	case path == "":
		return errors.New("is empty; an absolute path is expected")
	case path[0] == '/':
	case path[0] == '%' && len(path) > 1 && path[1] != '%':
	default:
		return errors.New("is not absolute; an absolute path is expected")
	}
	if len(path) > maxPath {
		return fmt.Errorf("has %d bytes; a path has at most %d", len(path), maxPath)
	}
	for component := range strings.SplitSeq(path, "/") {
		if size := expandedSize(Spec(component)); size > maxComponent {
			return fmt.Errorf("has a part of %d bytes; a file name has at most %d", size, maxComponent)
		}
	}
	return nil
}

// checkWord refuses what is not one word on a line.
func checkWord(text string) error {
	if text == "" {
		return errors.New("is empty; a word is expected")
	}
	if strings.ContainsAny(text, " \t") {
		return errors.New("holds a blank; one word is expected")
	}
	return checkLine(text)
}

// checkLine refuses what cannot stand raw behind "Key=".
func checkLine(text string) error {
	if err := checkBytes(text); err != nil {
		return err
	}
	for i, c := range text {
		if isControl(c) && c != '\t' {
			return fmt.Errorf("has a control character (U+%04X) at byte %d, which cannot be written without quotes", c, i)
		}
	}
	if text != strings.Trim(text, " \t") {
		return errors.New("begins or ends with a blank, which systemd cuts off")
	}
	if oddBackslashes(text) {
		return errors.New(`ends with a backslash, which would join the next line`)
	}
	if len(text) > maxLine {
		return tooLong(len(text))
	}
	return nil
}

// checkBytes refuses what no quoting can carry. A NUL ends the argument; text
// that is not UTF-8 is dropped from environments, and as an argument it makes
// the unit's properties unreadable over D-Bus.
func checkBytes(text string) error {
	for i, c := range text {
		if c == 0 {
			return fmt.Errorf("has a NUL at byte %d, which no argument or variable can hold", i)
		}
		if c == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[i:]); size < 2 {
				return fmt.Errorf("has a byte 0x%02x at %d that is not UTF-8, which systemd refuses", text[i], i)
			}
		}
		if c >= 0xfdd0 && (c <= 0xfdef || c&0xfffe == 0xfffe) {
			return fmt.Errorf("has U+%04X at byte %d, which is no character and which systemd refuses", c, i)
		}
	}
	return nil
}

func hasControl(s string) bool { return strings.ContainsFunc(s, isControl) }

func isControl(c rune) bool { return c < ' ' || c >= 0x7f && c < 0xa0 }

// oddBackslashes reports whether text ends in a backslash that is not itself
// escaped by one.
func oddBackslashes(text string) bool {
	n := len(text) - len(strings.TrimRight(text, `\`))
	return n%2 == 1
}

// expandedSize is the size of s with "%%" counted once; what a specifier will
// become is not known here.
func expandedSize(s Spec) int { return len(s) - strings.Count(string(s), "%%") }

func tooLong(size int) error {
	return fmt.Errorf("has %d bytes when written; systemd reads lines of at most 1 MiB", size)
}

// about gives err its subject.
func about(text string, err error) error { return fmt.Errorf("%q %w", clip(text), err) }

// clip shortens text for a message.
func clip(s string) string {
	if len(s) <= 60 {
		return s
	}
	return strings.ToValidUTF8(s[:57], "") + "…"
}
