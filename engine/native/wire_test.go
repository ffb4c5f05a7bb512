package native

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
)

// fill gives every field of a struct a value that is not zero, so that one that is forgotten
// shows.
func fill(t *testing.T, v reflect.Value, seed *int64) {
	t.Helper()
	*seed++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000, *seed)))
		return
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), seed)
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text-%d", *seed))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(*seed)
	case reflect.Uint64:
		v.SetUint(uint64(*seed))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), seed)
		}
	default:
		t.Fatalf("a field of type %s: say here how to fill it", v.Type())
	}
}

func TestStateRoundTrip(t *testing.T) {
	var full engine.UnitState
	seed := int64(0)
	fill(t, reflect.ValueOf(&full).Elem(), &seed)
	for name, s := range map[string]engine.UnitState{
		"every field": full,
		"none":        {},
		"unknown":     {Name: "a.service", CPU: -1, Memory: -1},
		"odd name":    {Name: "\x00é\xff@\n.service"},
	} {
		t.Run(name, func(t *testing.T) {
			b, at := beginFrame(nil, opStates, 7)
			frame := endFrame(appendState(append(b, 1), &s), at)
			a, err := parseAnswer(string(frame[4:]))
			if err != nil || a.id != 7 {
				t.Fatal(a, err)
			}
			states, err := a.states()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]engine.UnitState{s.Name: s}, states); diff != "" {
				t.Errorf("-sent +received\n%s", diff)
			}
		})
	}
}

func TestStatesCutShort(t *testing.T) {
	var s engine.UnitState
	seed := int64(0)
	fill(t, reflect.ValueOf(&s).Elem(), &seed)
	b, at := beginFrame(nil, opStates, 1)
	frame := string(endFrame(appendState(append(b, 1), &s), at)[4:])
	for n := range len(frame) {
		a, err := parseAnswer(frame[:n])
		if err == nil {
			_, err = a.states()
		}
		if err == nil {
			t.Errorf("%d of %d bytes are taken for a whole frame", n, len(frame))
		}
	}
}

func requests() map[string]request {
	return map[string]request{
		"units":   {op: opUnits, id: 1, detail: engine.List, names: []string{"a.service", "b@.service"}},
		"nothing": {op: opUnits, id: 1<<64 - 1},
		"reload":  {op: opReload, id: 3},
		"start":   {op: opJob, id: 4, job: engine.Job{Op: engine.Start, Unit: "a.service", Alone: true}},
		"restart": {op: opJob, id: 5, job: engine.Job{Op: engine.Restart, Unit: "a.service", Yield: true}},
		"pull":    {op: opPull, id: 6, job: engine.Job{Unit: "shop.target"}},
		"join":    {op: opJoin, id: 7, pull: 300, job: engine.Job{Unit: "a.service"}},
		"reset":   {op: opReset, id: 8, job: engine.Job{Unit: "a.service"}},
		"kill":    {op: opKill, id: 9, job: engine.Job{Unit: "a.service"}, signal: 15, all: true},
		"watch":   {op: opWatch, id: 10, names: []string{"a.service"}},
		"cancel":  {op: opCancel, id: 11},
	}
}

func TestRequestRoundTrip(t *testing.T) {
	for name, want := range requests() {
		t.Run(name, func(t *testing.T) {
			frame := appendRequest(nil, &want)
			got, err := parseRequest(string(frame[4:]))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(request{})); diff != "" {
				t.Errorf("-sent +received\n%s", diff)
			}
			for n := range len(frame) - 4 {
				if got, err := parseRequest(string(frame[4 : 4+n])); err == nil {
					t.Errorf("%d of %d bytes are taken for %+v", n, len(frame)-4, got)
				}
			}
			if _, err := parseRequest(string(frame[4:]) + "x"); err == nil {
				t.Error("a byte too many is not noticed")
			}
		})
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	job := engine.Job{Op: engine.Start, Unit: "a.service"}
	for name, err := range map[string]error{
		"none":        nil,
		"plain":       errors.New("no such unit"),
		"job":         &engine.JobError{Job: job, Result: "timeout"},
		"refused":     &engine.JobError{Job: job, Result: "canceled", Cause: errors.New("a stop is under way")},
		"wrapped job": fmt.Errorf("sorry: %w", &engine.JobError{Job: job, Result: "failed"}),
		"denied":      fmt.Errorf("%w: not yours", engine.ErrDenied),
		"unreachable": fmt.Errorf("%w: gone", engine.ErrUnreachable),
	} {
		t.Run(name, func(t *testing.T) {
			a, parseErr := parseAnswer(string(appendDone(nil, 1, err)[4:]))
			if parseErr != nil {
				t.Fatal(parseErr)
			}
			got := a.failure(job)
			if (got == nil) != (err == nil) {
				t.Fatalf("got %v of %v", got, err)
			}
			for _, kind := range []error{engine.ErrDenied, engine.ErrUnreachable} {
				if errors.Is(got, kind) != errors.Is(err, kind) {
					t.Errorf("got %v of %v: is it %v?", got, err, kind)
				}
			}
			var want, is *engine.JobError
			if errors.As(err, &want) {
				if !errors.As(got, &is) || is.Error() != want.Error() || is.Job != job || is.Result != want.Result {
					t.Errorf("got %v of %v", got, err)
				}
			} else if err != nil && got.Error() != err.Error() {
				t.Errorf("got %v of %v", got, err)
			}
		})
	}
}

func FuzzRequest(f *testing.F) {
	for _, r := range requests() {
		f.Add(string(appendRequest(nil, &r)[4:]))
	}
	f.Add(strings.Repeat("\xff", 40))
	f.Fuzz(func(t *testing.T, frame string) {
		r, err := parseRequest(frame)
		if err != nil {
			return
		}
		again, err := parseRequest(string(appendRequest(nil, &r)[4:]))
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%q: read %+v, and of that written %+v, %v", frame, r, again, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(string(appendDone(nil, 1, &engine.JobError{Result: "failed"})[4:]))
	b, at := beginFrame(nil, opStates, 1)
	f.Add(string(endFrame(appendState(append(b, 1), &engine.UnitState{Name: "a"}), at)[4:]))
	f.Fuzz(func(t *testing.T, frame string) {
		if a, err := parseAnswer(frame); err == nil {
			_, _ = a.states()
			_ = a.failure(engine.Job{})
		}
	})
}
