package main

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// settleDown gives back what only the work of a supervisor needed: free memory, and
// the pages of the program that did it, or made a compiler of JavaScript and YAML
// ready. Those are read-only pages of a file, so that whatever is needed comes back from the
// page cache by itself.
func settleDown() {
	debug.FreeOSMemory()
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		// "00400000-00a5e000 r-xp 00000000 fe:00 131 /usr/local/bin/gm"
		fields := strings.SplitN(lines.Text(), " ", 6)
		if len(fields) < 6 || strings.Contains(fields[1], "w") || strings.TrimLeft(fields[5], " ") != self {
			continue
		}
		if start, end, ok := addresses(fields[0]); ok {
			// It is about speed alone, so an error does not matter.
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
		}
	}
}

// addresses reads "00400000-00a5e000".
func addresses(text string) (start, end uintptr, ok bool) {
	from, to, _ := strings.Cut(text, "-")
	a, err1 := strconv.ParseUint(from, 16, 64)
	b, err2 := strconv.ParseUint(to, 16, 64)
	return uintptr(a), uintptr(b), err1 == nil && err2 == nil
}
