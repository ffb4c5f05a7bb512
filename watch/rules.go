package watch

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Rules say which paths are watched and which changes count.
type Rules struct {
	dir      string
	roots    []root
	ignore   []pattern
	defaults bool // PM2's, in place of ignore
	never    []never
	atomic   bool
	depth    int
}

// root is what one of the watched paths stands for.
type root struct {
	path string // of a glob: the directory above its first special character
	glob glob   // below path; nil is everything
}

// newRules reads the rules of o. Of patterns that it cannot read as they are meant it
// tells o.Warn.
func newRules(o *Options) *Rules {
	r := &Rules{dir: filepath.Clean(o.Dir), depth: o.Depth, atomic: o.Atomic > 0, defaults: o.Ignore == nil}
	for _, text := range o.Paths {
		// chokidar: a path that begins with "!" is one to leave out.
		if rest, not := strings.CutPrefix(text, "!"); not && rest != "" && rest[0] != '(' {
			r.ignore = append(r.ignore, newPattern(r.dir, rest))
			continue
		}
		r.roots = append(r.roots, r.newRoots(text, o.Literal)...)
	}
	for _, text := range o.Ignore {
		if source, flags, ok := asRegexp(r.dir, text); ok {
			re, err := regexp.Compile(flags + source)
			if err == nil {
				r.ignore = append(r.ignore, pattern{re: re, dir: r.dir})
				continue
			}
			o.warn("ignored pattern %q looks like a regular expression and cannot be read as one (%v): it is taken as a path", text, err)
		}
		r.ignore = append(r.ignore, newPattern(r.dir, text))
	}
	for _, text := range o.Never {
		text = absolute(r.dir, text)
		r.never = append(r.never, never{filepath.Dir(text), onlyStars(filepath.Base(text))})
	}
	return r
}

func absolute(dir, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

// newRoots reads a watched path. One that is there under that very name is no glob,
// whatever it looks like: Next.js has directories such as "[id]".
func (r *Rules) newRoots(text string, literal bool) []root {
	whole := absolute(r.dir, text)
	if _, err := os.Lstat(whole); err == nil || literal {
		return []root{{path: whole}}
	}
	base, rest := resolve(r.dir, text)
	var roots []root
	for _, segments := range parseGlob(rest) {
		at := base
		for len(segments) > 0 {
			name, ok := segments[0].literal()
			if !ok {
				break
			}
			at = filepath.Join(at, name)
			segments = segments[1:]
		}
		one := root{path: at}
		if len(segments) > 0 {
			one.glob = glob{segments}
		}
		roots = append(roots, one)
	}
	return roots
}

// resolve returns the directory that a pattern starts from, and the pattern from there.
func resolve(dir, text string) (base, rest string) {
	text = path.Clean(text)
	if rest, ok := strings.CutPrefix(text, "/"); ok {
		return "/", rest
	}
	for text == ".." || strings.HasPrefix(text, "../") {
		dir, text = filepath.Dir(dir), path.Clean("./"+strings.TrimPrefix(strings.TrimPrefix(text, ".."), "/"))
	}
	return dir, text
}

// pattern is one of ignore_watch: a regular expression, or a path or glob, which takes
// what is below it with it.
type pattern struct {
	re  *regexp.Regexp
	dir string

	base string
	path string // the text as a path
	glob glob
}

func newPattern(dir, text string) pattern {
	base, rest := resolve(dir, text)
	return pattern{base: base, path: filepath.Join(base, rest), glob: parseGlob(rest)}
}

// documented is how PM2's documentation writes "files with a dot", which kept the end
// of a JavaScript literal when it became a string.
const documented = `[\/\\]\./`

var literalRegexp = regexp.MustCompile(`^/(.+)/([dgimsuy]*)$`)

// asRegexp tells a regular expression from a path or glob: it is written as one of
// JavaScript's (/…/, but not a directory below dir), begins with ^, ends with $, or
// has a backslash or "(?" in it. It returns the text in RE2's form.
func asRegexp(dir, text string) (source, flags string, ok bool) {
	if text == documented {
		return `[/\\]\.`, "", true
	}
	if m := literalRegexp.FindStringSubmatch(text); m != nil && !isBelow(dir, filepath.Clean(text)) {
		if strings.Contains(m[2], "i") {
			flags = "(?i)"
		}
		return m[1], flags, true
	}
	return text, "", strings.HasPrefix(text, "^") || strings.HasSuffix(text, "$") || strings.ContainsRune(text, '\\') || strings.Contains(text, "(?")
}

// matches reports whether a path, or a directory and so all that is in it, is ignored.
func (p *pattern) matches(name string, dir bool) bool {
	if p.re == nil {
		if name == p.path || isBelow(p.path, name) {
			return true
		}
		rel, ok := relative(p.base, name)
		return ok && rel != "" && p.glob.match(strings.Split(rel, "/"))
	}
	// chokidar tests absolute paths. So does this, but for matches in the part that all
	// paths share: a directory "build" above the project must not hide all of it.
	rel, ok := relative(p.dir, name)
	if ok && rel == "" {
		return false
	}
	forms := []string{rel}
	if !ok {
		forms = []string{name}
	}
	if dir {
		forms = append(forms, forms[0]+"/")
	}
	for _, form := range forms {
		if p.re.MatchString(form) {
			return true
		}
		if !ok {
			continue
		}
		whole := strings.TrimSuffix(p.dir, "/") + "/" + form
		for _, at := range p.re.FindAllStringIndex(whole, -1) {
			if at[1] > len(p.dir)+1 {
				return true
			}
		}
	}
	return false
}

// never is a file, or several by a star in the name, whose changes never count.
type never struct {
	dir  string
	base []token
}

// onlyStars reads a name in which nothing but a star is special.
func onlyStars(name string) []token {
	var tokens []token
	for _, r := range name {
		t := token{r: r}
		if r == '*' {
			t = token{kind: '*'}
		}
		tokens = append(tokens, t)
	}
	return tokens
}

// matches follows symbolic links: a log may be declared by another path than the one
// it is watched by.
func (n *never) matches(name string) bool {
	dir, base := filepath.Split(name)
	if !matchName(n.base, base) {
		return false
	}
	if dir = filepath.Clean(dir); dir == n.dir {
		return true
	}
	a, err1 := os.Stat(dir)
	b, err2 := os.Stat(n.dir)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// temporary is chokidar's: files that editors keep beside the one they write.
var temporary = regexp.MustCompile(`\..*\.(sw[px])$|~$|\.subl.*\.tmp`)

// ignored reports whether a path is left out. PM2's own rule is only for what is below
// the watched path: who asks for ".env" by name wants it.
func (r *Rules) ignored(of *root, name string, dir bool) bool {
	if r.defaults {
		rel, _ := relative(of.path, name)
		if strings.HasPrefix(rel, ".") || strings.Contains(rel, "/.") || strings.Contains(rel, "node_modules") {
			return true
		}
	}
	if r.atomic && temporary.MatchString(filepath.Base(name)) {
		return true
	}
	return slices.ContainsFunc(r.ignore, func(p pattern) bool { return p.matches(name, dir) })
}

// descends reports whether what is in a directory is watched.
func (r *Rules) descends(dir string) bool {
	return slices.ContainsFunc(r.roots, func(of root) bool {
		rel, ok := relative(of.path, dir)
		if !ok {
			return false
		}
		var parts []string
		if rel != "" {
			parts = strings.Split(rel, "/")
		}
		return (r.depth < 0 || len(parts) <= r.depth) && (of.glob == nil || of.glob.reaches(parts)) && !r.ignored(&of, dir, true)
	})
}

// counts reports whether a change of a path is one.
func (r *Rules) counts(name string, dir bool) bool {
	for i := range r.roots {
		of := &r.roots[i]
		rel, ok := relative(of.path, name)
		if !ok || of.glob != nil && (rel == "" || !of.glob.match(strings.Split(rel, "/"))) || r.ignored(of, name, dir) {
			continue
		}
		return dir || !slices.ContainsFunc(r.never, func(n never) bool { return n.matches(name) })
	}
	return false
}

// relative returns the path of name from base, "" for base itself, if it is there or
// below.
func relative(base, name string) (string, bool) {
	switch {
	case name == base:
		return "", true
	case base == "/":
		return strings.TrimPrefix(name, "/"), true
	case len(name) > len(base) && name[len(base)] == '/' && name[:len(base)] == base:
		return name[len(base)+1:], true
	}
	return "", false
}

// isBelow reports whether name is base or below it.
func isBelow(base, name string) bool {
	_, ok := relative(base, name)
	return ok
}
