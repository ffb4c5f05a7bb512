package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gm/engine"
)

// TestDescribe prints each app of the shop, with edits, drop-ins and a limit that
// was reached.
func TestDescribe(t *testing.T) {
	zone := time.Local
	time.Local = time.UTC
	defer func() { time.Local = zone }()
	l := shop(t)
	for i := range l.state.Files {
		if l.state.Files[i].Name == "worker.service" {
			l.state.Files[i].Edited = true
		}
	}
	l.state.DropIns["web-api@.service"] = []string{"/etc/systemd/system/web-api@.service.d/override.conf"}
	l.state.Pending = map[string]string{"worker.service": "restart"}
	var text bytes.Buffer
	var all []*description
	for _, g := range l.groups(false) {
		d, err := (&caller{}).description(t.Context(), l, &g)
		if err != nil {
			t.Fatal(err)
		}
		d.print(&text, false)
		text.WriteByte('\n')
		all = append(all, d)
	}
	t.Run("text", func(t *testing.T) { compareGolden(t, text.String()) })
	t.Run("json", func(t *testing.T) {
		out, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		compareGolden(t, string(out)+"\n")
	})
}

// What limits nothing there is not shown as if it did.
func TestLimitsNotInForce(t *testing.T) {
	d := description{
		Limits: map[string]string{"MemoryMax": "1048576", "MemoryHigh": "1048576", "CPUQuota": "50%", "LimitNOFILE": "99"},
		group:  &group{processes: []engine.Process{{}}},
	}
	for native, want := range map[bool]string{
		false: "MemoryMax=1.0mb MemoryHigh=1.0mb CPUQuota=50% LimitNOFILE=99",
		true:  "MemoryMax=1.0mb MemoryHigh=1.0mb (not in force) CPUQuota=50% (not in force) LimitNOFILE=99",
	} {
		if d.native = native; d.limitText() != want {
			t.Errorf("%v: got %s", native, d.limitText())
		}
	}
}

func TestDeclaredAt(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		name, text string
		want       int
	}{
		{"json", "[\n  {\n    \"name\": \"web\",\n    \"script\": \"a.js\"\n  }\n]\n", 3},
		{"compact", `{"apps":[{"script":"a.js","name":"web"}]}`, 1},
		{"javascript", "module.exports = {\n  apps: [{ name: 'web' }] }\n", 2},
		{"yaml", "apps:\n  - script: a.js\n    name: web\n  - name: web-2\n", 3},
		{"another", `{"apps":[{"name":"web-2"},{"name":"my web"}]}`, 0},
		{"twice", "[{\"name\":\"web\"},\n{\"name\":\"web\"}]", 0},
		{"made by code", "module.exports = ['web'].map(name => ({ name }))", 0},
		{"empty", "", 0},
	} {
		path := filepath.Join(dir, test.name)
		if err := os.WriteFile(path, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := declaredAt(&engine.App{Name: "web", Source: path}); got != test.want {
			t.Errorf("%s: line %d, want %d", test.name, got, test.want)
		}
	}
	if got := declaredAt(&engine.App{Name: "web", Source: filepath.Join(dir, "missing")}); got != 0 {
		t.Errorf("a missing file has line %d", got)
	}
}
