package engine

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"gm/diag"
	"gm/units"
)

// Selection is what a selector chose of one app.
type Selection struct {
	App App
	// Units are the chosen instances; all of them, unless the selector named one.
	Units []string
	// Whole says that the app as a whole was chosen.
	Whole bool
}

// Select finds apps by PM2's selectors: "all", a name, an instance ("name@2"), a
// namespace (if no app has that name), "/a regular expression/". One that finds
// nothing is a *NoSuchApp. Each app comes once, in order of names.
func Select(apps []App, selectors []string) ([]Selection, error) {
	chosen := map[int]*Selection{}
	byName := map[string][]int{}
	for i := range apps {
		byName[apps[i].Name] = append(byName[apps[i].Name], i)
	}
	for _, selector := range selectors {
		found, err := selectOne(apps, byName, selector)
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			have := chosen[s.at]
			switch {
			case have == nil:
				chosen[s.at] = &Selection{App: apps[s.at], Units: s.units, Whole: s.whole}
			case s.whole && !have.Whole:
				have.Units, have.Whole = s.units, true
			case !have.Whole:
				for _, u := range s.units {
					if !slices.Contains(have.Units, u) {
						have.Units = append(have.Units, u)
					}
				}
			}
		}
	}
	list := make([]Selection, 0, len(chosen))
	for i := range apps {
		if s := chosen[i]; s != nil {
			list = append(list, *s)
		}
	}
	slices.SortStableFunc(list, func(a, b Selection) int { return strings.Compare(a.App.Name, b.App.Name) })
	return list, nil
}

// selected is one app that a selector found.
type selected struct {
	at    int
	units []string
	whole bool
}

func selectOne(apps []App, byName map[string][]int, selector string) ([]selected, error) {
	var found []selected
	whole := func(i int) { found = append(found, selected{i, slices.Clone(apps[i].Instances), true}) }
	if selector == "all" {
		for i := range apps {
			whole(i)
		}
		return found, nil // that there is none is no mistake of who asks for all
	}
	for _, i := range byName[selector] {
		whole(i)
	}
	if found != nil {
		return found, nil
	}
	if len(selector) > 1 && selector[0] == '/' && selector[len(selector)-1] == '/' {
		expression, err := regexp.Compile(selector[1 : len(selector)-1])
		if err != nil {
			return nil, &BadSelector{selector, err}
		}
		for i := range apps {
			if expression.MatchString(apps[i].Name) {
				whole(i)
			}
		}
	} else if cut := strings.LastIndexByte(selector, '@'); cut > 0 {
		for _, i := range byName[selector[:cut]] {
			if unit, ok := apps[i].instance(selector[cut+1:]); ok {
				found = append(found, selected{i, []string{unit}, false})
			}
		}
	}
	if found == nil {
		for i := range apps {
			if cmp.Or(apps[i].Namespace, "default") == selector {
				whole(i)
			}
		}
	}
	if found == nil {
		return nil, &NoSuchApp{selector, near(apps, selector)}
	}
	return found, nil
}

// instance returns the declared instance of that number.
func (a *App) instance(number string) (string, bool) {
	if a.Group == "" {
		return "", false
	}
	unit := strings.TrimSuffix(a.Unit, ".service") + units.EscapeName(number) + ".service"
	return unit, slices.Contains(a.Instances, unit)
}

// NoSuchApp is the error of a selector that finds nothing.
type NoSuchApp struct {
	Selector string
	Near     []string // names like it
}

func (e *NoSuchApp) Error() string {
	if strings.TrimSpace(e.Selector) == "" {
		return fmt.Sprintf("there is no app %q", e.Selector)
	}
	return "there is no app " + e.Selector
}

// BadSelector is the error of a selector that is no regular expression and has
// the slashes of one.
type BadSelector struct {
	Selector string
	Cause    error
}

func (e *BadSelector) Error() string {
	var at *syntax.Error
	if !errors.As(e.Cause, &at) {
		return fmt.Sprintf("the selector %s is no regular expression: %v", e.Selector, e.Cause)
	}
	column := 1 + max(strings.Index(e.Selector, at.Expr), 0)
	return fmt.Sprintf("the selector %s is no regular expression: %s in column %d: %s", e.Selector, at.Code, column, at.Expr)
}

func (e *BadSelector) Unwrap() error { return e.Cause }

// near returns up to three names that a wrong selector may have been meant to be.
func near(apps []App, selector string) []string {
	const most = 3
	name, _, instance := strings.Cut(selector, "@")
	type candidate struct {
		name     string
		distance int
	}
	var list []candidate
	add := func(name string, distance int) {
		if c := (candidate{name, distance}); !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	for i := range apps {
		a := &apps[i]
		if instance && a.Name == name && a.Group != "" {
			for n, unit := range a.Instances[:min(most, len(a.Instances))] {
				number := strings.TrimSuffix(strings.TrimPrefix(unit, strings.TrimSuffix(a.Unit, ".service")), ".service")
				add(name+"@"+number, n)
			}
			continue
		}
		for _, known := range []string{a.Name, a.Namespace} {
			longer := max(len(name), len(known))
			limit := min(longer/3+1, longer-1)
			if d := diag.Edits(strings.ToLower(name), strings.ToLower(known), limit); known != "" && d <= limit {
				add(known, most+d)
			} else if len(name) > 1 && strings.Contains(strings.ToLower(known), strings.ToLower(name)) {
				add(known, most+limit+1)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return a.distance - b.distance })
	var names []string
	for _, c := range list[:min(most, len(list))] {
		names = append(names, c.name)
	}
	return names
}
