package systemd

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"gm/engine"
)

// TestInsidePull: one request starts a target's units, each of which has its own end.
func TestInsidePull(t *testing.T) {
	ctx := inside(t, "root")
	transports(t, func(t *testing.T, b *bed) {
		log := filepath.Join(t.TempDir(), "starts")
		path, pass := gate(t)
		noted := "ExecStartPre=/bin/sh -c 'echo %n >>" + log + "'\n"
		units := map[string]string{
			"up.service":      "[Service]\n" + noted + "ExecStart=/bin/sleep 1000\n",
			"member@.service": "[Service]\n" + noted + "ExecStart=/bin/sleep 1000\n",
			"inner.target":    "[Unit]\nWants=member@1.service member@2.service\n",
			"once.service":    "[Service]\nType=oneshot\n" + noted + "ExecStart=/bin/true\n",
			"failing.service": "[Service]\nType=oneshot\n" + noted + "ExecStart=/bin/false\n",
			"again.service":   "[Service]\nType=exec\nRestart=always\nRestartSec=1ms\n" + noted + "ExecStart=/no/such/program\n",
			"needy.service":   "[Unit]\nRequires=failing.service\nAfter=failing.service\n[Service]\n" + noted + "ExecStart=/bin/sleep 1000\n",
			"waits.service":   "[Service]\nType=oneshot\n" + noted + "ExecStart=/bin/sh -c 'read x <" + path + "'\n",
			"broken.service":  "[Service]\n",
			"alone.service":   "[Service]\n" + noted + "ExecStart=/bin/sleep 1000\n",
		}
		members := []string{"inner.target", "member@1.service", "member@2.service", "alone.service", "nothing.service"}
		target := "[Unit]\nWants=inner.target nothing.service\n"
		for name := range units {
			if strings.HasSuffix(name, ".service") && name != "alone.service" && !strings.Contains(name, "@") {
				members = append(members, name)
				target += "Wants=" + name + "\n"
			}
		}
		units["all.target"] = target
		b.install(units)
		defer func() {
			for _, unit := range []string{"member@1.service", "member@2.service"} {
				b.do(engine.Stop, unit)
			}
		}()
		// As for an install: the target is up before, and changes nothing of what it pulls in.
		if err := b.Do(ctx, engine.Job{Op: engine.Start, Unit: "all.target", Alone: true}); err != nil {
			t.Fatal(err)
		}
		ended, err := b.Pull(ctx, "all.target", members)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]error{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, member := range members {
			if member == "waits.service" {
				continue
			}
			wg.Go(func() {
				err := ended(ctx, member)
				mu.Lock()
				defer mu.Unlock()
				got[member] = err
			})
		}
		wg.Wait()
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if err := ended(short, "waits.service"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "(start waits.service) is not finished") {
			t.Errorf("waits.service: %v", err)
		}
		pass()
		b.await("waits.service", "ended", func(u engine.UnitState) bool { return u.Active == "inactive" })
		want := map[string]struct{ result, cause string }{
			"failing.service": {"failed", ""}, "again.service": {"failed", ""}, "needy.service": {"dependency", ""},
			"broken.service": {"", "bad unit file setting"}, "nothing.service": {"", "not found"},
		}
		for member, err := range got {
			var failed *engine.JobError
			switch w, fails := want[member]; {
			case !fails:
				if err != nil {
					t.Errorf("%s: %v", member, err)
				}
			case !errors.As(err, &failed) || failed.Result != w.result || failed.Op != engine.Start || failed.Unit != member:
				t.Errorf("%s: got %v, want result %q", member, err, w.result)
			case w.cause != "" && (failed.Cause == nil || !strings.Contains(err.Error(), w.cause)):
				t.Errorf("%s: got %v, want %q in it", member, err, w.cause)
			}
		}
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		starts := map[string]int{}
		for _, unit := range strings.Fields(string(text)) {
			starts[unit]++
		}
		for _, unit := range []string{"up.service", "member@1.service", "member@2.service", "once.service", "failing.service", "waits.service", "alone.service"} {
			if starts[unit] != 1 {
				t.Errorf("%s was started %d times", unit, starts[unit])
			}
		}
		b.do(engine.Stop, "again.service")
		b.await("all.target", "no job", func(engine.UnitState) bool {
			b.conn.mu.Lock()
			defer b.conn.mu.Unlock()
			return len(b.conn.jobs)+len(b.conn.ended) == 0
		})
		if ended, err = b.Pull(ctx, "nothing.target", []string{"up.service"}); err != nil {
			t.Errorf("a target that is not there: %v", err)
		} else if err := ended(ctx, "up.service"); err != nil {
			t.Errorf("its member: %v", err)
		}
	})
}

// TestInsidePullConnectionLoss: the ends of jobs are found out all the same.
func TestInsidePullConnectionLoss(t *testing.T) {
	ctx := inside(t, "root")
	for _, c := range []struct {
		name, bus, verb string
	}{
		{"ReexecOnBus", systemBus, "daemon-reexec"},
		{"Reexec", "", "daemon-reexec"},
		{"ReloadOnBus", systemBus, "daemon-reload"},
		{"Reload", "", "daemon-reload"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, Options{Bus: c.bus})
			path, pass := gate(t)
			failPath, fail := gate(t)
			b.install(map[string]string{
				"pass.service":   "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'read x <" + path + "'\n",
				"fail.service":   "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'read x <" + failPath + "; exit 1'\n",
				"follow.service": "[Unit]\nRequires=fail.service\nAfter=fail.service\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
				"all.target":     "[Unit]\nWants=pass.service fail.service follow.service\n",
			})
			members := []string{"pass.service", "fail.service", "follow.service"}
			ended, err := b.Pull(ctx, "all.target", members)
			if err != nil {
				t.Fatal(err)
			}
			results := map[string]chan error{}
			for _, unit := range members {
				result := make(chan error, 1)
				results[unit] = result
				go func() { result <- ended(ctx, unit) }()
			}
			b.await("pass.service", "started", func(u engine.UnitState) bool { return u.Active == "activating" })
			b.await("fail.service", "started", func(u engine.UnitState) bool { return u.Active == "activating" })
			if out, err := exec.Command("systemctl", c.verb).CombinedOutput(); err != nil {
				t.Fatalf("%s", out)
			}
			b.retry(func() error {
				_, err := b.Units(ctx, engine.Brief, []string{"pass.service"})
				return err
			})
			pass()
			fail()
			for unit, result := range results {
				select {
				case err := <-result:
					var failed *engine.JobError
					if ok := unit == "pass.service"; ok && err != nil || !ok && !errors.As(err, &failed) {
						t.Errorf("%s: %v", unit, err)
					}
				case <-time.After(20 * time.Second):
					t.Errorf("%s: nobody told that it ended", unit)
				}
			}
		})
	}
}

// TestPullTellsJobsApart: only the first job of a unit that is of the transaction
// counts, and what the reader of the reply comes too late for is not lost.
func TestPullTellsJobsApart(t *testing.T) {
	job := func(id string) dbus.ObjectPath { return object + "/job/" + dbus.ObjectPath(id) }
	p := newPeer(t, func(p *peer, conn io.Writer, call *dbus.Message) {
		end := func(id uint32, path, unit, result string) {
			tell(conn, object, managerIface, "JobRemoved", id, job(path), unit, result)
		}
		switch member(call) {
		case "StartUnit":
			end(10, "10", "early.service", "canceled") // a stop that was queued before
			end(21, "21", "early.service", "done")
			reply(conn, call, job("20"))
			end(22, "22", "again.service", "failed")
			end(31, "31", "again.service", "done")
		case "ListJobs":
			type status struct {
				ID              uint32
				Unit, Type, Now string
				Job, Path       dbus.ObjectPath
			}
			reply(conn, call, []status{
				{23, "late.service", "start", "running", job("23"), unitPath("late.service")},
				{32, "again.service", "start", "waiting", job("32"), unitPath("again.service")},
			})
			end(23, "23", "late.service", "timeout")
		default:
			refuse(conn, call, errNoSuchUnit)
		}
	})
	ended, err := p.Pull(t.Context(), "all.target", []string{"early.service", "again.service", "late.service"})
	if err != nil {
		t.Fatal(err)
	}
	for unit, want := range map[string]string{"early.service": "", "again.service": "failed", "late.service": "timeout"} {
		var failed *engine.JobError
		if err := ended(t.Context(), unit); want == "" && err != nil || want != "" && (!errors.As(err, &failed) || failed.Result != want) {
			t.Errorf("%s: got %v, want %q", unit, err, want)
		}
	}
	if n := len(p.conn.jobs) + len(p.conn.ended); n != 0 {
		t.Errorf("%d jobs are still awaited", n)
	}
}

// TestPullLosesConnection: it breaks before the jobs are known. What was started is
// not started again.
func TestPullLosesConnection(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	began := time.Now()
	p := newPeer(t, func(p *peer, conn io.Writer, call *dbus.Message) {
		mu.Lock()
		defer mu.Unlock()
		switch name := member(call); {
		case name == "StartUnit":
			asked = append(asked, call.Body[0].(string))
			reply(conn, call, object+"/job/20")
			if call.Body[0] == "left.service" {
				tell(conn, object, managerIface, "JobRemoved", uint32(20), object+"/job/20", "left.service", "done")
			}
		case name == "ListJobs" && p.dials.Load() == 1:
			conn.(io.Closer).Close()
		case name == "ListJobs":
			type status struct {
				ID              uint32
				Unit, Type, Now string
				Job, Path       dbus.ObjectPath
			}
			reply(conn, call, []status{})
		case name == "Get":
			ran := call.Headers[dbus.FieldPath].Value() == unitPath("ran.service")
			switch call.Body[1] {
			case "InactiveExitTimestamp":
				at := began.Add(-time.Hour)
				if ran {
					at = time.Now()
				}
				reply(conn, call, dbus.MakeVariant(uint64(at.UnixMicro())))
			case "ActiveState":
				reply(conn, call, dbus.MakeVariant("inactive"))
			default:
				reply(conn, call, dbus.MakeVariant("success"))
			}
		default:
			refuse(conn, call, errNoSuchUnit)
		}
	})
	ended, err := p.Pull(t.Context(), "all.target", []string{"ran.service", "left.service"})
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"ran.service", "left.service"} {
		if err := ended(t.Context(), unit); err != nil {
			t.Errorf("%s: %v", unit, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Join(asked, " ") != "all.target left.service" {
		t.Errorf("started are %q", asked)
	}
}

// TestPullKnowsTheEnd: a job that ended before the reader of the reply came to it is not
// asked for, also when another's daemon-reload may have cost signals.
func TestPullKnowsTheEnd(t *testing.T) {
	type status struct {
		ID              uint32
		Unit, Type, Now string
		Job, Path       dbus.ObjectPath
	}
	job := object + "/job/20"
	p := newPeer(t, func(p *peer, conn io.Writer, call *dbus.Message) {
		switch member(call) {
		case "StartUnit":
			tell(conn, object, managerIface, "JobRemoved", uint32(20), job, "a.service", "done")
			reply(conn, call, job)
		case "ListJobs":
			tell(conn, object, managerIface, "Reloading", false)
			reply(conn, call, []status{})
		default:
			refuse(conn, call, errNoSuchUnit)
		}
	})
	for range 50 { // select chooses by chance
		ended, err := p.Pull(t.Context(), "all.target", []string{"a.service"})
		if err == nil {
			err = ended(t.Context(), "a.service")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := p.dials.Load(); n != 1 {
		t.Errorf("connected %d times", n)
	}
}

// TestMalformedCall: what cannot be sent at all leaves the connection to the others.
func TestMalformedCall(t *testing.T) {
	p := newPeer(t, func(_ *peer, conn io.Writer, call *dbus.Message) { refuse(conn, call, errNoSuchUnit) })
	if err := p.conn.do(t.Context(), "", propsIface+".Get", nil); err == nil || errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if !p.conn.Connected() {
		t.Error("the connection is closed")
	}
}
