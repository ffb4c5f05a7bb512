package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"gm/units"
)

// load reads the units of a home: files, drop-ins and links. A file that cannot be used
// becomes a definition that says why; only what makes all of it unreadable is an error.
// Definitions of an earlier library whose files have not changed are taken over. [Install]
// is not read: as with systemd, links are what counts.
func load(dir string, user bool, earlier *library) (*library, error) {
	l := newLibrary(dir, user)
	if earlier == nil || earlier.dir != dir || earlier.user != user {
		earlier = newLibrary(dir, user)
	}
	r := reading{l, earlier, newInterner(), map[string]stamp{}}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	aliases := map[string]string{}
	for _, entry := range entries {
		name := entry.Name()
		switch suffix := filepath.Ext(name); {
		case suffix == ".d":
			err = readNames(l.dropIns, dir, name, func(file string) bool { return strings.HasSuffix(file, ".conf") })
		case suffix == ".wants":
			err = readNames(l.wants, dir, name, isUnitName)
		case suffix == ".requires":
			err = readNames(l.requires, dir, name, isUnitName)
		case !isUnitName(name) || entry.IsDir():
		case entry.Type()&fs.ModeSymlink != 0 && r.isAlias(name, aliases):
		default:
			names = append(names, name)
		}
		if err != nil {
			return nil, err
		}
	}
	// What a socket starts has to know of it, and a target of what it wants.
	order := map[kind]int{kindSocket: -1, kindTarget: 1}
	slices.SortStableFunc(names, func(a, b string) int { return order[kindOf(a)] - order[kindOf(b)] })
	for _, name := range names {
		d := r.unit(name)
		l.units[name] = d
		if d.socket != nil && d.load == "loaded" {
			l.triggered[d.socket.service] = append(l.triggered[d.socket.service], name)
		}
	}
	for _, name := range names {
		l.order(l.units[name])
	}
	for alias, name := range aliases {
		if d, ok := l.units[name]; ok {
			l.units[alias] = d
		}
	}
	r.takeInstances()
	return l, nil
}

func newLibrary(dir string, user bool) *library {
	return &library{
		units: map[string]*definition{}, wants: map[string][]string{}, user: user, dir: dir,
		facts: &facts{user: user, home: Home(filepath.Dir(dir))}, requires: map[string][]string{}, dropIns: map[string][]string{},
		triggered: map[string][]string{}, sources: map[string]source{}, texts: map[string]keptText{},
		instances: map[string]*definition{},
	}
}

// source is what a definition was made of.
type source []stamp

// stamp tells a file from what it may be later.
type stamp struct {
	path           string
	size, modified int64
	inode          uint64
}

// keptText is a file that an instance may be made of, later: a file may change meanwhile, and
// is not to be looked at in a step.
type keptText struct {
	stamp stamp
	data  []byte
}

// recent shares what the instances of one template have in common: they are looked for one
// after the other.
type recent struct {
	template string
	*interner
}

// reading is one load.
type reading struct {
	*library
	earlier *library
	in      *interner
	stamps  map[string]stamp // of files that several units have
}

func isUnitName(name string) bool { return units.CheckName(name) == nil }

// readNames puts the names in a directory such as "web.service.wants" under "web.service".
func readNames(into map[string][]string, dir, name string, wanted func(string) bool) error {
	entries, err := os.ReadDir(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		if wanted(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	into[strings.TrimSuffix(name, filepath.Ext(name))] = names
	return nil
}

// isAlias reports whether a link to a unit file of another name is one more name of that
// unit, or of an instance of it.
func (r *reading) isAlias(name string, aliases map[string]string) bool {
	target, err := os.Readlink(filepath.Join(r.dir, name))
	if err != nil {
		return false
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(r.dir, target)
	}
	base := filepath.Base(target)
	if base == name || filepath.Dir(target) != filepath.Clean(r.dir) || !isUnitName(base) {
		return false
	}
	if templateName(name) != base {
		aliases[name] = base
	}
	return true
}

// unit returns the definition of a unit that has a file.
func (r *reading) unit(name string) *definition {
	file := filepath.Join(r.dir, name)
	made := source{}
	for _, path := range append([]string{file}, r.dropInPaths(name)...) {
		s, err := r.stamp(path)
		if err != nil {
			return broken(name, file, "error", fmt.Sprintf("cannot read the unit: %s", err))
		}
		made = append(made, s)
	}
	r.sources[name] = made
	if made[0].size == 0 { // or a link to /dev/null
		return broken(name, file, "masked", "the unit is masked")
	}
	if d, ok := r.earlier.units[name]; ok && d.name == name && d.kind != kindTarget && r.unchanged(name, made) {
		r.keep(made)
		return d
	}
	files := make([]unitFile, len(made))
	for i, s := range made {
		data, err := r.read(s)
		if err != nil {
			return broken(name, file, "error", fmt.Sprintf("cannot read the unit: %s", err))
		}
		files[i] = unitFile{s.path, data}
	}
	return r.define(name, files, r.in)
}

// unchanged reports whether a definition of the earlier library is what would be made now:
// its own files and the links to it are the same.
func (r *reading) unchanged(name string, made source) bool {
	if !slices.Equal(made, r.earlier.sources[name]) || !slices.Equal(r.triggered[name], r.earlier.triggered[name]) {
		return false
	}
	for _, owner := range linkOwners(name) {
		if !slices.Equal(r.wants[owner], r.earlier.wants[owner]) || !slices.Equal(r.requires[owner], r.earlier.requires[owner]) {
			return false
		}
	}
	return true
}

func (r *reading) stamp(path string) (stamp, error) {
	shared := r.isShared(path)
	if s, ok := r.stamps[path]; ok && shared {
		return s, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	s := stamp{path: path, size: info.Size(), modified: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = uint64(sys.Ino)
	}
	if shared {
		r.stamps[path] = s
	}
	return s, nil
}

// read returns a file's text.
func (r *reading) read(s stamp) ([]byte, error) {
	if kept, ok := r.texts[s.path]; ok {
		return kept.data, nil
	}
	if kept, ok := r.earlier.texts[s.path]; ok && kept.stamp == s {
		r.texts[s.path] = kept
		return kept.data, nil
	}
	data, err := os.ReadFile(s.path)
	if err == nil && r.isShared(s.path) {
		r.texts[s.path] = keptText{s, slices.Clip(data)}
	}
	return data, err
}

// keep takes over the texts of which instances may be made.
func (r *reading) keep(made source) {
	for _, s := range made {
		if r.isShared(s.path) {
			_, _ = r.read(s) // one that has gone since is seen by the next load
		}
	}
}

// isShared reports whether instances may be made of a file: those of a template, and drop-ins
// that are not of one unit alone.
func (r *reading) isShared(path string) bool {
	name := filepath.Base(path)
	if dir := filepath.Dir(path); dir != filepath.Clean(r.dir) {
		name = strings.TrimSuffix(filepath.Base(dir), ".d")
	}
	return strings.Contains(name, "@") || strings.HasSuffix(strings.TrimSuffix(name, filepath.Ext(name)), "-") || !strings.Contains(name, ".")
}

// takeInstances takes over the instances that were made before, where nothing has changed, and
// reads the drop-ins of single instances, which belong to no unit file.
func (r *reading) takeInstances() {
	for owner, files := range r.dropIns {
		for _, file := range files {
			if path := filepath.Join(r.dir, owner+".d", file); r.isShared(path) {
				if s, err := r.stamp(path); err == nil {
					r.keep(source{s})
				}
			}
		}
	}
	for name, d := range r.earlier.instances {
		if files, made, ok := r.instanceFiles(name); ok && files != nil && d.load == "loaded" && r.unchanged(name, made) {
			r.instances[name], r.sources[name] = d, made
		}
	}
}

// find returns the definition of a unit; an instance is made of its template.
func (l *library) find(unit string) (*definition, bool) {
	if d, ok := l.units[unit]; ok {
		return d, true
	}
	if d, ok := l.instances[unit]; ok {
		return d, true
	}
	if !isUnitName(unit) {
		return nil, false
	}
	d := l.make(unit)
	if d == nil {
		return nil, false
	}
	l.order(d)
	l.instances[unit] = d
	return d, true
}

// make makes the definition of an instance, or of a unit that needs no file; nil is none.
func (l *library) make(unit string) *definition {
	template := templateName(unit)
	if template == "" || template == unit {
		if isBuiltIn(unit) {
			return l.define(unit, nil, newInterner())
		}
		return nil
	}
	t, ok := l.units[template]
	if !ok {
		return nil
	}
	files, made, ok := l.instanceFiles(unit)
	if !ok {
		return broken(unit, t.fragment, t.load, t.why)
	}
	l.sources[unit] = made
	if l.recent == nil || l.recent.template != template {
		l.recent = &recent{template, newInterner()}
	}
	d := l.define(unit, files, l.recent.interner)
	l.recent.frozen = true
	return d
}

// instanceFiles returns what an instance is made of; false if its template is unusable.
func (l *library) instanceFiles(unit string) (files []unitFile, made source, ok bool) {
	t, ok := l.units[templateName(unit)]
	if !ok || t.load == "masked" || t.load == "error" {
		return nil, nil, false
	}
	for _, path := range append([]string{t.fragment}, l.dropInPaths(unit)...) {
		if kept, ok := l.texts[path]; ok {
			files = append(files, unitFile{path, kept.data})
			made = append(made, kept.stamp)
		} else if path == t.fragment {
			return nil, nil, false
		}
	}
	return files, made, true
}

// isBuiltIn reports whether a unit is there without a file: every slice, which groups units
// and does no more, and the targets of systemd.special(7) that units wait for or are
// enabled in.
func isBuiltIn(unit string) bool {
	if kindOf(unit) == kindSlice {
		return true
	}
	name, isTarget := strings.CutSuffix(unit, ".target")
	return isTarget && slices.Contains(strings.Fields(builtInTargets), name)
}

const builtInTargets = "basic default graphical local-fs local-fs-pre multi-user network network-online network-pre " +
	"nss-lookup nss-user-lookup paths remote-fs remote-fs-pre slices sockets swap sysinit time-set time-sync timers"

// order has a target come after what it wants: systemd.target(5), DEFAULT DEPENDENCIES.
func (l *library) order(d *definition) {
	if d.kind != kindTarget || d.unordered {
		return
	}
	before := map[string]bool{}
	for _, name := range d.before {
		before[name] = true
	}
	var after []string
	for _, list := range [][]string{d.requires, d.requisite, d.wants, d.bindsTo} {
		for _, name := range list {
			if !before[name] && !l.isBehind(name, d.name) {
				after = append(after, name)
			}
		}
	}
	if len(d.after) == 0 && slices.Equal(after, d.wants) {
		d.after = d.wants
		return
	}
	merge(&d.after, after)
}

// isBehind reports whether a unit says that it comes after a target, or wants no order.
func (l *library) isBehind(name, target string) bool {
	d, ok := l.units[name]
	if !ok {
		d, ok = l.units[templateName(name)]
	}
	return ok && (d.unordered || slices.Contains(d.after, target))
}
