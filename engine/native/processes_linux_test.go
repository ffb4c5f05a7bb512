package native

import (
	"testing"

	"golang.org/x/sys/unix"
)

func setSubreaper(t testing.TB, is bool) {
	var n uintptr
	if is {
		n = 1
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, n, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
}
