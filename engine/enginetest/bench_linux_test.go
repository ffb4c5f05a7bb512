package enginetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkBooted measures gm beside systemctl on a booted systemd: the same work, one
// after the other, several rounds in one run. make bench-systemd prints the medians.
func BenchmarkBooted(b *testing.B) {
	c := bootContainer(b)
	b.Logf("systemd %d, %d CPUs", c.Version(), runtime.NumCPU())
	bench := &bench{b, c}
	b.Run("ListOf500", bench.list)
	b.Run("InstallOf100", bench.install)
}

type bench struct {
	b *testing.B
	c *container
}

// sleepers declares n apps that do nothing.
func (x *bench) sleepers(project string, n int) {
	apps := make([]App, n)
	for i := range apps {
		apps[i] = App{"name": fmt.Sprintf("%s-%03d", project, i), "script": "/bin/sleep", "args": "infinity", "interpreter": "none"}
	}
	text, err := json.Marshal(apps)
	if err != nil {
		x.b.Fatal(err)
	}
	dir := filepath.Join(x.c.Share(), project)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		x.b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, declarationName), text, 0o644); err != nil {
		x.b.Fatal(err)
	}
}

// time runs commands in turn, some rounds, and returns each one's median in
// milliseconds. It is measured inside, without the way there.
func (x *bench) time(dir string, rounds int, between string, commands ...string) []float64 {
	x.b.Helper()
	times := make([][]float64, len(commands))
	for range rounds {
		for i, command := range commands {
			script := fmt.Sprintf(`%s
			a=$EPOCHREALTIME; { %s; } >/dev/null 2>/tmp/err || { cat /tmp/err >&2; exit 1; }; b=$EPOCHREALTIME; echo $a $b`, between, command)
			out := x.c.Run(x.b.Context(), dir, "bash", "-c", script)
			f := strings.Fields(out.Stdout)
			if out.Code != 0 || len(f) < 2 {
				x.b.Fatalf("%s: %v", command, out)
			}
			from, err1 := strconv.ParseFloat(f[len(f)-2], 64)
			to, err2 := strconv.ParseFloat(f[len(f)-1], 64)
			if err1 != nil || err2 != nil {
				x.b.Fatalf("%s: %v", command, out)
			}
			times[i] = append(times[i], (to-from)*1000)
		}
	}
	medians := make([]float64, len(commands))
	for i, t := range times {
		slices.Sort(t)
		medians[i] = t[len(t)/2]
	}
	return medians
}

func (x *bench) must(dir string, argv ...string) {
	x.b.Helper()
	if out := x.c.Run(x.b.Context(), dir, argv...); out.Code != 0 {
		x.b.Fatalf("%v: %v", argv, out)
	}
}

func (x *bench) list(b *testing.B) {
	x = &bench{b, x.c}
	x.sleepers("five", 500)
	x.must("/share/five", "gm", "install", "--now")
	for range b.N {
		got := x.time("/share/five", 5, "",
			"gm list", "systemctl --no-pager --all list-units 'five-*'; systemctl --no-pager show 'five-*'", "gm plan --exit-code", "gm jlist")
		b.ReportMetric(got[0], "list-ms")
		b.ReportMetric(got[1], "systemctl-ms")
		b.ReportMetric(got[0]/got[1], "list/systemctl")
		b.ReportMetric(got[2], "plan-ms")
		b.ReportMetric(got[3], "jlist-ms")
	}
	x.must("/share/five", "gm", "uninstall")
}

func (x *bench) install(b *testing.B) {
	x = &bench{b, x.c}
	x.sleepers("hundred", 100)
	// The container's root is an overlayfs, on which making a file takes several times as
	// long as on a server's disk.
	x.must("/share", "sh", "-c", "cp -a /etc/systemd/system units && mount --bind units /etc/systemd/system && systemctl daemon-reload")
	for range b.N {
		var gm, reload, start []float64
		units := "$(printf 'hundred-%03d.service ' {0..99})"
		const rounds = 9
		for range rounds {
			// What was removed before is on the disk, so that nobody waits for it.
			gm = append(gm, x.time("/share/hundred", 1, "sync", "gm install --now")...)
			// What systemctl has to do for the same: read the same units, which are on the
			// disk already, and start them.
			reload = append(reload, x.time("/share/hundred", 1, "systemctl stop "+units, "systemctl daemon-reload")...)
			start = append(start, x.time("/share/hundred", 1, "sync", "systemctl start "+units)...)
			x.must("/share/hundred", "gm", "uninstall")
		}
		for _, times := range [][]float64{gm, reload, start} {
			slices.Sort(times)
		}
		b.ReportMetric(gm[rounds/2], "install-ms")
		b.ReportMetric(reload[rounds/2], "reload-ms")
		b.ReportMetric(start[rounds/2], "start-ms")
		b.ReportMetric(gm[rounds/2]/(reload[rounds/2]+start[rounds/2]), "install/(reload+start)")
		b.ReportMetric(gm[rounds/2]/start[rounds/2], "install/start")
	}
}
