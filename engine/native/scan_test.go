package native

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInvocationOf(t *testing.T) {
	tests := []struct{ name, environ, want string }{
		{"none", "A=1\x00B=2\x00", ""},
		{"empty", "", ""},
		{"first", "INVOCATION_ID=abc\x00A=1\x00", "abc"},
		{"last", "A=1\x00INVOCATION_ID=abc", "abc"},
		{"of another name", "OLD_INVOCATION_ID=no\x00INVOCATION_ID=abc\x00", "abc"},
		{"only of another name", "OLD_INVOCATION_ID=no\x00", ""},
		{"in a value", "A=INVOCATION_ID=no\x00", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := invocationOf([]byte(test.environ)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// The table is two units, of which web is 10 and api has lost 20, in the sight of
// supervisor 5.
func TestWhoseProcessesAre(t *testing.T) {
	process := func(pid, ppid, group, session int, start uint64) procStat {
		return procStat{proc: proc{pid, start}, ppid: ppid, group: group, session: session}
	}
	environ := map[int]string{
		40: "INVOCATION_ID=api", 41: "INVOCATION_ID=ended", 42: "INVOCATION_ID=foreign", 43: "INVOCATION_ID=web",
	}
	tests := []struct {
		name    string
		process []procStat
		orphans bool
		want    map[int]int // families by process: 0 is web, 1 is api, 2 the ended run
	}{
		{"root", []procStat{process(10, 5, 10, 10, 7)}, false, map[int]int{10: 0}},
		{"session", []procStat{process(11, 1, 11, 10, 8)}, false, map[int]int{11: 0}},
		{"session of an ended root", []procStat{process(21, 5, 20, 20, 8)}, false, map[int]int{21: 1}},
		{"session that is another's by now", []procStat{process(20, 1, 20, 20, 9), process(21, 20, 20, 20, 9)}, true, map[int]int{}},
		{
			"descendants", []procStat{process(10, 5, 10, 10, 7), process(30, 10, 30, 30, 8), process(31, 30, 31, 31, 9)}, false,
			map[int]int{10: 0, 30: 0, 31: 0},
		},
		{
			"numbers that went round", []procStat{process(3, 9, 3, 3, 9), process(9, 10, 9, 9, 8), process(10, 5, 10, 10, 7)}, false,
			map[int]int{3: 0, 9: 0, 10: 0},
		},
		{"orphan by environment", []procStat{process(40, 5, 40, 40, 9)}, false, map[int]int{40: 1}},
		{"orphan of an ended run", []procStat{process(41, 5, 41, 41, 9)}, false, map[int]int{41: 2}},
		{"child of an orphan", []procStat{process(40, 5, 40, 40, 9), process(50, 40, 50, 50, 9)}, false, map[int]int{40: 1, 50: 1}},
		{"orphan of nobody", []procStat{process(42, 5, 42, 42, 9), process(44, 5, 44, 44, 9)}, false, map[int]int{}},
		{"orphan with others", []procStat{process(43, 1, 43, 43, 9)}, true, map[int]int{43: 0}},
		{"orphans are the supervisor's", []procStat{process(43, 1, 43, 43, 9)}, false, map[int]int{}},
		{"the supervisor", []procStat{process(5, 1, 5, 10, 1)}, true, map[int]int{}},
		{"a circle", []procStat{process(60, 61, 60, 60, 1), process(61, 60, 61, 61, 1)}, true, map[int]int{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := &owners{
				families: []*family{{unit: "web.service"}, {unit: "api.service"}}, roots: map[int]int{10: 0},
				sessions: map[int]int{20: 1}, invocations: map[string]int{"web": 0, "api": 1, "ended": 2},
				self: 5, adoptions: 1, orphans: test.orphans, foreign: &foreigners{},
			}
			for range 2 { // the second time with what is known of foreigners
				got := map[int]int{}
				for _, f := range o.search(test.process, func(pid int) []byte { return []byte(environ[pid]) }) {
					got[f.PID] = f.family
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

// The processes of others are looked into once, not at each search, and are not remembered
// for ever.
func TestForeignersAreRemembered(t *testing.T) {
	asked := 0
	o := &owners{invocations: map[string]int{"web": 0}, families: []*family{{}}, self: 5, orphans: true, foreign: &foreigners{}}
	environ := func(int) []byte { asked++; return nil }
	one := []procStat{{proc: proc{70, 1}, ppid: 1}}
	o.search(one, environ)
	o.search(one, environ)
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
	o.search([]procStat{{proc: proc{70, 2}, ppid: 1}}, environ)
	if asked != 2 {
		t.Errorf("asked %d times, want a second time for another process", asked)
	}
	if n := len(o.foreign.known); n > 2 {
		t.Errorf("%d are remembered of 1", n)
	}
}

func TestSnapshotHasUs(t *testing.T) {
	var s scanner
	for range 2 {
		found := false
		last := 0
		for _, q := range s.snapshot() {
			if q.PID <= last {
				t.Fatalf("%d comes after %d", q.PID, last)
			}
			last = q.PID
			if q.PID == os.Getpid() {
				found = true
				session, _, _ := syscall.RawSyscall(syscall.SYS_GETSID, 0, 0, 0)
				if q.ppid != os.Getppid() || q.group != syscall.Getpgrp() || q.session != int(session) || q.zombie || q.Start == 0 {
					t.Errorf("we are %+v", q)
				}
				if canMeasure && (q.rss < 1<<20 || q.threads < 2) {
					t.Errorf("we use %+v", q)
				}
				if other, ok := lookAt(q.PID); !ok || other.proc != q.proc {
					t.Errorf("alone we are %+v, %v", other, ok)
				}
			}
		}
		if !found {
			t.Error("we are not in it")
		}
	}
	if path := invocationOf(append([]byte("INVOCATION_ID="), s.environOf(os.Getpid())...)); !strings.Contains(path, "=") {
		t.Errorf("our environment begins with %q", path)
	}
}
