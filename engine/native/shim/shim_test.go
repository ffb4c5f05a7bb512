package shim

import (
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func requests() []*Request {
	low, high := -5, 19
	return []*Request{
		{Umask: -1, IOPriority: -1},
		{
			Program: "/bin/app", Argv: []string{"app", "", "a\nb", strings.Repeat("x", 70_000)}, Env: []string{"A=1", "B="},
			OwnPID: []string{"LISTEN_PID"}, Dir: "/srv", DirOptional: true, Root: "/jail", Umask: 0o77, Nice: &low,
			OOMScore: &high, IOPriority: 2<<13 | 4, NoNewPrivs: true, IgnoreSIGPIPE: true,
			Limits:  []Limit{{7, 1024, 1<<64 - 1}},
			SetUser: true, SetGroup: true, UID: 65534, GID: 100, Groups: []int{100, 4},
		},
	}
}

func TestRequestComesThrough(t *testing.T) {
	for _, r := range requests() {
		got, ok := Decode(r.Encode())
		if !ok {
			t.Fatalf("%+v: not decoded", r)
		}
		want := *r
		// No list and an empty one are the same to those who use them.
		for _, list := range []*[]string{&want.Argv, &want.Env, &want.OwnPID} {
			*list = append([]string{}, *list...)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("(-sent +received)\n%s", diff)
		}
	}
}

// A supervisor may die in the middle of the sentence.
func TestRequestMustBeWhole(t *testing.T) {
	for _, r := range requests() {
		r.Argv = []string{"app", "1"}
		whole := r.Encode()
		for n := range len(whole) {
			if _, ok := Decode(whole[:n]); ok {
				t.Fatalf("%d of %d bytes were taken for a request", n, len(whole))
			}
		}
	}
}

func TestFailureComesThrough(t *testing.T) {
	want := Failure{Exec, syscall.ENOEXEC}
	b := want.encode()
	if got, failed := DecodeFailure(b[:]); !failed || got != want {
		t.Errorf("got %+v, %v, want %+v", got, failed, want)
	}
	if _, failed := DecodeFailure(nil); failed {
		t.Error("silence was taken for a failure")
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range requests() {
		f.Add(r.Encode())
	}
	f.Add([]byte("12\x00a\x00999999999\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := Decode(b); ok && len(r.Argv) > len(b) {
			t.Error("more arguments than bytes")
		}
	})
}
