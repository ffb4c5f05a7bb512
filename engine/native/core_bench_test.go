package native

import (
	"fmt"
	"testing"
	"time"

	"gm/engine"
)

// shop is n services that a target wants, as gm install leaves them.
func shop(n int) []*definition {
	list := []*definition{newTarget("gm-shop.target", func(d *definition) {
		for i := range n {
			d.wants = append(d.wants, fmt.Sprintf("app%d.service", i))
		}
	})}
	for i := range n {
		list = append(list, newService(fmt.Sprintf("app%d.service", i), restart("always"), partOf("gm-shop.target"),
			requires("gm-shop.slice"), after("gm-shop.slice", "network.target"), unlimited))
	}
	return list
}

// play carries out what a step asks for, as far as the core must be answered.
func (r *rig) play(ev event) (spawned token) {
	for queue := []event{ev}; len(queue) > 0; queue = queue[1:] {
		for _, e := range r.c.step(r.now, queue[0]) {
			switch e := e.(type) {
			case effSpawn:
				r.pid++
				spawned = e.token
				queue = append(queue, evSpawned{token: e.token, proc: proc{PID: r.pid}})
			case effAwaitEmpty:
				queue = append(queue, evEmptied{e.unit})
			}
		}
	}
	return spawned
}

func BenchmarkStartTogether(b *testing.B) { benchmarkStart(b, true) }
func BenchmarkStartOneByOne(b *testing.B) { benchmarkStart(b, false) }

func benchmarkStart(b *testing.B, together bool) {
	for _, n := range []int{500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			defs := shop(n)
			for b.Loop() {
				r := newRig(b, defs...)
				if together {
					r.play(evJob{1, engine.Job{Op: engine.Start, Unit: "gm-shop.target"}})
				} else {
					for i := range n {
						r.play(evJob{callID(i), engine.Job{Op: engine.Start, Unit: fmt.Sprintf("app%d.service", i)}})
					}
				}
				if len(r.c.running()) != n {
					b.Fatal("not all run")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/unit")
		})
	}
}

func BenchmarkStopTogether(b *testing.B) {
	const n = 500
	for b.Loop() {
		b.StopTimer()
		r := newRig(b, shop(n)...)
		r.quiet = true
		r.feed(evJob{1, engine.Job{Op: engine.Start, Unit: "gm-shop.target"}})
		b.StartTimer()
		r.play(evJob{2, engine.Job{Op: engine.Stop, Unit: "gm-shop.target"}})
		for k := range r.procs {
			r.play(evExited{k, exitStatus{signal: 15, at: r.now}})
		}
		if len(r.c.running()) != 0 {
			b.Fatal("some run")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/unit")
}

// BenchmarkCrash is what the core does between the end of a process and the next one.
func BenchmarkCrash(b *testing.B) {
	r := newRig(b, shop(500)...)
	r.play(evJob{1, engine.Job{Op: engine.Start, Unit: "gm-shop.target"}})
	b.ReportAllocs()
	u := r.c.units["app7.service"]
	for b.Loop() {
		r.now = r.now.Add(time.Second)
		r.play(evExited{u.service.main.token, exitStatus{code: 1, at: r.now}})
		if r.play(evTimeout{u.service.timer}) == 0 {
			b.Fatal("it is not started again")
		}
	}
}
