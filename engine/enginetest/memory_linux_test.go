package enginetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gm/testbed"
)

// TestBootedMemory has a kernel with the memory controller of cgroup v2 watch over an
// app: one that uses more than max_memory_restart is killed and comes back, its
// neighbour lives.
func TestBootedMemory(t *testing.T) {
	gm := filepath.Join(t.TempDir(), "gm")
	buildGm(t, gm)
	binary, err := os.ReadFile(gm)
	if err != nil {
		t.Fatal(err)
	}
	out, code := testbed.Emulate(t, "", memoryScript, map[string]string{
		"gm":             string(binary),
		"processes.json": memoryDeclaration,
		"hog.sh":         "#!/bin/bash\necho $$ >>hog.pids\nsleep 2\nx=$(head -c 100000000 /dev/zero | tr '\\0' x)\nsleep infinity\n",
		"calm.sh":        "#!/bin/bash\necho $$ >>calm.pids\nexec sleep infinity\n",
	})
	t.Logf("%s", out)
	if code != 0 {
		t.Fatalf("the script ends with %d", code)
	}
	for _, want := range []string{"hog.service: oom-kill", "hog starts: more than one", "calm starts: 1", "limit: 41943040", "gm says: "} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
}

const memoryDeclaration = `[
	{"name": "hog", "script": "hog.sh", "max_memory_restart": "40M", "min_uptime": 500, "uid": "root"},
	{"name": "calm", "script": "calm.sh", "max_memory_restart": "40M", "min_uptime": 500, "uid": "root"}
]`

// memoryScript waits for the app to be killed twice; everything is slow there.
const memoryScript = `#!/bin/bash
cp gm /usr/local/bin/gm; mkdir /srv/mem; cp processes.json hog.sh calm.sh /srv/mem; cd /srv/mem
gm install || exit 1
echo "limit: $(cat /sys/fs/cgroup/gm.slice/gm-mem.slice/hog.service/memory.max)"
for i in {1..600}; do [ $(wc -l <hog.pids) -gt 1 ] && break; sleep 0.1; done
[ $(wc -l <hog.pids) -gt 1 ] && echo "hog starts: more than one"
echo "calm starts: $(wc -l <calm.pids)"
for i in {1..600}; do systemctl show -p Result hog | grep -q success && sleep 0.1 || break; done
journalctl -q -u hog --no-pager | tail -5
journalctl -q -u hog --no-pager | grep -q "oom-kill" && echo "hog.service: oom-kill"
gm list; echo "gm says: $(gm describe hog | grep -i -m1 'exit')"
gm uninstall
`
