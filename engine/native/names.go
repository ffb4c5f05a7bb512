package native

import (
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// splitInstance splits "web@1.service" into "web" and "1"; a template has no instance.
func splitInstance(name string) (prefix, instance string, ok bool) {
	base := strings.TrimSuffix(name, path.Ext(name))
	return strings.Cut(base, "@")
}

// instanceOf returns the instance of a template that another unit means by its name: of that
// unit's own instance, or its prefix.
func (b *builder) instanceOf(template string) string {
	prefix, instance, isInstance := splitInstance(b.d.name)
	if !isInstance {
		instance = prefix
	}
	prefix, _, _ = splitInstance(template)
	return prefix + "@" + instance + path.Ext(template)
}

// sibling is the unit of the same name and another type.
func sibling(name, suffix string) string { return strings.TrimSuffix(name, path.Ext(name)) + suffix }

// dropInPaths returns the files of a unit's .d directories in the order in which they count.
// Of files of one name that of the unit itself wins over its template's, and that over
// those of a common prefix ("web-.service.d") and of its type ("service.d"); all are
// read in the order of their names: systemd.unit(5).
func (l *library) dropInPaths(unit string) []string {
	if len(l.dropIns) == 0 {
		return nil
	}
	chosen := map[string]string{}
	for _, owner := range dropInOwners(unit) {
		for _, file := range l.dropIns[owner] {
			if _, ok := chosen[file]; !ok {
				chosen[file] = filepath.Join(l.dir, owner+".d", file)
			}
		}
	}
	paths := make([]string, 0, len(chosen))
	for _, file := range slices.Sorted(maps.Keys(chosen)) {
		paths = append(paths, chosen[file])
	}
	return paths
}

// dropInOwners are the names whose .d directories hold drop-ins of a unit, the strongest
// first.
func dropInOwners(unit string) []string {
	suffix := path.Ext(unit)
	var owners []string
	var add func(prefix, instance string, isInstance bool)
	add = func(prefix, instance string, isInstance bool) {
		name := prefix
		if isInstance {
			name += "@" + instance
		}
		if slices.Contains(owners, name+suffix) {
			return
		}
		owners = append(owners, name+suffix)
		if instance != "" {
			add(prefix, "", true)
		}
		if dash := strings.LastIndexByte(strings.TrimSuffix(prefix, "-"), '-'); dash > 0 {
			add(prefix[:dash+1], instance, isInstance)
		}
	}
	prefix, instance, isInstance := splitInstance(unit)
	add(prefix, instance, isInstance)
	return append(owners, strings.TrimPrefix(suffix, "."))
}

// linkOwners are the names whose .wants and .requires directories are a unit's.
func linkOwners(unit string) []string {
	if template := templateName(unit); template != "" && template != unit {
		return []string{unit, template}
	}
	return []string{unit}
}

// templateName returns "web@.service" of "web@1.service", "" if it is no instance.
func templateName(unit string) string {
	prefix, _, ok := splitInstance(unit)
	if !ok {
		return ""
	}
	return prefix + "@" + path.Ext(unit)
}
