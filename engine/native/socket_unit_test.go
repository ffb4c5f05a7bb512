package native

import (
	"errors"
	"slices"
	"testing"
	"time"

	"gm/engine"
)

func newSocketUnit(name string, set ...func(*socketDef)) *definition {
	d := &definition{name: name, kind: kindSocket, description: name, load: "loaded", digest: "1", fragment: "/units/" + name}
	d.socket = &socketDef{listen: []listenDef{{"stream", "3000"}}}
	for _, f := range set {
		f(d.socket)
	}
	return d
}

func TestSocket(t *testing.T) {
	r := newRig(t, newSocketUnit("web.socket"), newService("web.service"))
	r.ended(r.do(engine.Start, "web.socket"), "done")
	r.is("web.socket", "active/listening success")
	r.did("open web.socket")
	if !r.listens["web.socket"] {
		t.Fatal("nobody listens")
	}
	r.feed(evIncoming{"web.socket"})
	r.is("web.socket", "active/running")
	r.is("web.service", "active/running")
	r.feed(evIncoming{"web.socket"}) // which was under way
	r.did("main web.service: /bin/web")
	delete(r.listens, "web.socket")
	r.exits("web.service", 0)
	r.is("web.socket", "active/listening")
	if !r.listens["web.socket"] {
		t.Fatal("nobody listens after the service has gone")
	}
	r.ended(r.do(engine.Stop, "web.socket"), "done")
	r.is("web.socket", "inactive/dead")
	if len(r.open) != 0 {
		t.Errorf("left open are %v", r.open)
	}
}

func TestSocketWaitsForAutoRestart(t *testing.T) {
	r := newRig(t, newSocketUnit("web.socket"), newService("web.service", restart("always")))
	r.do(engine.Start, "web.socket")
	r.feed(evIncoming{"web.socket"})
	r.exits("web.service", 1)
	r.is("web.socket", "active/running")
	r.feed(evIncoming{"web.socket"})
	r.is("web.service", "activating/auto-restart")
}

// Instances share a socket. It is theirs as long as one of them runs.
func TestSharedSocket(t *testing.T) {
	var spawned [][]string
	r := newRig(t, newSocketUnit("web.socket", func(d *socketDef) { d.service = "web@0.service" }), newSocketUnit("admin.socket"),
		newService("web@.service", requires("web.socket"), after("web.socket"), with(func(d *serviceDef) { d.sockets = []string{"web.socket"} })))
	r.ended(r.do(engine.Start, "web@1.service"), "done")
	r.did("open web.socket", "main web@1.service: /bin/web@")
	r.is("web.socket", "active/running")
	r.do(engine.Start, "web@0.service")
	r.do(engine.Stop, "web@1.service")
	r.is("web.socket", "active/running")
	r.do(engine.Stop, "web@0.service")
	r.is("web.socket", "active/listening")
	r.feed(evIncoming{"web.socket"})
	r.is("web@0.service", "active/running")
	r.is("web@1.service", "inactive/dead")

	for _, e := range r.c.step(r.now, evJob{77, engine.Job{Op: engine.Start, Unit: "web@1.service"}}) {
		if s, ok := e.(effSpawn); ok {
			spawned = append(spawned, s.sockets)
		}
	}
	if len(spawned) != 1 || !slices.Equal(spawned[0], []string{"web.socket"}) {
		t.Errorf("it gets the sockets %v", spawned)
	}
	// A stop of the socket takes those along that require it.
	r.do(engine.Stop, "web.socket")
	r.is("web@0.service", "inactive/dead")
}

func TestSocketFailures(t *testing.T) {
	t.Run("address in use", func(t *testing.T) {
		r := newRig(t, newSocketUnit("web.socket"), newService("web.service", requires("web.socket"), after("web.socket")))
		r.refused["web.socket"] = errors.New("address already in use")
		r.ended(r.do(engine.Start, "web.service"), "dependency")
		r.is("web.socket", "failed/failed resources")
		// From failed to failed it goes through no other state.
		r.ended(r.do(engine.Start, "web.service"), "dependency")
		r.ended(r.do(engine.Restart, "web.socket"), "failed")
		r.feed(evReset{1001, "web.socket"})
		r.is("web.socket", "inactive/dead success")
	})
	t.Run("service is started too often", func(t *testing.T) {
		r := newRig(t, newSocketUnit("web.socket"), newService("web.service"))
		r.do(engine.Start, "web.socket")
		for range 5 {
			r.feed(evIncoming{"web.socket"})
			r.exits("web.service", 1)
		}
		r.feed(evIncoming{"web.socket"})
		r.is("web.service", "failed/failed exit-code")
		r.is("web.socket", "failed/failed service-start-limit-hit")
		if len(r.open) != 0 {
			t.Error("it is open")
		}
	})
	t.Run("no service", func(t *testing.T) {
		r := newRig(t, newSocketUnit("web.socket"))
		r.do(engine.Start, "web.socket")
		r.feed(evIncoming{"web.socket"})
		r.is("web.socket", "failed/failed resources")
	})
	t.Run("restart", func(t *testing.T) {
		r := newRig(t, newSocketUnit("web.socket"), newService("web.service"))
		r.do(engine.Start, "web.socket")
		r.take()
		r.ended(r.do(engine.Restart, "web.socket"), "done")
		r.did("close web.socket", "open web.socket")
		r.pass(time.Second)
	})
}
