package native

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
)

var sameRecord = cmp.Options{cmp.AllowUnexported(), cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })}

func fullRecord(t testing.TB, unit string) record {
	var r record
	if t, ok := t.(*testing.T); ok {
		seed := int64(0)
		fill(t, reflect.ValueOf(&r).Elem(), &seed)
	}
	r.Unit = unit
	return r
}

// Every field of a record must be written, and as encoding/json reads it.
func TestRecordIsWhole(t *testing.T) {
	for name, want := range map[string]record{
		"every field": fullRecord(t, "web@1.service"),
		"none":        {},
		"exit only":   {Unit: "a.service", Exit: engine.Exit{Signal: 9}},
		"odd name":    {Unit: "a\"b\\c\x01é.service"},
	} {
		t.Run(name, func(t *testing.T) {
			line := appendRecord(nil, &want)
			var got record
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if diff := cmp.Diff(want, got, sameRecord); diff != "" {
				t.Errorf("-saved +read\n%s", diff)
			}
			if n := strings.Count(string(line), "\n"); n != 1 || line[len(line)-1] != '\n' {
				t.Errorf("it is not one line: %q", line)
			}
		})
	}
}

func mustSave(t *testing.T, s *store, unit string, r *record) {
	t.Helper()
	if err := s.save(unit, r); err != nil {
		t.Fatal(err)
	}
}

// reopened is what the next supervisor finds.
func reopened(t *testing.T, h Home) []record {
	t.Helper()
	_, left, err := openStore(h)
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestStoreKeepsTheLastRecordOfEach(t *testing.T) {
	h := homeOf(t)
	if left := reopened(t, h); left != nil {
		t.Errorf("at first %v is left", left)
	}
	s := opened(t, h)
	for i := range 3 {
		for _, unit := range []string{"a.service", "b.service", "c.service"} {
			mustSave(t, s, unit, &record{Unit: unit, Restarts: i})
		}
	}
	mustSave(t, s, "b.service", nil)
	mustSave(t, s, "unknown.service", nil)
	want := []record{{Unit: "a.service", Restarts: 2}, {Unit: "c.service", Restarts: 2}}
	for range 2 { // it is kept until it is saved otherwise
		if diff := cmp.Diff(want, reopened(t, h), sameRecord); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	s = opened(t, h)
	mustSave(t, s, "a.service", nil)
	mustSave(t, s, "c.service", nil)
	if left := reopened(t, h); left == nil || len(left) != 0 {
		t.Errorf("of a supervisor that died with nothing to run %#v is left", left)
	}
	if err := opened(t, h).finish(); err != nil {
		t.Fatal(err)
	}
	if left := reopened(t, h); left != nil {
		t.Errorf("after its end %v is left", left)
	}
}

func TestOtherBootLeavesNothing(t *testing.T) {
	h := homeOf(t)
	s := opened(t, h)
	mustSave(t, s, "a.service", &record{Unit: "a.service", Active: "active", Main: proc{PID: 1}})
	id, err := bootIdentity()
	if err != nil || len(id) < 30 {
		t.Fatalf("identity is %q, %v", id, err)
	}
	text, err := os.ReadFile(h.State())
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(text), id, "x"+id[1:], 1)
	if err := os.WriteFile(h.State(), []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if unfinished, left, err := h.died(); unfinished || left || err != nil {
		t.Errorf("it is taken for one of this boot: %v, %v, %v", unfinished, left, err)
	}
	if left := reopened(t, h); left != nil {
		t.Errorf("%v is left", left)
	}
}

// A supervisor can die at any byte: what was written whole counts.
func TestStateCutAtAnyByte(t *testing.T) {
	h := homeOf(t)
	s := opened(t, h)
	mustSave(t, s, "a.service", &record{Unit: "a.service", Restarts: 1})
	mustSave(t, s, "b.service", &record{Unit: "b.service"})
	mustSave(t, s, "a.service", &record{Unit: "a.service", Restarts: 2})
	mustSave(t, s, "b.service", nil)
	text, err := os.ReadFile(h.State())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.finish(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(h.State())
	if err != nil || !strings.HasPrefix(string(whole), string(text)) {
		t.Fatal(err)
	}
	a1, a2, b := record{Unit: "a.service", Restarts: 1}, record{Unit: "a.service", Restarts: 2}, record{Unit: "b.service"}
	after := [][]record{nil, {}, {}, {a1}, {a1, b}, {a2, b}, {a2}, nil} // so many lines
	for n := range len(whole) + 1 {
		h := homeOf(t)
		if err := os.WriteFile(h.State(), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		want := after[strings.Count(string(whole[:n]), "\n")]
		left := reopened(t, h)
		if diff := cmp.Diff(want, left, sameRecord); diff != "" {
			t.Errorf("of %d bytes: -want +got\n%s", n, diff)
		}
		// What is saved behind half a line is not lost with it.
		s := opened(t, h)
		mustSave(t, s, "new.service", &record{Unit: "new.service"})
		if left := reopened(t, h); len(left) != len(want)+1 {
			t.Errorf("of %d bytes, and one more unit: %+v", n, left)
		}
	}
}

func TestStateOfRubbish(t *testing.T) {
	head := ""
	{
		h := homeOf(t)
		opened(t, h)
		text, _ := os.ReadFile(h.State())
		head = string(text)
	}
	for name, text := range map[string]string{
		"empty":          "",
		"not ours":       "hello\nworld\n",
		"zeros":          strings.Repeat("\x00", 5000),
		"other version":  strings.Replace(head, `"gm":1`, `"gm":2`, 1) + `{"unit":"b.service"}` + "\n",
		"lines of other": head + "null\n[]\n{}\n{\"unit\":7}\n\n" + `{"unit":"a.service","mood":"good"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := homeOf(t)
			if err := os.WriteFile(h.State(), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, r := range reopened(t, h) {
				if r.Unit != "a.service" {
					t.Errorf("got %+v", r)
				}
			}
		})
	}
}

func TestStateStaysSmall(t *testing.T) {
	h := homeOf(t)
	s := opened(t, h)
	r := fullRecord(t, "")
	for i := range 20_000 {
		r.Unit, r.Restarts = fmt.Sprintf("web@%d.service", i%100), i
		mustSave(t, s, r.Unit, &r)
		if i%1000 == 0 {
			info, err := os.Stat(h.State())
			if err != nil || info.Size() != int64(s.size) || s.size > 4*s.live+slack {
				t.Fatalf("%v bytes, of %d that count, %v", info.Size(), s.live, err)
			}
		}
	}
	left := reopened(t, h)
	if len(left) != 100 || left[0].Restarts < 19_900 {
		t.Errorf("%d units, the first %+v", len(left), left[0])
	}
}

func TestSameRecordIsNotWritten(t *testing.T) {
	h := homeOf(t)
	s := opened(t, h)
	r := fullRecord(t, "a.service")
	mustSave(t, s, r.Unit, &r)
	before := s.size
	mustSave(t, s, r.Unit, &r)
	if s.size != before {
		t.Errorf("%d bytes were written", s.size-before)
	}
}

// fullDisk is a file on a disk with so much space left.
type fullDisk struct {
	io.WriteCloser
	space *int
}

func (f fullDisk) Write(b []byte) (int, error) {
	if n := len(b); n <= *f.space {
		*f.space -= n
		return f.WriteCloser.Write(b)
	}
	n, _ := f.WriteCloser.Write(b[:*f.space])
	*f.space = 0
	return n, syscall.ENOSPC
}

func TestFullDisk(t *testing.T) {
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 0))
		h := homeOf(t)
		s := opened(t, h)
		space := 1 << 20
		s.f = fullDisk{s.f, &space}
		s.create = func(path string) (io.WriteCloser, error) {
			f, err := createState(path)
			if err != nil {
				return nil, err
			}
			return fullDisk{f, &space}, nil
		}
		want := map[string]int{}
		failures := 0
		for i := range 300 {
			switch random.IntN(20) {
			case 0:
				space = random.IntN(500)
			case 1:
				space = 1 << 20
			}
			unit := fmt.Sprintf("web@%d.service", random.IntN(5))
			r := &record{Unit: unit, Restarts: i}
			if want[unit] = i; random.IntN(10) == 0 {
				r = nil
				delete(want, unit)
			}
			wasBehind := s.behind
			if err := s.save(unit, r); err != nil {
				failures++
				if wasBehind || !s.behind || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("seed %d: got %v; was it told before: %v", seed, err, wasBehind)
				}
			}
		}
		space = 1 << 20
		last := record{Unit: "last.service"}
		mustSave(t, s, last.Unit, &last)
		got := map[string]int{}
		for _, r := range reopened(t, h) {
			if r.Unit != last.Unit {
				got[r.Unit] = r.Restarts
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d, %d failures: -want +got\n%s", seed, failures, diff)
		}
	}
}

// What is enabled is started by the next supervisor, if one was killed before it had, or while it
// stopped everything.
func TestBootIsDue(t *testing.T) {
	h := homeOf(t)
	is := func(want bool) *store {
		t.Helper()
		if _, left, err := h.died(); left != want || err != nil {
			t.Errorf("clients take it for due: %v, %v; want %v", left, err, want)
		}
		s := opened(t, h)
		if s.bootDue != want {
			t.Errorf("it is due: %v, want %v", s.bootDue, want)
		}
		return s
	}
	boots := func(s *store, due bool) {
		t.Helper()
		if err := s.boots(due); err != nil {
			t.Fatal(err)
		}
	}
	opened(t, h)
	boots(is(true), false)
	s := is(false)
	boots(s, true)
	if err := s.rewrite(); err != nil {
		t.Fatal(err)
	}
	boots(is(true), false)
	if err := is(false).finish(); err != nil {
		t.Fatal(err)
	}
	if s := opened(t, h); !s.bootDue {
		t.Error("it is not due after everything was stopped")
	}
}

func TestFinishOnFullDisk(t *testing.T) {
	h := homeOf(t)
	s := opened(t, h)
	mustSave(t, s, "a.service", &record{Unit: "a.service", Active: "active"})
	space := 0
	s.f = fullDisk{s.f, &space}
	if err := s.finish(); err != nil {
		t.Fatal(err)
	}
	if left := reopened(t, h); left != nil {
		t.Errorf("%v is left", left)
	}
}

func TestOpenStoreOnFullDisk(t *testing.T) {
	h := homeOf(t)
	mustSave(t, opened(t, h), "a.service", &record{Unit: "a.service", Active: "active"})
	// Nothing can be made of that name, whoever one is.
	if err := os.Mkdir(h.State()+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	s, left, err := openStore(h)
	if err != nil || len(left) != 1 {
		t.Fatalf("%v is left, %v", left, err)
	}
	_ = s.save("b.service", &record{Unit: "b.service"})
	if err := os.Remove(h.State() + ".new"); err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, "c.service", &record{Unit: "c.service"})
	if left := reopened(t, h); len(left) != 3 {
		t.Errorf("%v is left", left)
	}
}

// stateOf is a state as of a record, for tests.
func stateOf(r record) engine.UnitState {
	return engine.UnitState{
		Name: r.Unit, Load: "loaded", Active: r.Active, Sub: r.Sub, MainPID: r.Main.PID, Since: r.Since, Started: r.Started,
		CPU: -1, Memory: -1,
	}
}

func benchmarkRecord() record {
	now := time.Now()
	return record{
		Unit: "web-api@1.service", Invocation: strings.Repeat("0123456789abcdef", 2), Active: "activating", Sub: "auto-restart",
		Main: proc{4711, 123456789}, Since: now, Started: now, Restarts: 3, Starts: []time.Time{now, now}, Result: "exit-code",
		Exit: engine.Exit{Code: 1, At: now}, Digest: strings.Repeat("0123456789abcdef", 4), Memory: "polling",
	}
}

func BenchmarkSave(b *testing.B) {
	s, _, err := openStore(homeOf(b))
	if err != nil {
		b.Fatal(err)
	}
	r := benchmarkRecord()
	b.ReportAllocs()
	for b.Loop() {
		r.Restarts++
		if err := s.save(r.Unit, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	r := benchmarkRecord()
	b.Run("appended", func(b *testing.B) {
		b.ReportAllocs()
		var line []byte
		for b.Loop() {
			line = appendRecord(line[:0], &r)
		}
	})
	b.Run("encoding json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
