package units

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEscapeName(t *testing.T) {
	for app, want := range map[string]string{
		"":            "",
		"web":         "web",
		"web-api_2.x": "web-api_2.x",
		"my app":      `my\x20app`,
		"@shop/api":   `\x40shop-api`,
		"a:b":         `a\x3ab`,
		`a\b`:         `a\x5cb`,
		".hidden":     `\x2ehidden`,
		"é":           `\xc3\xa9`,
		"a\nb":        `a\x0ab`,
	} {
		got := EscapeName(app)
		if got != want {
			t.Errorf("EscapeName(%q) = %q, want %q", app, got, want)
		}
		if back := UnescapeName(got); back != strings.ReplaceAll(app, "/", "-") {
			t.Errorf("UnescapeName(%q) = %q", got, back)
		}
		if err := CheckName(got + "@0.service"); err != nil && app != "" {
			t.Error(err)
		}
	}
	for _, name := range []string{`a\`, `a\x`, `a\x2`, `a\xzz`, `\y41`} {
		if got := UnescapeName(name); got != name {
			t.Errorf("UnescapeName(%q) = %q", name, got)
		}
	}
}

func TestEscapeNameAgreesWithSystemd(t *testing.T) {
	escape := requireTool(t, "systemd-escape")
	for _, app := range []string{"web", "web api", "a/b", ".x", "..", "é", "a\tb", "a.b", `a\b`, "a@b", "50%", "a+b=c", `"q"`, "_"} {
		want := strings.TrimSuffix(output(t, exec.Command(escape, "--", app)), "\n")
		if got := EscapeName(app); got != want {
			t.Errorf("EscapeName(%q) = %q, systemd-escape says %q", app, got, want)
		}
		back := strings.TrimSuffix(output(t, exec.Command(escape, "--unescape", "--", EscapeName(app))), "\n")
		if back != app {
			t.Errorf("systemd-escape --unescape %q = %q, want %q", EscapeName(app), back, app)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"web.service", "web@.service", "web@0.service", "gm-shop.slice", `a\x20b.timer`, "a:b.socket", strings.Repeat("a", 247) + ".service"} {
		if err := CheckName(name); err != nil {
			t.Errorf("CheckName(%q): %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"":                                    "is empty",
		"web":                                 "has no suffix",
		"web.js":                              "which is no type of unit",
		".service":                            "has no suffix",
		".web.service":                        "begins with a dot",
		"@0.service":                          "begins with @",
		"a@b@c.service":                       "more than one @",
		"my app.service":                      `holds ' '`,
		"a/b.service":                         `holds '/'`,
		"é.service":                           "letters, digits",
		"a--b.slice":                          "dash",
		"-a.slice":                            "dash",
		"a-.slice":                            "dash",
		"a@.slice":                            "template",
		strings.Repeat("a", 248) + ".service": "at most 255",
	} {
		if err := CheckName(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckName(%q) = %v, want %q", name, err, want)
		}
	}
	for name, ok := range map[string]bool{
		"web.env": true, "web@0.service.d/10-gm.conf": true, "web.service": true, "a b.env": false, ".env": false,
		"web.service.d/../x.conf": false, "../web.env": false, "/web.service": false, "web.service.d/x": false, "x.d/y.conf": false, "": false,
	} {
		if err := CheckFileName(name); (err == nil) != ok {
			t.Errorf("CheckFileName(%q): %v", name, err)
		}
	}
}

func TestCheckVendor(t *testing.T) {
	for _, name := range []string{"user@.service", "multi-user.target", "cron.service", "systemd-journald.service"} {
		if CheckVendor(name) == nil {
			t.Errorf("%s is the system's own", name)
		}
	}
	for _, name := range []string{"user.service", "cron@.service", "web.target", "system.service"} {
		if err := CheckVendor(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEscapeGlob(t *testing.T) {
	for _, path := range []string{"/etc/gm/shop/web.env", `/etc/gm/my\x20shop/a*b?[c].env`, `\`, ""} {
		pattern := EscapeGlob(path)
		if got := UnescapeGlob(pattern); got != path {
			t.Errorf("%q became %q, and then %q", path, pattern, got)
		}
		if ok, err := filepath.Match(pattern, path); !ok || err != nil {
			t.Errorf("the pattern %q does not match %q: %v", pattern, path, err)
		}
	}
}
