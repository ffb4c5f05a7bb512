package units

import (
	"errors"
	"fmt"
	"strings"
)

// Args returns Argv with its specifiers replaced, and its variables where it has
// some: what the program gets, or with the prefix "@" its path before that. A
// variable that is not set is empty; as a word of its own it is no argument at
// all (systemd.service(5), COMMAND LINES).
func (c Command) Args(specifier func(byte) (string, bool), variable func(name string) (string, bool)) []string {
	args := make([]string, 0, len(c.Argv))
	for i, arg := range c.Argv {
		text := arg.Expand(specifier)
		switch {
		case i == 0 || !c.Vars:
			args = append(args, text)
		case isVariable(text):
			value, _ := variable(text[1:])
			args = appendSplit(args, value)
		default:
			args = append(args, expandVariables(text, variable))
		}
	}
	return args
}

// appendSplit appends the words of a variable's value. Quotes and backslashes
// keep blanks together; there is no wrong quoting here.
func appendSplit(args []string, value string) []string {
	var word []byte
	var quote byte
	inWord := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\':
			i++
			if i < len(value) {
				word = append(word, value[i])
			}
			inWord = true
		case quote == 0 && isBlank(c):
			if inWord {
				args = append(args, string(word))
			}
			word, inWord = word[:0], false
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case c == quote:
			quote = 0
		default:
			word, inWord = append(word, c), true
		}
	}
	if inWord {
		args = append(args, string(word))
	}
	return args
}

// expandVariables replaces "${NAME}" and halves "$$"; any other "$" is itself, as that of
// a shell's "${NAME:-word}".
func expandVariables(text string, variable func(string) (string, bool)) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '$' && i+1 < len(text) {
			if text[i+1] == '$' {
				i++
			} else if end := strings.IndexByte(text[i:], '}'); text[i+1] == '{' && end > 0 && !strings.Contains(text[i:i+end], ":") {
				value, _ := variable(text[i+2 : i+end])
				out.WriteString(value)
				i += end
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// parseCommands reads the commands of one Exec line, which a ";" of its own
// separates.
func parseCommands(text string) ([]Value, error) {
	var values []Value
	for rest := text; rest != noMore; {
		first, tail, err := nextWord(rest, true)
		if err != nil {
			return nil, err
		}
		if tail == noMore {
			break
		}
		rest = tail
		if first == ";" {
			continue
		}
		program := strings.TrimLeft(first, "@-:+!")
		c := Command{Prefix: first[:len(first)-len(program)], Argv: []Spec{Spec(program)}}
		for {
			if end, ok := separator(rest); ok {
				rest = end
				break
			}
			if end, ok := escapedSemicolon(rest); ok {
				c.Argv, rest = append(c.Argv, ";"), end
				continue
			}
			word, tail, err := nextWord(rest, true)
			if err != nil {
				return nil, err
			}
			rest = tail
			if tail == noMore {
				break
			}
			c.Argv = append(c.Argv, Spec(word))
		}
		v, err := newParsedCommand(c)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	if len(values) == 0 {
		return nil, errors.New("the command is empty; it needs a program")
	}
	return values, nil
}

// newParsedCommand checks c, whose arguments are unquoted but hold variables
// and "$$" as they stand in the unit. Unlike NewCommand it takes a program
// without a slash, which systemd looks for in its own path.
func newParsedCommand(c Command) (Value, error) {
	if strings.HasPrefix(string(c.Argv[0]), "|") {
		return nil, fmt.Errorf("%q begins with |: commands through a shell are not supported; name the shell", clip(string(c.Argv[0])))
	}
	if !c.keepsDollar() {
		for _, arg := range c.Argv[1:] {
			c.Vars = c.Vars || hasVariable(string(arg))
		}
		if !c.Vars {
			for i := 1; i < len(c.Argv); i++ {
				c.Argv[i] = Spec(strings.ReplaceAll(string(c.Argv[i]), "$$", "$"))
			}
		}
	}
	argv := c.Argv
	if !strings.Contains(string(argv[0]), "/") && !strings.HasPrefix(string(argv[0]), "%") && argv[0] != "" {
		argv = append([]Spec{"/" + argv[0]}, argv[1:]...)
	}
	checked := c
	checked.Argv = argv
	if err := checked.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// hasVariable reports whether systemd replaces something in an argument:
// "$NAME" as a word of its own, or "${NAME}" anywhere.
func hasVariable(arg string) bool {
	if isVariable(arg) {
		return true
	}
	for i := 0; i+1 < len(arg); i++ {
		if arg[i] != '$' {
			continue
		}
		i++
		if arg[i] == '{' {
			return true
		}
	}
	return false
}

// separator reports whether rest begins with a ";" that ends a command.
func separator(rest string) (string, bool) {
	if rest == noMore {
		return noMore, true
	}
	if len(rest) > 0 && rest[0] == ';' && (len(rest) == 1 || isBlank(rest[1])) {
		return strings.TrimLeft(rest[1:], blanks), true
	}
	return rest, false
}

// escapedSemicolon reports whether rest begins with "\;", which only a command
// knows.
func escapedSemicolon(rest string) (string, bool) {
	if strings.HasPrefix(rest, `\;`) && (len(rest) == 2 || isBlank(rest[2])) {
		return strings.TrimLeft(rest[2:], blanks), true
	}
	return rest, false
}

// isVariable reports whether arg is "$NAME".
func isVariable(arg string) bool {
	return strings.HasPrefix(arg, "$") && !strings.HasPrefix(arg, "$$") && !strings.HasPrefix(arg, "${")
}
