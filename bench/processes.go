//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// start is the moment at which a process began to execute the program.
type start struct {
	pid int
	at  time.Time
}

// watchStarts tells of each process that executes a file.
func watchStarts(file string) (<-chan start, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_UNLIMITED_QUEUE, unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("fanotify: %w", err)
	}
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_EXEC, unix.AT_FDCWD, file); err != nil {
		return nil, fmt.Errorf("fanotify: %w", err)
	}
	starts := make(chan start, 10_000)
	go func() {
		defer close(starts)
		buf := make([]byte, 1<<16)
		for {
			n, err := unix.Read(fd, buf)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return
			}
			now := time.Now()
			for at := 0; at < n; {
				event := (*unix.FanotifyEventMetadata)(unsafe.Pointer(&buf[at]))
				if event.Fd >= 0 {
					unix.Close(int(event.Fd))
				}
				starts <- start{int(event.Pid), now}
				at += int(event.Event_len)
			}
		}
	}()
	return starts, nil
}

// awaitEnd waits for processes to end. They must be there.
func awaitEnd(pids []int, limit time.Duration, begin func() error) (time.Time, error) {
	var fds []unix.PollFd
	defer func() {
		for _, fd := range fds {
			unix.Close(int(fd.Fd))
		}
	}()
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return time.Time{}, fmt.Errorf("process %d: %w", pid, err)
		}
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	if err := begin(); err != nil {
		return time.Time{}, err
	}
	end := time.Now().Add(limit)
	for _, fd := range fds {
		for {
			n, err := unix.Poll([]unix.PollFd{fd}, int(time.Until(end).Milliseconds()))
			if n == 1 {
				break
			}
			if err != unix.EINTR {
				return time.Time{}, fmt.Errorf("after %v not all have ended", limit)
			}
		}
	}
	return time.Now(), nil
}

// process is one that is not an app.
type process struct{ pid int }

func (p process) path(name string) string { return "/proc/" + strconv.Itoa(p.pid) + "/" + name }

// others returns every process of the namespace but for apps, this program and zombies:
// the supervisor and what it needs.
func others(program string) []process {
	names, _ := filepath.Glob("/proc/[0-9]*")
	var all []process
	for _, name := range names {
		pid, _ := strconv.Atoi(filepath.Base(name))
		exe, err := os.Readlink(name + "/exe") // none for zombies
		if err != nil || exe == program || pid == 1 || pid == os.Getpid() {
			continue
		}
		all = append(all, process{pid})
	}
	return all
}

// apps returns the process of each app, by the number in its arguments.
func apps(program string) map[int]int {
	names, _ := filepath.Glob("/proc/[0-9]*")
	running := map[int]int{}
	for _, name := range names {
		if exe, err := os.Readlink(name + "/exe"); err != nil || exe != program {
			continue
		}
		cmdline, _ := os.ReadFile(name + "/cmdline")
		argv := strings.Split(string(cmdline), "\x00")
		if len(argv) < 2 {
			continue
		}
		seconds, err := strconv.Atoi(argv[1])
		pid, _ := strconv.Atoi(filepath.Base(name))
		if err == nil {
			running[seconds-long] = pid
		}
	}
	return running
}

// pss is the share of memory that a process has of its own.
func (p process) pss() int64 {
	text, _ := os.ReadFile(p.path("smaps_rollup"))
	_, rest, _ := bytes.Cut(text, []byte("\nPss:"))
	var kib int64
	fmt.Sscan(string(rest), &kib)
	return kib << 10
}

// threads counts the threads.
func (p process) threads() int {
	names, _ := os.ReadDir(p.path("task"))
	return len(names)
}

// cpu is what all threads of processes have used so far.
func cpu(all []process) time.Duration {
	var sum int64
	for _, p := range all {
		names, _ := filepath.Glob(p.path("task/*/schedstat"))
		for _, name := range names {
			text, _ := os.ReadFile(name)
			var ns int64
			fmt.Sscan(string(text), &ns)
			sum += ns
		}
	}
	return time.Duration(sum)
}
