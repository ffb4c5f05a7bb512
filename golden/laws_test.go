package golden

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tailscale/hujson"

	"gm/diag"
	"gm/units"
)

// checkLaws holds a case against what is true of every translation.
func (g *golden) checkLaws(t *testing.T, set units.Set, diagnostics diag.List) {
	text := stream(t, set)
	if again, _ := g.compile(); text != stream(t, again) {
		t.Errorf("a second run gives other units")
	}
	if reversed, ok := g.reversed(diagnostics); ok {
		other, _ := g.compileText(reversed)
		if diff := cmp.Diff(text, stream(t, other)); diff != "" {
			t.Errorf("with the members of its objects in reverse order the declaration gives other units:\n%s", diff)
		}
	}
	if len(set) == 0 || diagnostics.HasErrors() {
		return // nothing is written
	}
	read, problems := units.ReadStream(diag.NewSource("stream", []byte(text)))
	if len(problems) > 0 || stream(t, read) != text {
		t.Errorf("the stream does not read back: %v", problems)
	}
	for _, u := range set {
		checkUnit(t, u)
	}
	g.checkReferences(t, set)
}

func stream(t *testing.T, set units.Set) string {
	t.Helper()
	var buf bytes.Buffer
	if err := units.WriteStream(&buf, set); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func checkUnit(t *testing.T, u units.Unit) {
	text := units.Render(u)
	parsed, problems := units.Parse(u.Name, diag.NewSource(u.Name, text))
	if len(problems) > 0 {
		t.Errorf("%s does not parse: %v", u.Name, problems)
	}
	withoutPlaces := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".From" }, cmp.Ignore())
	if diff := cmp.Diff(parsed, u, withoutPlaces); diff != "" {
		t.Errorf("%s: Parse(Render(u)) is not u (-got +want):\n%s", u.Name, diff)
	}
	if _, pristine, ok := units.Sealed(text); !ok || !pristine {
		t.Errorf("%s does not bear gm's mark", u.Name)
	}
	for i, d := range u.Directives {
		rule, _ := units.Lookup(d.Section, d.Key)
		again := func(e units.Directive) bool { return e.Section == d.Section && e.Key == d.Key }
		if rule.Key != "" && !rule.Repeats && slices.ContainsFunc(u.Directives[i+1:], again) {
			t.Errorf("%s: %s= stands there twice, and only the last one counts", u.Name, d.Key)
		}
	}
}

// reference is a word that names a unit.
var reference = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+\.(service|socket|timer|target|slice)$`)

// checkReferences demands that a unit that another one names is in the set, or
// is known to be on the host. systemd says nothing of Wants= on a unit that
// does not exist.
func (g *golden) checkReferences(t *testing.T, set units.Set) {
	outside := append([]string{"network.target", "multi-user.target", "default.target"}, g.outside...)
	for _, u := range set {
		for _, d := range u.Directives {
			if units.IsEnvFile(u.Name) || d.Key == "Environment" || d.Key == "Description" || d.Section == "X-Gm" {
				continue
			}
			text := units.Encode(d.Value)
			if d.Key == "Also" { // where systemd unescapes
				text = strings.ReplaceAll(text, `\\`, `\`)
			}
			for _, word := range strings.Fields(text) {
				if !reference.MatchString(word) || slices.Contains(outside, word) {
					continue
				}
				if _, ok := set.Find(template(word)); !ok {
					t.Errorf("%s: %s=%s names %s, which is not there", u.Name, d.Key, units.Encode(d.Value), word)
				}
			}
		}
	}
}

// template is the file that a unit comes from: web@.service for web@0.service.
func template(unit string) string {
	if before, _, ok := strings.Cut(unit, "@"); ok {
		return before + "@" + path.Ext(unit)
	}
	return unit
}

// reversed is the declaration with the members of its objects in reverse order;
// ok is false where that is no JSON, or where the order has a meaning: of two
// equal keys the last one counts.
func (g *golden) reversed(diagnostics diag.List) (text []byte, ok bool) {
	for _, d := range diagnostics {
		if d.Code == "duplicate-key" || d.Code == "two-spellings" {
			return nil, false
		}
	}
	v, err := hujson.Parse(g.inputs[0].Data)
	if err != nil {
		return nil, false
	}
	v.Standardize()
	reverseMembers(&v)
	return v.Pack(), true
}

// reverseMembers leaves objects alone that are values of variables or of
// watch_options: they arrive as JSON text, order and all.
func reverseMembers(v *hujson.Value) {
	switch x := v.Value.(type) {
	case *hujson.Array:
		for i := range x.Elements {
			reverseMembers(&x.Elements[i])
		}
	case *hujson.Object:
		slices.Reverse(x.Members)
		for i := range x.Members {
			m := &x.Members[i]
			switch name := m.Name.Value.(hujson.Literal).String(); {
			case strings.HasPrefix(name, "env"):
				if vars, ok := m.Value.Value.(*hujson.Object); ok {
					slices.Reverse(vars.Members)
				}
			case name != "watch_options":
				reverseMembers(&m.Value)
			}
		}
	}
}
