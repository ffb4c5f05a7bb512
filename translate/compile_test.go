package translate

import (
	"bytes"
	"slices"
	"testing"

	"gm/diag"
	"gm/units"
)

// FuzzCompile holds the whole line to its promises: it never panics, its places
// lie in the text, the same input gives the same bytes, and each unit is read
// back as it is and bears gm's mark.
func FuzzCompile(f *testing.F) {
	for _, row := range fields() {
		beside := ""
		if row.Beside != "" {
			beside = ", " + row.Beside
		}
		if row.Name != "script" && row.Name != envPattern {
			f.Add([]byte(`[{"script": "a.js", "` + row.Name + `": ` + row.Example + beside + `}]`))
		}
	}
	for _, c := range Codes() {
		if c.File == "" {
			f.Add([]byte(c.Example))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		src := diag.NewSource("processes.json", text)
		o := Options{Env: "production", Host: benchHost()}
		set, list := Compile(src, o)
		for _, d := range list {
			if d.At.Src != nil && (d.At.Start < 0 || d.At.End < d.At.Start || int(d.At.End) > len(text)) {
				t.Errorf("%s is at [%d, %d) of %d bytes", d.Code, d.At.Start, d.At.End, len(text))
			}
		}
		again, _ := Compile(src, o)
		if !slices.EqualFunc(set, again, func(a, b units.Unit) bool { return bytes.Equal(units.Render(a), units.Render(b)) }) {
			t.Error("compiled again, the units are others")
		}
		for _, u := range set {
			text := units.Render(u)
			back, complaints := units.Parse(u.Name, diag.NewSource(u.Name, text))
			if complaints.HasErrors() || !bytes.Equal(units.Render(back), text) {
				t.Errorf("%s is not read back as it is: %v\n%s", u.Name, complaints, text)
			}
			if _, pristine, marked := units.Sealed(text); !pristine || !marked {
				t.Errorf("%s does not bear gm's mark", u.Name)
			}
		}
	})
}

// A path of the declaration that no unit can hold is an error, not a panic.
func TestCompileRefusesPathsThatNoUnitHolds(t *testing.T) {
	for _, name := range []string{"a\nb.json", "a\xff.json", "a\x00.json"} {
		_, list := Compile(diag.NewSource(name, []byte(`[{"script": "a.js"}]`)), Options{Host: benchHost()})
		if !list.HasErrors() {
			t.Errorf("%q: no error", name)
		}
	}
	o := Options{Host: benchHost()}
	o.Host.Root = "/a\nb"
	if _, list := Compile(diag.NewSource("processes.json", []byte(`[{"script": "a.js"}]`)), o); !list.HasErrors() {
		t.Errorf("root %q: no error", o.Host.Root)
	}
}

// TestInstancesAreBounded: "max" on a machine of many CPUs is one line, too.
func TestInstancesAreBounded(t *testing.T) {
	o := Options{Host: benchHost()}
	o.Host.CPUs = 3_000_000
	if _, list := Compile(diag.NewSource("processes.json", []byte(`[{"script": "a.js", "instances": "max"}]`)), o); !list.HasErrors() {
		t.Error("3,000,000 instances are taken")
	}
}
