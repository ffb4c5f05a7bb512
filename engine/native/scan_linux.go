package native

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scanner reads /proc with as little as that can be done with: at 500 apps it is read for
// every list of them.
type scanner struct {
	buf     []byte
	pids    []int
	all     []procStat
	environ []byte
	foreign foreigners
}

// tick is the unit of the times in /proc/PID/stat: USER_HZ is 100 wherever Go runs.
const tick = 10 * time.Millisecond

// canMeasure says that the sizes of processes are to be seen.
const canMeasure = true

var pageSize = int64(os.Getpagesize())

// snapshot reads every process that there is, sorted by number. The result is valid until
// the next call.
func (s *scanner) snapshot() []procStat {
	dir, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(dir)
	s.list(dir)
	s.all = slices.Grow(s.all[:0], len(s.pids))[:len(s.pids)]
	// Nearly all of the time is the kernel's, on behalf of who reads.
	const worthwhile = 100
	half := 0
	var other sync.WaitGroup
	if len(s.pids) > worthwhile && runtime.GOMAXPROCS(0) > 1 {
		half = len(s.pids) / 2
		other.Go(func() { readStats(dir, s.pids[:half], s.all[:half]) })
	}
	readStats(dir, s.pids[half:], s.all[half:])
	other.Wait()
	s.all = slices.DeleteFunc(s.all, func(p procStat) bool { return p.PID == 0 })
	// The kernel lists them in order, but nobody has promised that.
	if !slices.IsSortedFunc(s.all, byNumber) {
		slices.SortFunc(s.all, byNumber)
	}
	return s.all
}

// list fills pids.
func (s *scanner) list(dir int) {
	if s.buf == nil {
		s.buf = make([]byte, 32<<10)
	}
	s.pids = s.pids[:0]
	for {
		n, err := unix.ReadDirent(dir, s.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		for rest := s.buf[:n]; len(rest) > 0; {
			length := binary.NativeEndian.Uint16(rest[unsafe.Offsetof(unix.Dirent{}.Reclen):])
			name := rest[unsafe.Offsetof(unix.Dirent{}.Name):length]
			rest = rest[length:]
			if end := bytes.IndexByte(name, 0); end >= 0 {
				name = name[:end]
			}
			if pid, ok := atoi(name); ok {
				s.pids = append(s.pids, pid)
			}
		}
	}
}

// readStats reads processes; those that have ended have no number in the result.
func readStats(dir int, pids []int, into []procStat) {
	name := make([]byte, 0, 32)
	text := make([]byte, 1024)
	for i, pid := range pids {
		name = append(strconv.AppendInt(name[:0], int64(pid), 10), "/stat\x00"...)
		into[i] = procStat{}
		if p, ok := parseStat(readAt(dir, name, text)); ok {
			into[i] = p
		}
	}
}

func byNumber(a, b procStat) int { return cmp.Compare(a.PID, b.PID) }

// readAt reads a small file, whose name ends in a zero byte. Nil is an error.
func readAt(dir int, name, into []byte) []byte {
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
		unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return nil
	}
	n, err := unix.Read(int(fd), into)
	_ = unix.Close(int(fd))
	if err != nil || n <= 0 {
		return nil
	}
	return into[:n]
}

// parseStat reads a line of /proc/PID/stat: proc_pid_stat(5). The name of the program, in
// parentheses, may hold anything.
func parseStat(line []byte) (p procStat, ok bool) {
	blank, end := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ')')
	if blank < 0 || end < 0 || end+2 >= len(line) {
		return p, false
	}
	p.PID, _ = atoi(line[:blank])
	rest := line[end+2:]
	p.zombie = rest[0] == 'Z' || rest[0] == 'X'
	// Fields count from 1; the state is the third.
	for field := 3; field <= 24; field++ {
		end := bytes.IndexByte(rest, ' ')
		if end < 0 {
			end = len(rest)
		}
		word := rest[:end]
		switch field {
		case 4:
			p.ppid, ok = atoi(word)
		case 5:
			p.group, _ = atoi(word)
		case 6:
			p.session, _ = atoi(word)
		case 14, 15, 16, 17: // utime, stime and those of children that were waited for
			n, _ := atoi(word)
			p.cpu += int64(n) * int64(tick)
		case 20:
			p.threads, _ = atoi(word)
		case 22:
			n, _ := atoi(word)
			p.Start = uint64(n)
		case 24:
			n, _ := atoi(word)
			p.rss = int64(n) * pageSize
		}
		rest = rest[min(end+1, len(rest)):]
	}
	return p, ok
}

func atoi(digits []byte) (n int, ok bool) {
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, len(digits) > 0
}

// lookAt reads one process.
func lookAt(pid int) (procStat, bool) {
	var buf [64]byte
	name := append(strconv.AppendInt(append(buf[:0], "/proc/"...), int64(pid), 10), "/stat\x00"...)
	text := make([]byte, 1024)
	return parseStat(readAt(unix.AT_FDCWD, name, text))
}

// environOf reads the environment that a process was executed with; nil where that is not
// to be seen. The result is valid until the next call.
func (s *scanner) environOf(pid int) []byte {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/environ", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	if s.environ == nil {
		s.environ = make([]byte, 8<<10)
	}
	for n := 0; ; {
		if n == len(s.environ) {
			s.environ = append(s.environ, make([]byte, len(s.environ))...)
		}
		m, err := unix.Read(fd, s.environ[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || m <= 0 {
			return s.environ[:n]
		}
		n += m
	}
}

// pss is what a process uses of the machine's memory, what it shares in parts; -1 where
// that is not to be seen.
func pss(pid int) int64 {
	var buf [64]byte
	name := append(strconv.AppendInt(append(buf[:0], "/proc/"...), int64(pid), 10), "/smaps_rollup\x00"...)
	_, rest, ok := bytes.Cut(readAt(unix.AT_FDCWD, name, make([]byte, 2048)), []byte("\nPss:"))
	if !ok {
		return -1
	}
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	n, ok := atoi(bytes.TrimSpace(line))
	if !ok {
		return -1
	}
	return int64(n) << 10
}

// sameProgram reports whether a process still is the supervisor's own program: a fork that
// has not come to execve(2) yet, or a shim.
func sameProgram(pid int) bool {
	own, err1 := os.Readlink("/proc/self/exe")
	its, err2 := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	const replaced = " (deleted)"
	return err1 == nil && err2 == nil && strings.TrimSuffix(own, replaced) == strings.TrimSuffix(its, replaced)
}
