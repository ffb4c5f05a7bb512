package golden

import (
	"bytes"
	"strings"
	"testing"

	"gm/translate"
)

// elsewhere are the diagnostics that package translate's own tests show, as an
// archive cannot: bytes that are no text, a run of a second, a run of node.
var elsewhere = map[string]bool{"bad-encoding": true, "bad-utf8": true, "js-timeout": true, "used-node": true}

// TestCoverage demands a golden for each key of the table and each kind of
// diagnostic, so that a new one comes with its case.
func TestCoverage(t *testing.T) {
	var inputs, diagnostics []byte
	for _, g := range loadAll(t) {
		for _, f := range g.inputs {
			inputs = append(inputs, f.Data...)
		}
		_, list := g.compile()
		for _, d := range list {
			diagnostics = append(diagnostics, "["+d.Code+"]"...)
		}
	}
	for _, f := range translate.Fields() {
		if key := strings.TrimSuffix(f.Name, "*"); !bytes.Contains(inputs, []byte(key)) {
			t.Errorf("no golden has the key %s", f.Name)
		}
	}
	for _, k := range translate.SystemdKeys() {
		if !bytes.Contains(inputs, []byte(`"`+k.Name+`"`)) {
			t.Errorf("no golden has the key systemd.%s", k.Name)
		}
	}
	for _, c := range translate.Codes() {
		if elsewhere[c.Name] {
			continue
		}
		if !bytes.Contains(diagnostics, []byte("["+c.Name+"]")) {
			t.Errorf("no golden shows the diagnostic %s", c.Name)
		}
	}
}
