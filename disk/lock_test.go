package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

func TestLockWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gm/shop/lock")
	unlock, err := Lock(t.Context(), path, "gm install", func(holder string) { t.Errorf("held by %s", holder) })
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%d gm install", os.Getpid())
	if text, err := os.ReadFile(path); string(text) != want+"\n" {
		t.Errorf("the file holds %q, %v", text, err)
	}

	held, second := make(chan string, 9), make(chan error)
	go func() {
		unlock, err := Lock(t.Context(), path, "gm stop", func(holder string) { held <- holder })
		if err == nil {
			unlock()
		}
		second <- err
	}()
	if got := within10s(t, held); got != want {
		t.Errorf("held by %q, want %q", got, want)
	}
	select {
	case err := <-second:
		t.Fatalf("the second did not wait: %v", err)
	default:
	}
	unlock()
	if err := within10s(t, second); err != nil {
		t.Error(err)
	}
	if len(held) > 0 {
		t.Errorf("told again: %s", <-held)
	}
}

// TestLockGivesUp ends the wait, and sees that the lock which comes late is not
// kept.
func TestLockGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path, "gm install", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = Lock(ctx, path, "gm stop", func(string) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	unlock()
	third := make(chan error)
	go func() {
		unlock, err := Lock(t.Context(), path, "gm start", func(string) {})
		if err == nil {
			unlock()
		}
		third <- err
	}()
	if err := within10s(t, third); err != nil {
		t.Error(err)
	}
}

func TestLockOnlyOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside atomic.Int32
	errs := make(chan error)
	for range 20 {
		go func() {
			unlock, err := Lock(t.Context(), path, "gm install", func(string) {})
			if err == nil {
				if n := inside.Add(1); n != 1 {
					err = fmt.Errorf("%d have the lock", n)
				}
				inside.Add(-1)
				unlock()
			}
			errs <- err
		}()
	}
	for range 20 {
		if err := within10s(t, errs); err != nil {
			t.Error(err)
		}
	}
}

func TestLockSaysWhere(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(file, "lock")
	_, err := Lock(t.Context(), path, "gm install", nil)
	var e *Error
	if !errors.As(err, &e) || e.Path != path {
		t.Errorf("error %v", err)
	}
}

func within10s[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came within 10 seconds")
		panic("unreachable")
	}
}
