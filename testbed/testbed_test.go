package testbed

import (
	"testing"
	"time"
)

func TestPollReportsTimeout(t *testing.T) {
	if err := poll(time.Second, func() bool { return true }); err != nil {
		t.Errorf("a condition that holds: %v", err)
	}
	if err := poll(0, func() bool { return false }); err == nil {
		t.Error("a condition that never holds gave no error")
	}
}
