package native

import (
	"os"
	"testing"
	"time"

	"gm/units"
)

// useMemory is a service that uses so many MiB.
func useMemory(t testing.TB, mebibytes string) *definition {
	if !canMeasure {
		t.Skip("what processes use is not to be seen here")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return testDefinition(program, "test-program", "use-memory", mebibytes)
}

func TestMemoryIsPolled(t *testing.T) {
	eachWay(t, func(t *testing.T, d *desk) {
		if d.groups.base != "" && d.groups.limits {
			t.Skip("control groups have limits here")
		}
		over := useMemory(t, "64")
		over.service.memoryMax = 48 << 20
		below := useMemory(t, "1")
		below.name, below.service.memoryMax = "below.service", 48<<20
		d.mustLaunch(below)
		d.mustLaunch(over)
		if got := d.memory(over.name); got != "polling" {
			t.Errorf("the limit is enforced by %q", got)
		}
		d.await("word of the limit", func(ev event) bool {
			e, ok := ev.(evOverMemory)
			if ok && (e.unit != over.name || e.killed) {
				t.Errorf("told %+v", e)
			}
			return ok
		})
		d.endUnit(over.name)
		if !d.polling.families[d.families[below.name]] {
			t.Error("the other unit is not polled any more")
		}
		d.endUnit(below.name)
		if len(d.polling.families) > 0 {
			t.Error("something is polled that has ended")
		}
	})
}

func TestNoLimitIsNotPolled(t *testing.T) {
	d := newDesk(t, true)
	d.mustLaunch(testDefinition("/bin/sleep", "60"))
	if d.polling.timer != nil {
		t.Error("there is a timer")
	}
	if got := d.memory("web.service"); got != "" {
		t.Errorf("the limit is enforced by %q", got)
	}
}

func TestUsage(t *testing.T) {
	eachWay(t, func(t *testing.T, d *desk) {
		def := useMemory(t, "40")
		d.mustLaunch(def)
		busy, output := d.shell("sleep 60 & i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo 1; wait")
		busy.name = "busy.service"
		d.mustLaunch(busy)
		pids(t, output, 1)
		before := time.Now()
		var got map[string]usage
		until(t, "the memory is in use", func() bool {
			got = d.usage([]string{def.name, busy.name, "none.service"})
			return got[def.name].memory > 40<<20
		})
		if u := got[def.name]; u.memory > 250<<20 || u.tasks < 2 || u.measured.Before(before) {
			t.Errorf("the big one uses %+v", u)
		}
		if u := got[busy.name]; u.cpu < 20*time.Millisecond || u.cpu > 20*time.Second || u.tasks != 2 || u.memory <= 0 {
			t.Errorf("the busy one uses %+v", u)
		}
		if u, ok := got["none.service"]; ok {
			t.Errorf("a unit without processes uses %+v", u)
		}
		d.endUnit(busy.name)
		d.endUnit(def.name)
	})
}

func BenchmarkUsage500(b *testing.B) {
	d := newDesk(b, true)
	var names []string
	for i := range 500 {
		names = append(names, launchNumbered(d, i, "/bin/sleep", "600"))
	}
	b.ResetTimer()
	for b.Loop() {
		if got := d.usage(names); len(got) != 500 {
			b.Fatalf("measured %d", len(got))
		}
	}
	b.StopTimer()
	endNumbered(d, names)
}

// launchNumbered starts one of many units.
func launchNumbered(d *desk, i int, argv ...string) string {
	def := testDefinition(argv...)
	def.name = "app-" + string(rune('a'+i/26/26)) + string(rune('a'+i/26%26)) + string(rune('a'+i%26)) + ".service"
	def.service.exec.stdout = units.Stream{Kind: "null"}
	d.mustLaunch(def)
	return def.name
}
