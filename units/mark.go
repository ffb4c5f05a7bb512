package units

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
)

// markSection is the section that systemd ignores and that says whose a file
// is. gm touches no file without it.
const markSection = "X-Gm"

// Mark says which declaration and app a file belongs to. Hash is of the file's
// text, so that an edit by hand is noticed.
type Mark struct {
	Project, App, Hash string
}

// Seal returns u with gm's mark in its [X-Gm] section, replacing one that is
// there. The hash is of the text of u as it is now. A unit of the project as a
// whole has no app.
func Seal(u Unit, project, app string) Unit {
	mark := []Directive{{Section: markSection, Key: "Project", Value: MarkText(project)}}
	if app != "" {
		mark = append(mark, Directive{Section: markSection, Key: "App", Value: MarkText(app)})
	}
	sealed := make([]Directive, 0, len(u.Directives)+len(mark)+1)
	for _, d := range u.Directives {
		if d.Section != markSection {
			sealed = append(sealed, d)
		}
	}
	sealed = append(sealed, mark...)
	for _, d := range u.Directives {
		if d.Section == markSection && d.Key != "Project" && d.Key != "App" && d.Key != "Hash" {
			sealed = append(sealed, d)
		}
	}
	u.Directives = sealed
	text := renderings.Get().(*[]byte)
	*text = AppendRender((*text)[:0], u)
	u.Directives = append(sealed, Directive{Section: markSection, Key: "Hash", Value: Word(hashOf(*text))})
	renderings.Put(text)
	return u
}

// renderings are buffers for texts that are only hashed.
var renderings = sync.Pool{New: func() any { return new([]byte) }}

// MarkText returns name as a text of [X-Gm]; a name that no line can carry is escaped.
func MarkText(name string) Text {
	text, err := NewText(Escape(name))
	if err != nil {
		text = Text(Escape(EscapeName(name)))
	}
	return text
}

// hashOf is the hash of a file's text without its Hash line.
func hashOf(text ...[]byte) string {
	h := sha256.New()
	for _, part := range text {
		h.Write(part)
	}
	var sum [sha256.Size]byte
	return hex.EncodeToString(h.Sum(sum[:0])[:8])
}

// Mark returns the mark u bears, and whether it bears one.
func (u Unit) Mark() (Mark, bool) {
	var m Mark
	for _, d := range u.Directives {
		if d.Section == markSection {
			m.set(d.Key, Encode(d.Value))
		}
	}
	return m, m.Hash != ""
}

func (m *Mark) set(key, text string) {
	switch key {
	case "Project":
		m.Project, _ = Spec(text).Literal()
	case "App":
		m.App, _ = Spec(text).Literal()
	case "Hash":
		m.Hash = text
	}
}

// Sealed looks for gm's mark in the text of a file, without parsing the rest.
// The text is pristine if it is what Seal and Render made.
func Sealed(text []byte) (m Mark, pristine, ok bool) {
	prefix := ""
	at := 0
	switch header := []byte("[" + markSection + "]\n"); {
	case bytes.HasPrefix(text, []byte(envMarkPrefix)):
		prefix = envMarkPrefix
	case bytes.HasPrefix(text, header):
		at = len(header)
	default:
		i := bytes.LastIndex(text, append([]byte{'\n'}, header...))
		if i < 0 {
			return Mark{}, false, false
		}
		at = i + 1 + len(header)
	}
	start, end := 0, 0 // of the Hash line
	for at < len(text) {
		line := text[at:]
		next := len(text)
		if n := bytes.IndexByte(line, '\n'); n >= 0 {
			line, next = line[:n], at+n+1
		}
		rest, found := strings.CutPrefix(string(line), prefix)
		key, value, isPair := strings.Cut(rest, "=")
		if !found || !isPair {
			break
		}
		m.set(key, value)
		if key == "Hash" {
			start, end = at, next
		}
		at = next
	}
	if m.Hash == "" {
		return Mark{}, false, false
	}
	return m, hashOf(text[:start], text[end:]) == m.Hash, true
}
