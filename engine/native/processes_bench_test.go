package native

import (
	"syscall"
	"testing"
)

// endNumbered stops units as a shutdown does: SIGTERM to all, then nothing may be left.
func endNumbered(d *desk, names []string) {
	for _, name := range names {
		d.signal(effSignal{unit: name, signal: int(syscall.SIGTERM)})
	}
	for _, name := range names {
		d.awaitEmpty(name)
	}
	left := len(names)
	d.await("the end of all", func(ev event) bool {
		if _, ok := ev.(evEmptied); ok {
			left--
		}
		return left == 0
	})
}

func benchEachWay(b *testing.B, bench func(b *testing.B, d *desk)) {
	b.Run("groups", func(b *testing.B) { bench(b, newDesk(b, false)) })
	b.Run("bare", func(b *testing.B) { bench(b, newDesk(b, true)) })
}

func BenchmarkSpawn500(b *testing.B) {
	benchEachWay(b, func(b *testing.B, d *desk) {
		for b.Loop() {
			var names []string
			for i := range 500 {
				names = append(names, launchNumbered(d, i, "/bin/sleep", "600"))
			}
			b.StopTimer()
			endNumbered(d, names)
			b.StartTimer()
		}
	})
}

func BenchmarkSpawnByShim(b *testing.B) {
	d := newDesk(b, true)
	def := testDefinition("/bin/true")
	def.service.exec.noNewPrivs = true
	for b.Loop() {
		k, _ := d.mustLaunch(def)
		b.StopTimer()
		d.exit(k)
		b.StartTimer()
	}
}

// A crash, told of and followed by a new process.
func BenchmarkCrashAndSpawn(b *testing.B) {
	benchEachWay(b, func(b *testing.B, d *desk) {
		def := testDefinition("/bin/sleep", "600")
		for b.Loop() {
			b.StopTimer()
			k, q := d.mustLaunch(def)
			b.StartTimer()
			_ = syscall.Kill(q.PID, syscall.SIGKILL)
			d.exit(k)
			d.emptied(def.name)
			d.mustLaunch(def)
			b.StopTimer()
			d.endUnit(def.name)
			b.StartTimer()
		}
	})
}

// A hundred of five hundred are killed, and collected.
func BenchmarkReap100(b *testing.B) {
	d := newDesk(b, true)
	for b.Loop() {
		b.StopTimer()
		var all []token
		for i := range 100 {
			launchNumbered(d, i, "/bin/sleep", "600")
			all = append(all, d.last)
		}
		b.StartTimer()
		for _, k := range all {
			d.signal(effSignal{token: k, signal: int(syscall.SIGKILL)})
		}
		left := len(all)
		d.await("the end of all", func(ev event) bool {
			if _, ok := ev.(evExited); ok {
				left--
			}
			return left == 0
		})
	}
}

func BenchmarkStop100(b *testing.B) {
	benchEachWay(b, func(b *testing.B, d *desk) {
		var others []string
		for i := range 400 {
			others = append(others, launchNumbered(d, i, "/bin/sleep", "600"))
		}
		for b.Loop() {
			b.StopTimer()
			var names []string
			for i := range 100 {
				names = append(names, launchNumbered(d, 400+i, "/bin/sleep", "600"))
			}
			b.StartTimer()
			endNumbered(d, names)
		}
		endNumbered(d, others)
	})
}
