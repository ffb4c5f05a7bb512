package testbed

import (
	"strings"
	"testing"
)

func TestEmulateLimitsMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("boots user-mode Linux")
	}
	out, code := Emulate(t, "", `#!/bin/bash
systemd-run --quiet --wait -p MemoryMax=30M -p MemorySwapMax=0 sh /share/eat.sh
systemctl --version | head -1; cat /sys/fs/cgroup/cgroup.controllers; exit 7
`, map[string]string{"eat.sh": "#!/bin/sh\nhead -c 200M /dev/zero | tail >/dev/null\n"})
	if code != 7 || !strings.Contains(out, "systemd ") || !strings.Contains(out, "memory") {
		t.Errorf("exit status %d, output:\n%s", code, out)
	}
}

func TestReboot(t *testing.T) {
	m := Boot(t, Options{})
	m.Must("sh", "-c", "echo kept >/etc/kept; echo gone >/run/gone")
	before := strings.TrimSpace(m.Must("cat", "/proc/sys/kernel/random/boot_id"))
	m.Must("systemd-run", "--unit=still", "sleep", "infinity")
	m.Reboot()
	if got := m.Must("sh", "-c", "cat /etc/kept; ls /run/gone 2>/dev/null; systemctl is-active still || true"); got != "kept\ninactive\n" {
		t.Errorf("after a reboot of %s: %q", before, got)
	}
}
