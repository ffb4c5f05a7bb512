package units

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"gm/diag"
)

// Sort puts s in order of names.
func (s Set) Sort() {
	slices.SortFunc(s, func(a, b Unit) int { return strings.Compare(a.Name, b.Name) })
}

// Find returns the unit of that name.
func (s Set) Find(name string) (Unit, bool) {
	i, ok := slices.BinarySearchFunc(s, name, func(u Unit, name string) int { return strings.Compare(u.Name, name) })
	if !ok {
		return Unit{}, false
	}
	return s[i], true
}

// Check reports the directives that systemd of that version does not know, and
// those that gm's table lacks. Version 0 is unknown: nothing is too new for it.
func (s Set) Check(systemd int) diag.List {
	var list diag.List
	for _, u := range s {
		if IsEnvFile(u.Name) {
			continue
		}
		for _, d := range u.Directives {
			if isExtension(d.Section) || isExtension(d.Key) {
				continue
			}
			rule, ok := Lookup(d.Section, d.Key)
			switch {
			case !ok:
				list = append(list, diag.Diagnostic{
					Severity: diag.Warning, Code: CodeUnknown, At: d.From,
					Cause:  fmt.Sprintf("%s: %s= is no directive of [%s] that gm knows", u.Name, d.Key, d.Section),
					Remedy: remedyForUnknown(d.Section, d.Key),
				})
			case systemd > 0 && rule.Since > systemd:
				list = append(list, diag.Diagnostic{
					Severity: diag.Warning, Code: CodeTooNew, At: d.From,
					Cause: fmt.Sprintf("%s: %s= needs systemd %d and the target has %d, which ignores it", u.Name, d.Key, rule.Since, systemd),
				})
			}
		}
	}
	return list
}

// WriteStream writes s as one txtar stream: before each file a line
// "-- NAME --". No line of a file looks like that.
func WriteStream(w io.Writer, s Set) error {
	var buf []byte
	for _, u := range s {
		buf = append(buf[:0], "-- "...)
		buf = append(buf, u.Name...)
		buf = append(buf, " --\n"...)
		buf = AppendRender(buf, u)
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// ReadStream reads what WriteStream wrote. What stands before the first file
// is a comment.
func ReadStream(src *diag.Source) (Set, diag.List) {
	var (
		set  Set
		list diag.List
	)
	refuse := func(start, end int, cause string, args ...any) {
		list = append(list, diag.Diagnostic{
			Severity: diag.Error, Code: CodeBadStream, At: src.Range(start, end), Cause: fmt.Sprintf(cause, args...),
		})
	}
	names := map[string]bool{}
	name, start := "", 0
	finish := func(end int) {
		if name == "" {
			return
		}
		u, l := parseRange(name, src, start, end)
		set = append(set, u)
		list = append(list, l...)
	}
	for pos := 0; pos < len(src.Text); {
		line, next := src.Text[pos:], len(src.Text)
		if n := bytes.IndexByte(line, '\n'); n >= 0 {
			line, next = line[:n], pos+n+1
		}
		if marker, ok := fileMarker(string(line)); ok {
			finish(pos)
			name, start = marker, next
			if err := CheckFileName(name); err != nil {
				refuse(pos, pos+len(line), "%s", err)
				name = ""
			} else if names[name] {
				refuse(pos, pos+len(line), "%s is in the stream twice", name)
				name = ""
			}
			names[marker] = true
		}
		pos = next
	}
	finish(len(src.Text))
	if len(names) == 0 {
		refuse(0, 0, `there is no file in it; a line "-- NAME --" is expected before each`)
	}
	set.Sort()
	return set, list
}

// fileMarker returns the name in a line "-- NAME --".
func fileMarker(line string) (string, bool) {
	line = strings.TrimSuffix(line, "\r")
	rest, ok := strings.CutPrefix(line, "-- ")
	if !ok {
		return "", false
	}
	name, ok := strings.CutSuffix(rest, " --")
	name = strings.TrimSpace(name)
	return name, ok && name != ""
}

// CheckFileName says why name cannot be a file of a set: a unit
// ("web.service"), a drop-in ("web@0.service.d/10-gm.conf") or an environment
// file ("web.env").
func CheckFileName(name string) error {
	if directory, file, ok := strings.Cut(name, "/"); ok {
		unit, ok := strings.CutSuffix(directory, ".d")
		if !ok || !strings.HasSuffix(file, ".conf") || !isFileName(file) {
			return fmt.Errorf("%q is no file of gm's; a drop-in is called UNIT.d/NAME.conf", clip(name))
		}
		return CheckName(unit)
	}
	if IsEnvFile(name) {
		if !isFileName(name) {
			return fmt.Errorf("%q is no name for an environment file; letters, digits and @:-_.\\ are possible", clip(name))
		}
		return nil
	}
	return CheckName(name)
}

func isFileName(name string) bool {
	return len(name) <= maxUnitName && name[0] != '.' && !strings.ContainsFunc(name, func(c rune) bool {
		return c >= 0x80 || !isKey(string(c)) && !strings.ContainsRune(`@:\`, c)
	})
}
