package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gm/engine"
)

func TestEmptied(t *testing.T) {
	dir := t.TempDir()
	out, err := filepath.Join(dir, "out.log"), filepath.Join(dir, "err.log")
	in := func(file string) engine.LogSource { return engine.LogSource{App: "a", Unit: "a.service", File: file} }
	journal, manager := engine.LogSource{Unit: "a.service"}, engine.LogSource{Unit: "a.service", Manager: true}
	for _, test := range []struct {
		name    string
		sources []engine.LogSource
		want    string
		fails   string
	}{
		{"files", []engine.LogSource{in(out), in(err), manager}, "emptied 2 files, 2.0kb", ""},
		{"a file that is not there", []engine.LogSource{in(filepath.Join(dir, "none")), manager}, "it has no log file yet", ""},
		{"one of two files", []engine.LogSource{in(filepath.Join(dir, "none")), in(out)}, "emptied 1 file, 1.0kb", ""},
		{"a file and the journal", []engine.LogSource{in(out), journal}, "emptied 1 file, 1.0kb; the rest is in the journal", ""},
		{"the journal", []engine.LogSource{journal}, "its lines are in the journal", ""},
		{"nowhere", []engine.LogSource{manager}, "it keeps no lines", ""},
		{"no file", []engine.LogSource{in(dir)}, "its files were not emptied", "cannot empty " + dir + ": "},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, file := range []string{out, err} {
				mustWrite(t, file, strings.Repeat("x", 1024))
			}
			got, failed := emptied(test.sources)
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if (test.fails != "") != (failed != nil) || failed != nil && !strings.HasPrefix(failed[0].Error(), test.fails) {
				t.Errorf("errors %v, want %q", failed, test.fails)
			}
			for _, s := range test.sources {
				if info, err := os.Stat(s.File); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
					t.Errorf("%s has %d bytes", s.File, info.Size())
				}
			}
		})
	}
}
