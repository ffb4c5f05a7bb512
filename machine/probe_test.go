package machine

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gm/translate"
)

// TestSniff holds the rule of PM2's lib/tools/isbinaryfile.js.
func TestSniff(t *testing.T) {
	tests := []struct {
		name, head string
		want       translate.FileKind
	}{
		{"empty", "", translate.FileText},
		{"script", "console.log(1)\n", translate.FileText},
		{"NUL", "#!/bin/sh\n\x00", translate.FileBinary},
		{"ELF", "\x7fELF\x02\x01\x01\x00", translate.FileBinary},
		{"shebang", "#!/usr/bin/env -S node --x  \r\nfoo", "#!/usr/bin/env -S node --x"},
		{"shebang without end", "#!/bin/bash", "#!/bin/bash"},
		{"shebang of nothing", "#!\n", translate.FileText},
		{"shebang too long", "#!/" + strings.Repeat("x", 300) + "\n", translate.FileText},
		{"byte-order mark", "\xef\xbb\xbf\xff\xff\xff\xff", translate.FileText},
		{"NUL behind a byte-order mark", "\xef\xbb\xbf\x00", translate.FileText},
		{"two bytes", strings.Repeat("é", 40), translate.FileText},
		{"three bytes", strings.Repeat("€", 40), translate.FileText},
		{"four bytes are odd", strings.Repeat("😀", 40), translate.FileBinary},
		{"latin-1, a tenth", strings.Repeat("abcdefghi\xe9", 20), translate.FileText},
		{"latin-1, more", strings.Repeat("abcde\xe9", 20), translate.FileBinary},
		{"control characters", strings.Repeat("a\x01", 40), translate.FileBinary},
	}
	for _, test := range tests {
		if got := sniff([]byte(test.head)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestLookAt(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("text", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]translate.FileKind{
		dir:                              translate.FileDir,
		text:                             "#!/bin/sh",
		filepath.Join(dir, "link"):       "#!/bin/sh",
		filepath.Join(dir, "none"):       translate.FileMissing,
		filepath.Join(text, "below"):     translate.FileMissing,
		pipe:                             translate.FileUnknown,
		filepath.Join(dir, "bad\x00nul"): translate.FileUnknown,
	} {
		if got := lookAt(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

// TestProbeFile maps paths of the target to this machine.
func TestProbeFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.js"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	here := &prober{root: dir, dir: dir}
	there := &prober{root: "/srv/shop", dir: dir, found: map[string]bool{"/bin/sh": true}}
	tests := []struct {
		p    *prober
		path string
		want translate.FileKind
	}{
		{here, dir + "/a.js", translate.FileText},
		{here, "/", translate.FileDir},
		{there, "/srv/shop/a.js", translate.FileText},
		{there, "/srv/shop", translate.FileDir},
		{there, "/srv/shop/b.js", translate.FileMissing},
		{there, "/srv", translate.FileUnknown},
		{there, "/srv/shopping/a.js", translate.FileUnknown},
		{there, dir + "/a.js", translate.FileUnknown},
		{there, "/bin/sh", translate.FileBinary},
	}
	for _, test := range tests {
		if got := test.p.file(test.path); got != test.want {
			t.Errorf("root %s: %s is %q, want %q", test.p.root, test.path, got, test.want)
		}
	}
}

func TestSystemdVersion(t *testing.T) {
	for name, want := range map[string]int{
		"lib/systemd/libsystemd-shared-247.so":                      247,
		"usr/lib/systemd/libsystemd-shared-257.4-1.fc42.so":         257,
		"usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so": 252,
		"usr/lib64/systemd/libsystemd-shared-256~rc1.so":            256,
		"usr/lib/x86_64-linux-gnu/systemd/libsystemd-core-255.so":   0,
		"usr/lib/systemd/libsystemd-shared-.so":                     0,
	} {
		root := t.TempDir()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := SystemdVersion(root); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}
