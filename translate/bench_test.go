package translate

import (
	"bytes"
	"fmt"
	"testing"

	"gm/diag"
	"gm/units"
)

// declaration returns n apps like those of real files, about 360 bytes each.
func declaration(n int) []byte {
	var b bytes.Buffer
	b.WriteString("[\n")
	for i := range n {
		fmt.Fprintf(&b, `  {
    "name": "app-%05d",
    "script": "./services/app-%05d/dist/main.js",
    "cwd": "/srv/shop/current",
    "args": ["--port", "%d", "--workers", "4"],
    "env": {"NODE_ENV": "development", "PORT": %d, "LOG_LEVEL": "info"},
    "env_production": {"NODE_ENV": "production", "LOG_LEVEL": "warn"},
    "max_memory_restart": "300M", "kill_timeout": 5000,
    "restart_delay": 1000
  }`, i, i, 3000+i, 3000+i)
		if i < n-1 {
			b.WriteString(",\n")
		}
	}
	b.WriteString("\n]\n")
	return b.Bytes()
}

// benchHost is a pinned host: a benchmark does not look at the machine.
func benchHost() Host {
	return Host{
		CPUs: 4, Systemd: 257, Scope: ScopeSystem, Root: "/srv/shop", Home: "/root", Gm: "/usr/local/bin/gm",
		Programs: map[string]string{"node": "/usr/bin/node"},
	}
}

// BenchmarkCompile measures text to rendered units, in memory.
func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		text := declaration(n)
		b.Run(fmt.Sprintf("apps=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				set, l := Compile(diag.NewSource("processes.json", text), Options{Env: "production", Host: benchHost()})
				if l.HasErrors() || len(set) < n {
					b.Fatalf("%d units, %v", len(set), l)
				}
				for _, u := range set {
					out = units.AppendRender(out[:0], u)
				}
			}
		})
	}
}
